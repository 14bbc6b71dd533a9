"""The command `gallery`."""

from __future__ import annotations

import json
from dataclasses import replace
from pathlib import Path

import pytest
from command_line import failed, make_model, run

from gansketching_core import save_customised

pytestmark = pytest.mark.usefixtures("workplace")

FEW = ("--count", 2, "--directions", 1)


def sliders(folder: str) -> list[str]:
    text = Path(folder, "data.js").read_text("utf-8")
    return [slider["id"] for slider in json.loads(text.removeprefix("const GALLERY = ")[:-2])["sliders"]]


def test_a_page_of_the_bundled_model(workplace, capsys):
    assert run("gallery", *FEW) == 0
    assert "page/index.html" in capsys.readouterr().out.replace("\\", "/")
    assert sliders("page") == ["truncation", "direction 0"]


def test_a_customised_model_has_a_slider_of_its_strength(workplace):
    base = make_model()
    other = make_model()
    other.generator.mapping.w_shift += 0.5
    save_customised(replace(other, name="bent", base_hash=base.base_hash), "bent.safetensors")
    assert run("gallery", "bent.safetensors", "--output", "a", *FEW) == 0
    assert run("gallery", "bent.safetensors", "--base", "fruit", "--output", "b", "--mode", "images", *FEW) == 0
    assert sliders("a") == sliders("b") == ["truncation", "strength", "direction 0"]
    assert len(list(Path("b", "images").iterdir())) == 2 * (4 * 7 + 4)


def test_bad_input(workplace, capsys):
    Path("mine").mkdir()
    Path("mine", "notes.txt").write_text("keep")
    assert "mine has other files; choose a new folder" in failed(capsys, "gallery", "--output", "mine", *FEW)
    assert "--count 0: Input should be" in failed(capsys, "gallery", "--count", 0)
    assert "has no classes" in failed(capsys, "gallery", "--label", 2, *FEW)
