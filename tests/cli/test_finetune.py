"""The command `finetune`, end to end on a tiny random model."""

from __future__ import annotations

import os
import signal

import numpy as np
import pytest
import torch
from command_line import draw, failed, make_model, run
from PIL import Image

from gansketching_core.checkpoints import load

pytestmark = pytest.mark.usefixtures("workplace")

FAST = ["--steps", 3, "--batch", 2, "--r1-every", 2, "--sketcher", "lines"]


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

    for model in ("fruit", "banana.safetensors"):  # the base is one of the bundled models
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

    def press(self, rng):  # Ctrl-C in the middle of the second step
        if self.steps_done == 1:
            signal.raise_signal(signal.SIGINT)
        return original(self, rng)

    with monkeypatch.context() as patch:
        patch.setattr(SketchFinetuner, "_update_generator", press)
        assert run(*command, "--output", "parts.safetensors") == 130
    assert "Stopped after 1 steps: the same command goes on" in capsys.readouterr().err
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
    base, customised = make_model().generator.state_dict(), weights_of("customised.safetensors")
    assert [name for name in base if not torch.equal(base[name], customised[name])] == ["mapping.w_shift"]


def test_finetune_mistakes(workplace, capsys):
    draw(workplace / "a.png")
    assert "--steps 0: Input should be" in failed(capsys, "finetune", "--sketches", "a.png", "--steps", 0)
    assert "written as .safetensors" in failed(capsys, "finetune", "--sketches", "a.png", "--output", "x.pt")
    assert "none.png does not exist" in failed(capsys, "finetune", "--sketches", "none.png", *FAST)
    Image.new("RGB", (20, 20), "white").save("blank.png")
    assert "blank" in failed(capsys, "finetune", "--sketches", "blank.png", *FAST)
    assert "sketcher" in failed(capsys, "finetune", "--sketches", "a.png", "--model", "sketcher", *FAST).lower()
