from __future__ import annotations

import json

import pytest
import torch
from PIL import Image, ImageDraw
from tiny import tiny_model

from gansketching_core.checkpoints import native
from gansketching_core.cli import evaluate
from gansketching_core.cli.main import main


class Colours(torch.nn.Module):
    name, is_fid = "mean colours", False

    def forward(self, x):
        return x.clamp(-1, 1).mean(dim=(2, 3))


@pytest.fixture
def workplace(tmp_path, monkeypatch):
    monkeypatch.chdir(tmp_path)
    monkeypatch.setattr(evaluate, "load_extractor", lambda _: Colours())
    for kind, colour in (("plum_red", "purple"), ("lime", "green")):
        (tmp_path / "photos" / kind).mkdir(parents=True)
        for k in range(20):
            picture = Image.new("RGB", (64, 64), "white")
            ImageDraw.Draw(picture).ellipse((8 + k, 8, 56, 56), fill=colour)
            picture.save(tmp_path / "photos" / kind / f"{k:02}.png")
    picture = Image.new("L", (64, 64), 255)
    ImageDraw.Draw(picture).ellipse((8, 8, 56, 56), outline=0, width=3)
    picture.save("sketch.png")
    native.save_model(tiny_model(), "m.safetensors")
    native.save_model(tiny_model(1), "n.safetensors")
    return tmp_path


def test_beside_photos_and_sketches(workplace, capsys):
    options = (
        "--photos photos --classes --count 16 --path-length 4 --json out.json --sketches sketch.png --sketcher lines"
    )
    assert main(["evaluate", "m.safetensors", "--base", "n.safetensors", *options.split()]) == 0
    text = capsys.readouterr().out
    assert "Extractor: mean colours. 16 samples, 40 photos." in text and "right on 100% of the held-out photos" in text
    assert "of the samples are nearer than before" in text
    results = json.loads((workplace / "out.json").read_text())
    assert results["photos"]["frechet"] > 0 and sum(results["classes"]["counts"].values()) == 16
    assert set(results["classes"]["counts"]) == {"plum", "lime"} and 0 <= results["sketches"]["nearer"] <= 1


def test_some_photos_placed_as_in_the_training(workplace, capsys):
    assert main("evaluate m.safetensors --photos photos --only lime --placed --count 8".split()) == 0
    assert "8 samples, 20 photos" in capsys.readouterr().out
    assert main("evaluate m.safetensors --photos photos --hold-out --count 8".split()) == 0
    assert "8 samples, 4 photos" in capsys.readouterr().out


@pytest.mark.parametrize("strokes", ["match", "keep"])
def test_finetune_and_evaluate_give_the_same_figures(workplace, capsys, strokes):
    """For the same model, sketches and preparation of the sketches."""
    shared = f"--sketches sketch.png --sketcher lines --crop --strokes {strokes}"
    training = "--model m.safetensors --steps 1 --batch 2 --precision float32 --output c.safetensors"
    assert main(f"finetune {training} {shared}".split()) == 0
    trained = capsys.readouterr().out.splitlines()[0]
    assert main(f"evaluate c.safetensors --base m.safetensors --json out.json {shared}".split()) == 0
    assert capsys.readouterr().out.splitlines()[0] == trained
    (history,) = workplace.glob("runs/*/history.json")
    assert json.loads((workplace / "out.json").read_text())["sketches"] == json.loads(history.read_text())["match"]


def test_the_class_of_a_conditional_model(workplace):
    native.save_model(tiny_model(class_count=3), "a.safetensors")
    native.save_model(tiny_model(1, class_count=3), "b.safetensors")
    results = []
    for label in range(3):
        options = f"--photos photos --sketches sketch.png --sketcher lines --count 8 --label {label} --json out.json"
        assert main(["evaluate", "a.safetensors", "--base", "b.safetensors", *options.split()]) == 0
        results.append(json.loads((workplace / "out.json").read_text()))
    assert len({result["photos"]["frechet"] for result in results}) == 3
    assert len({result["sketches"]["after"] for result in results}) == 3


@pytest.mark.parametrize(
    ("options", "message"),
    [
        ("", "nothing to compare with: give --photos"),
        ("--classes --sketches sketch.png", "--classes needs --photos"),
        ("--photos photos --only melon", "--only melon: there are no such photos; there are lime, plum"),
        ("--sketches sketch.png --sketcher lines", "give that model with --base"),
    ],
)
def test_mistakes(workplace, capsys, options, message):
    assert main(["evaluate", "m.safetensors", *options.split()]) == 2
    assert message in capsys.readouterr().err
