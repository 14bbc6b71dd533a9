"""The `gansketching` command itself: help, mistakes, errors."""

from __future__ import annotations

import os
import re
import subprocess
import sys

import pytest
from command_line import failed, run

from gansketching_core.cli.main import COMMANDS

pytestmark = pytest.mark.usefixtures("workplace")


COMMANDS = sorted(COMMANDS)


@pytest.mark.parametrize("name", COMMANDS)
def test_help(name, capsys):
    with pytest.raises(SystemExit) as stopped:
        run(name, "--help")
    assert stopped.value.code == 0
    shown = capsys.readouterr().out
    assert f"gansketching {name}" in shown and "--debug" in shown


def test_help_shows_every_default_once(capsys):
    with pytest.raises(SystemExit):
        run("animate", "--help")
    shown = " ".join(capsys.readouterr().out.split())
    assert "frames of a film (default: 96)" in shown and "which ones (default: 0)" in shown
    assert "return to the first (default: True)" in shown and shown.count("(default: True)") == 1
    assert "default: None" not in shown and "SUPPRESS" not in shown


def test_top_level(capsys):
    assert run() == 0
    shown = capsys.readouterr().out
    assert all(f"  {name} " in shown for name in COMMANDS)
    assert "invalid choice: 'frobnicate'" in failed(capsys, "frobnicate")
    capsys.readouterr()
    with pytest.raises(SystemExit):
        run("--version")
    assert re.fullmatch(r"gansketching (\d+\.\d+\.\d+|\(not installed\))\n", capsys.readouterr().out)


def test_mistakes_take_one_line_and_debug_shows_the_traceback(capsys):
    assert 'no file "nothing" (bundled: fruit, sketcher)' in failed(capsys, "info", "nothing")
    assert "required: --sketches" in failed(capsys, "finetune")
    assert run("info", "nothing") == 2 and "Traceback" not in capsys.readouterr().err
    assert run("info", "nothing", "--debug") == 2 and "Traceback" in capsys.readouterr().err


def test_unexpected_errors_point_to_debug(capsys, monkeypatch):
    monkeypatch.setattr("gansketching_core.cli.info.find_file", None)
    assert run("info", "fruit") == 1
    assert "(--debug shows the traceback)" in capsys.readouterr().err


@pytest.mark.parametrize(
    ("chosen", "shown", "spins"),
    [
        ({}, "PASSIVE", "10000"),
        ({"GOMP_SPINCOUNT": "500"}, "PASSIVE", "500"),
        ({"OMP_WAIT_POLICY": "active"}, "ACTIVE", "30000000000"),
    ],
)
def test_waiting_threads_soon_sleep_unless_the_user_decides(chosen, shown, spins):
    environment = {name: value for name, value in os.environ.items() if not name.startswith(("OMP", "GOMP"))}
    code = "from gansketching_core.cli.main import main; main(['sample', '--model', 'missing.safetensors'])"
    done = subprocess.run(
        [sys.executable, "-c", code],
        env=environment | chosen | {"OMP_DISPLAY_ENV": "verbose"},
        capture_output=True,
        text=True,
    )
    if "OMP_WAIT_POLICY" not in done.stderr:
        pytest.skip("this OpenMP does not show its settings")
    assert f"OMP_WAIT_POLICY = '{shown}'" in done.stderr
    if "GOMP_SPINCOUNT" in done.stderr:
        assert f"GOMP_SPINCOUNT = '{spins}'" in done.stderr
