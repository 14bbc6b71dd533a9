"""The command `pretrain-sketcher`, end to end with a tiny network."""

from __future__ import annotations

import pytest
from command_line import draw, run
from safetensors import safe_open

from gansketching_core.checkpoints import load

pytestmark = pytest.mark.usefixtures("workplace")


def test_pretrain_sketcher(workplace):
    for index in range(3):
        draw(workplace / "photos" / f"{index}.png", size=(128, 128), colour="red")
    options = "--width 4 --blocks 1 --steps 2 --batch 4 --precision float32".split()
    assert run("pretrain-sketcher", "photos", "--output", "s.safetensors", *options) == 0
    assert load.load_photosketch("s.safetensors")


def test_several_sets_and_backgrounds(workplace):
    for index in range(2):
        draw(workplace / "photos" / f"{index}.png", size=(128, 128), colour="red")
        draw(workplace / "others" / f"{index}.png", size=(128, 128), colour="blue")
        draw(workplace / "scenes" / f"{index}.png", size=(128, 128), colour="green")
    options = "--width 4 --blocks 1 --steps 1 --batch 4 --precision float32 --backgrounds scenes".split()
    assert run("pretrain-sketcher", "photos", "others", "--output", "s.safetensors", *options) == 0
    with safe_open("s.safetensors", "pt") as file:
        assert file.metadata()["photos"] == "4"
