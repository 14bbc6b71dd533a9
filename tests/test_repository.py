"""Rules that hold for the repository as a whole."""

from __future__ import annotations

import ast
import graphlib
import importlib.util
import re
import shutil
import subprocess
import sys
from pathlib import Path

import pytest

if sys.version_info >= (3, 11):
    import tomllib
else:
    import tomli as tomllib  # pytest brings it

ROOT = Path(__file__).resolve().parent.parent
PROJECT = tomllib.loads((ROOT / "pyproject.toml").read_text("utf-8"))
CORE = sorted((ROOT / "gansketching_core").rglob("*.py"))
NODES = sorted((ROOT / "nodes").rglob("*.py"))
COMFYUI = {
    "aiohttp",
    "comfy",
    "comfy_api",
    "comfy_execution",
    "comfy_extras",
    "execution",
    "folder_paths",
    "nodes",
    "server",
}

# The core from bottom to top: a module imports from its own package and from the layers below it.
LAYERS = (
    {"options"},
    {"images", "files", "random_streams", "networks"},
    {"datasets"},
    {"checkpoints", "sketches"},
    {"latents", "downloads"},
    {"evaluation", "gallery"},
    {"inversion", "training"},
    {"experiments"},
    {"cli"},
)
# The only modules that import by a name made at run time, and what they import so.
IMPORTLIB = {
    "gansketching_core": "the public names",
    "gansketching_core.networks.feature_networks": "optional packages",
    "gansketching_core.inversion.optimise": "optional packages",
    "gansketching_core.cli.main": "the modules of the commands",
    "gansketching_core.cli.pack": "the core, under the pack's name",
    "gansketching_core.cli.run": "the pack",
}


def module_name(path: Path) -> str:
    parts = path.relative_to(ROOT).with_suffix("").parts
    return ".".join(part for part in parts if part != "__init__")


MODULES = {module_name(path): path for path in [*CORE, *NODES]}


def absolute_imports(path: Path) -> set[str]:
    """Top-level names of the packages that a file imports absolutely."""
    names = set()
    for node in ast.walk(ast.parse(path.read_text("utf-8"))):
        if isinstance(node, ast.Import):
            names |= {alias.name.split(".")[0] for alias in node.names}
        elif isinstance(node, ast.ImportFrom) and node.level == 0:
            names.add(node.module.split(".")[0])
    return names


def relative_imports(path: Path) -> set[str]:
    """Names of the modules of this repository that a file imports relatively, inside functions too."""
    names = set()
    for node in ast.walk(ast.parse(path.read_text("utf-8"))):
        if isinstance(node, ast.ImportFrom) and node.level:
            package = path.relative_to(ROOT).parts[: -node.level]
            source = ".".join([*package, *([node.module] if node.module else [])])
            for alias in node.names:
                submodule = f"{source}.{alias.name}"
                names.add(submodule if submodule in MODULES else source)
    return names


def layer(name: str) -> int:
    return next(k for k, packages in enumerate(LAYERS) if name in packages)


# ---------------------------------------------------------------------------------------------------------- imports


@pytest.mark.parametrize("path", CORE, ids=module_name)
def test_the_core_imports_downwards_and_nothing_of_comfyui(path):
    assert not absolute_imports(path) & COMFYUI
    assert "gansketching_core" not in absolute_imports(path), "inside the core, imports are relative"
    package = module_name(path).split(".")[1:2]
    for name in relative_imports(path):
        assert name.startswith("gansketching_core."), f"the core does not import {name}"
        imported = name.split(".")[1]
        assert [imported] == package or layer(imported) < layer(package[0]), f"{name} is not below {package[0]}"


@pytest.mark.parametrize("path", NODES, ids=module_name)
def test_only_host_imports_comfyui(path):
    assert "gansketching_core" not in absolute_imports(path), (
        "ComfyUI gives the pack another name: imports are relative"
    )
    assert not [name for name in relative_imports(path) if name.startswith("gansketching_core.cli")]
    if module_name(path) != "nodes.host":
        assert not absolute_imports(path) & COMFYUI


def test_no_module_imports_itself_in_a_circle():
    graphlib.TopologicalSorter({name: relative_imports(path) for name, path in MODULES.items()}).prepare()


def test_imports_by_name_are_known():
    dynamic = {
        name for name, path in MODULES.items() if re.search(r"\b(import_module|__import__)\(", path.read_text("utf-8"))
    }
    assert dynamic == set(IMPORTLIB)


