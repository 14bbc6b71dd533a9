"""The nodes that write models for other programs and as a web page."""

from __future__ import annotations

import pytest
import torch
from loaded_pack import customised, defaults, tiny_model


def test_exports_load_and_are_numbered(pack, home, inference_mode):
    model = tiny_model(pack)
    options = defaults(pack, "ExportModel") | {"name": "a"}
    for end, form in ((".pt", "rosinality"), ("_netG.pth", "gansketching")):
        for number in (1, 2):
            shown = pack.node("ExportModel").export(model, **options | {"format": form})["ui"]["text"][0]
            path = home / f"output/gansketching/exports/a_{number:05}{end}"
            assert path.is_file() and path.name in shown and "Generator(32, 8, 2, channel_multiplier=1)" in shown
        loaded = pack.core.load_model(path)
        assert loaded.discriminator is not None
        z = torch.randn(2, 8)
        images = [m.generator.synthesize(m.generator.map(z), noise="const") for m in (loaded, model)]
        torch.testing.assert_close(*images, rtol=0, atol=1e-4)
    assert not any("exports" in name for name in pack.model_files.generators())


def test_onnx_is_exported(pack, home, inference_mode):
    pytest.importorskip("onnx", reason="onnx is not installed")
    pack.node("ExportModel").export(tiny_model(pack), **defaults(pack, "ExportModel") | {"name": "b"})
    assert (home / "output/gansketching/exports/b_00001.onnx").stat().st_size > 5000


def test_a_missing_package_is_told_before_running(pack, home, monkeypatch):
    def missing():
        raise ValueError("writing ONNX needs the package onnx")

    monkeypatch.setattr(pack.sharing, "require_onnx", missing)
    validate = pack.classes["GANSketching_ExportModel"].VALIDATE_INPUTS
    assert "needs the package onnx" in validate("onnx")
    assert validate("rosinality") is True and validate(None) is True


def test_a_page_is_written(pack, home, inference_mode):
    model = tiny_model(pack)
    seen = []
    pack.host.set_hooks(progress=lambda value, total, preview: seen.append((value, total)))
    options = defaults(pack, "SaveWebPage", count=2, directions=1) | {"name": "mine/bananas"}
    shown = pack.node("SaveWebPage").save(customised(pack, model), original=model, **options)["ui"]["text"][0]
    folder = home / "output/gansketching/pages/mine/bananas_00001"
    assert (folder / "index.html").is_file() and "pages/mine/bananas_00001/index.html" in shown.replace("\\", "/")
    assert '"id":"strength"' in (folder / "data.js").read_text() and seen[-1][0] == seen[-1][1] > 1
    pack.node("SaveWebPage").save(model, **options)
    assert '"id":"strength"' not in (folder.with_name("bananas_00002") / "data.js").read_text()
