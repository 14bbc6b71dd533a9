"""The command `convert`."""

from __future__ import annotations

import pytest
import torch
from command_line import failed, make_model, run

from gansketching_core.checkpoints import load

pytestmark = pytest.mark.usefixtures("workplace")


def test_convert(workplace, capsys):
    assert run("convert", "fruit", "half.safetensors", "--dtype", "float16") == 0
    half, full = load.load_model("half.safetensors"), make_model()
    assert torch.allclose(half.w_mean, full.w_mean) and half.discriminator is not None
    assert run("convert", "sketcher", "s.safetensors", "--dtype", "float16") == 0
    assert load.load_photosketch("s.safetensors")
    assert "written as .safetensors" in failed(capsys, "convert", "fruit", "x.pth")
