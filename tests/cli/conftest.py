"""What tests of several commands share."""

from __future__ import annotations

import pytest
import torch
from command_line import make_model

from gansketching_core.checkpoints import native
from gansketching_core.networks.photosketch import PhotoSketch


@pytest.fixture
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
