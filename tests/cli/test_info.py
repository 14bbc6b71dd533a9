"""The command `info`."""

from __future__ import annotations

from pathlib import Path

import pytest
from command_line import make_model, run

from gansketching_core.checkpoints import native

pytestmark = pytest.mark.usefixtures("workplace")


def test_info_on_every_kind(workplace, capsys):
    native.save_customised(make_model(seed=1), "delta.safetensors")
    Path("notes.safetensors").write_text("no model")
    assert run("info", "fruit", "sketcher", "delta.safetensors", "notes.safetensors") == 0
    shown = capsys.readouterr().out
    lines = [" ".join(line.split()) for line in shown.splitlines()]
    assert [line for line in lines if line.startswith("kind ")] == [
        "kind model",
        "kind PhotoSketch network",
        "kind customised model",
        "kind not a usable file",
    ]
    assert {"name tiny", "resolution 32 px", "width 4", "residual blocks 1", "base unknown"} <= set(lines)
    assert any(line.startswith("problem notes.safetensors: ") for line in lines)
