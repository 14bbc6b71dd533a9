"""The command `sample` on a tiny random model."""

from __future__ import annotations

import os

import numpy as np
import pytest
from command_line import failed, make_model, run
from PIL import Image

from gansketching_core.checkpoints import native

pytestmark = pytest.mark.usefixtures("workplace")


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
