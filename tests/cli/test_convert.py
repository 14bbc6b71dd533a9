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


def test_formats_of_other_programs(workplace, capsys):
    assert run("convert", "fruit", "--to", "rosinality") == 0
    assert "fruit.pt" in capsys.readouterr().out
    assert run("convert", "fruit", "exported/netG.pth") == 0
    assert "Generator(32, 16, 2, channel_multiplier=1)" in capsys.readouterr().out
    full = make_model()
    z = torch.randn(2, 16)
    for path in ("fruit.pt", "exported/netG.pth"):
        model = load.load_model(path)
        assert model.discriminator is not None
        images = [m.generator.synthesize(m.generator.map(z), noise="const") for m in (model, full)]
        torch.testing.assert_close(*images, rtol=0, atol=1e-4)


def test_onnx(workplace, capsys):
    pytest.importorskip("onnxruntime", reason="onnxruntime is not installed")
    pytest.importorskip("onnx", reason="onnx is not installed")
    assert run("convert", "fruit", "--to", "onnx", "--part", "synthesis", "--noise", "input") == 0
    printed = capsys.readouterr().out
    assert "fruit.onnx" in printed and "differs from the model by at most" in printed
    assert "--opset 5: Input should be greater" in failed(capsys, "convert", "fruit", "--to", "onnx", "--opset", 5)
    assert "not torch.bfloat16" in failed(capsys, "convert", "fruit", "a.onnx", "--dtype", "bfloat16")


def test_pickles_are_never_written(workplace, capsys):
    assert "pickles are never written, because" in failed(capsys, "convert", "fruit", "x.pkl")
    assert "written as .safetensors, .onnx, .pt, netG.pth" in failed(capsys, "convert", "fruit", "x.ckpt")
    assert "for onnx are written as .onnx" in failed(capsys, "convert", "fruit", "x.pt", "--to", "onnx")
    assert "call the file netG.pth" in failed(capsys, "convert", "fruit", "x.pth")
    assert "PhotoSketch network" in failed(capsys, "convert", "sketcher", "--to", "onnx")
    assert os.listdir() == []