SLOW = """
import importlib.util, sys
root = sys.argv[1]
spec = importlib.util.spec_from_file_location("a_pack", f"{root}/__init__.py", submodule_search_locations=[root])
sys.modules["a_pack"] = importlib.util.module_from_spec(spec)
spec.loader.exec_module(sys.modules["a_pack"])
slow = ("kornia", "torch._dynamo", "torch_fidelity", "efficientnet_lite_pytorch", "cma")
print(len(sys.modules["a_pack"].NODE_CLASS_MAPPINGS), [name for name in slow if name in sys.modules])
"""


def test_importing_the_pack_leaves_slow_packages_for_later():
    """scipy.ndimage is not among them: ComfyUI's own nodes import it before any pack is loaded."""
    done = subprocess.run([sys.executable, "-c", SLOW, str(ROOT)], capture_output=True, text=True, check=True)
    assert re.fullmatch(r"[1-9]\d \[\]\n", done.stdout), done.stdout


def test_root_can_be_imported_without_a_package():
    spec = importlib.util.spec_from_file_location("__init__", ROOT / "__init__.py", submodule_search_locations=None)
    module = importlib.util.module_from_spec(spec)
    module.__package__ = ""
    spec.loader.exec_module(module)
    assert not hasattr(module, "NODE_CLASS_MAPPINGS")


# ---------------------------------------------------------------------------------------------------------- packages


def package_names(requirements: list[str]) -> set[str]:
    """The names under which required distributions are imported."""
    names = {re.match(r"[\w-]+", requirement).group().replace("-", "_") for requirement in requirements}
    return {"PIL" if name == "pillow" else name for name in names}


def test_dependencies_are_imported_and_imports_are_declared():
    imported = set().union(*(absolute_imports(path) for path in MODULES.values()))
    declared = package_names(PROJECT["project"]["dependencies"])
    assert declared <= imported
    optional = set()
    for requirements in PROJECT["project"]["optional-dependencies"].values():
        optional |= package_names(requirements)
    assert imported - declared - optional <= set(sys.stdlib_module_names) | COMFYUI


def test_requirements_are_the_dependencies_that_comfyui_brings():
    lines = (ROOT / "requirements.txt").read_text("utf-8").splitlines()
    required = [line for line in lines if line and not line.startswith("#")]
    assert required == [name for name in PROJECT["project"]["dependencies"] if not name.startswith("torch")]


def test_a_wheel_has_every_package():
    folders = {path.parent.relative_to(ROOT) for path in MODULES.values()}
    names = {".".join(folder.parts) for folder in folders}
    packages = {re.sub(r"^nodes\b", "gansketching_pack.nodes", name) for name in names} | {"gansketching_pack"}
    assert set(PROJECT["tool"]["setuptools"]["packages"]) == packages


# -------------------------------------------------------------------------------------------------------------- style


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


@pytest.mark.skipif(importlib.util.find_spec("pyright") is None, reason="pyright is not installed")
@pytest.mark.skipif(shutil.which("node") is None, reason="pyright needs Node.js")
def test_types_are_right():
    command = [sys.executable, "-m", "pyright", "--pythonpath", sys.executable]
    done = subprocess.run(command, cwd=ROOT, capture_output=True, text=True, check=False)
    assert done.returncode == 0, done.stdout + done.stderr


# ------------------------------------------------------------------------------------------------------ documentation

TOUR = re.findall(r"^\| .*\? \| `(.+)` \| `(\w+)` \|$", (ROOT / "CONTRIBUTING.md").read_text("utf-8"), re.MULTILINE)


def test_the_tests_that_contributing_names_exist():
    named = re.findall(r"`([\w/]+\.py)::(\w+)`", (ROOT / "CONTRIBUTING.md").read_text("utf-8"))
    assert len(named) >= 30
    for file, name in named:
        text = (ROOT / "tests" / file).read_text("utf-8")
        assert re.search(rf"^def {name}\b", text, re.MULTILINE), f"{name} is not in tests/{file}"


def test_the_tour_of_contributing_is_right():
    assert len(TOUR) >= 10
    for file, name in TOUR:
        text = (ROOT / file).read_text("utf-8")
        assert re.search(rf"^(def|class) {name}\b|import {name}\b", text, re.MULTILINE), f"{name} is not in {file}"
