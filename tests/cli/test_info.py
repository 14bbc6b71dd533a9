"""The command `info`."""

from __future__ import annotations

import pytest
from command_line import run

pytestmark = pytest.mark.usefixtures("workplace")


def test_info_on_every_kind(workplace, capsys):
    assert run("info", "fruit", "sketcher") == 0
    shown = capsys.readouterr().out
    assert "tiny" in shown and "32" in shown and "sketcher.safetensors" in shown
