"""Rules that hold for the repository as a whole."""

from __future__ import annotations

import ast
import importlib.util
import json
import subprocess
import sys
from pathlib import Path

import pytest

ROOT = Path(__file__).resolve().parent.parent
CORE = sorted((ROOT / "gansketching_core").rglob("*.py"))
NODES = sorted((ROOT / "nodes").rglob("*.py"))
COMFYUI = {"comfy", "comfy_api", "comfy_execution", "comfy_extras", "execution", "folder_paths", "nodes", "server"}


def imported(path: Path) -> set[str]:
    """Top-level names of the modules that a file imports absolutely."""
    tree = ast.walk(ast.parse(path.read_text("utf-8")))
    found = set()
    for node in tree:
        if isinstance(node, ast.Import):
            found |= {alias.name.split(".")[0] for alias in node.names}
        elif isinstance(node, ast.ImportFrom) and node.level == 0:
            found.add(node.module.split(".")[0])
    return found


def ids(paths: list[Path]) -> list[str]:
    return [str(path.relative_to(ROOT)) for path in paths]


@pytest.mark.parametrize("path", CORE, ids=ids(CORE))
def test_core_knows_nothing_of_comfyui(path):
    assert not imported(path) & COMFYUI
    assert "gansketching_core" not in imported(path), "inside the core, imports are relative"


@pytest.mark.parametrize("path", NODES, ids=ids(NODES))
def test_only_host_touches_comfyui(path):
    assert "gansketching_core" not in imported(path), "ComfyUI gives the pack another name: imports are relative"
    if path.name != "host.py":
        assert not imported(path) & COMFYUI


def test_only_the_command_line_prints():
    for path in [*CORE, *NODES]:
        calls = [node.func for node in ast.walk(ast.parse(path.read_text("utf-8"))) if isinstance(node, ast.Call)]
        if path.parent.name != "cli":
            assert not [f.lineno for f in calls if isinstance(f, ast.Name) and f.id == "print"], path.name


@pytest.mark.skipif(importlib.util.find_spec("ruff") is None, reason="ruff is not installed")
@pytest.mark.parametrize("arguments", [["check"], ["format", "--check"]], ids=["check", "format"])
def test_ruff_is_clean(arguments):
    command = [sys.executable, "-m", "ruff", *arguments, "--no-cache", "."]
    done = subprocess.run(command, cwd=ROOT, capture_output=True, text=True, check=False)
    assert done.returncode == 0, done.stdout + done.stderr


def test_requirements_are_the_dependencies_that_comfyui_brings():
    text = (ROOT / "pyproject.toml").read_text("utf-8")
    listed = text.split("dependencies = [")[1].split("]")[0]
    dependencies = [line.strip(' ",') for line in listed.strip().splitlines()]
    lines = (ROOT / "requirements.txt").read_text("utf-8").splitlines()
    required = [line for line in lines if line and not line.startswith("#")]
    assert required == [name for name in dependencies if not name.startswith("torch")]


def test_root_can_be_imported_without_a_package():
    spec = importlib.util.spec_from_file_location("__init__", ROOT / "__init__.py", submodule_search_locations=None)
    module = importlib.util.module_from_spec(spec)
    module.__package__ = ""
    spec.loader.exec_module(module)
    assert not hasattr(module, "NODE_CLASS_MAPPINGS")


@pytest.mark.parametrize("path", sorted((ROOT / "workflows").rglob("*.json")), ids=lambda path: path.name)
def test_workflows_are_json(path):
    assert json.loads(path.read_text("utf-8"))
