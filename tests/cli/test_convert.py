"""The command `convert`."""

from __future__ import annotations

import os

import pytest
import torch
from command_line import failed, make_model, run

from gansketching_core.checkpoints import load

pytestmark = pytest.mark.usefixtures("workplace")


def test_convert(workplace, capsys):
    assert run("convert", "fruit", "half.safetensors", "--dtype", "float16") == 0
    assert run("convert", "half.safetensors", "full.safetensors") == 0
    half = load.load_model("half.safetensors").generator.state_dict()
    full = make_model().generator.state_dict()
    for name, value in full.items():
        torch.testing.assert_close(half[name], value, rtol=1e-3, atol=1e-6)
    assert os.path.getsize("half.safetensors") < 0.7 * os.path.getsize("full.safetensors")
    assert run("convert", "sketcher", "s.safetensors") == 0
    assert load.load_photosketch("s.safetensors").width == 4
    assert "written as .safetensors" in failed(capsys, "convert", "fruit", "x.pth")
