"""`gansketching run`: workflows without ComfyUI, with the pack's own nodes and bundled files."""

from __future__ import annotations

import importlib.util
import json
import os
import shutil
import signal
import subprocess
import sys

import pytest
from command_line import draw, failed, make_model, run
from PIL import Image

from gansketching_core.checkpoints import native
from gansketching_core.cli import pack


def workflow(path, **inputs):
    prompt = {
        "1": {"class_type": "LoadImage", "inputs": {"image": "a.png"}},
        "2": {
            "class_type": "ImageScale",
            "inputs": {"image": ["1", 0], "upscale_method": "area", "width": 10, "height": 0, "crop": "disabled"},
        },
        "3": {
            "class_type": "SaveImage",
            "inputs": {"images": ["2", 0], "filename_prefix": "small"},
            "_meta": {"title": "Save"},
        },
        "4": {"class_type": "PreviewAny", "inputs": {"source": "done"}},
    }
    for name, value in inputs.items():
        prompt["2"]["inputs"][name] = value
    path.write_text(json.dumps(prompt))
    return path


def test_run_executes_and_lists_files(tmp_path, capsys):
    draw(tmp_path / "in" / "a.png", size=(40, 20))
    folders = ["--input-dir", tmp_path / "in", "--output-dir", tmp_path / "out"]
    path = workflow(tmp_path / "w.json")
    assert run("run", path, *folders, "--set", "ImageScale.width=20", "--set", "Save.filename_prefix=b/c") == 0
    shown = capsys.readouterr()
    target = tmp_path / "out" / "b" / "c_00001_.png"
    assert f"Files:\n  {target}\n" in shown.out and "PreviewAny:\n  done" in shown.out
    assert "Save" in shown.err
    with Image.open(target) as image:
        assert image.size == (20, 10) and json.loads(image.text["prompt"])["2"]["inputs"]["width"] == 20
    assert run("run", target, *folders) == 0, "a saved picture carries its workflow"
    assert (tmp_path / "out" / "b" / "c_00002_.png").exists()


def test_run_lists_nodes(tmp_path, capsys):
    assert run("run", workflow(tmp_path / "w.json"), "--list") == 0
    shown = capsys.readouterr().out
    assert 'node 3 "Save" (SaveImage)\n    images <- node 2\n    filename_prefix = "small"' in shown


def test_run_mistakes(tmp_path, capsys):
    assert 'no file "no.json"' in failed(capsys, "run", "no.json")
    path = workflow(tmp_path / "w.json", width=-1, crop="left")
    capsys.readouterr()
    assert run("run", path, "--input-dir", tmp_path, "--output-dir", tmp_path / "out") == 2
    lines = capsys.readouterr().err.strip().splitlines()
    assert len(lines) == 3 and not (tmp_path / "out").exists()
    assert 'no node "9"' in failed(capsys, "run", path, "--set", "9.x=1")


def fine_tuning(steps: int) -> dict:
    """The pack's own nodes with their widgets at the defaults, but few steps."""
    nodes = {
        "model": ("LoadStyleGAN", {"model_name": "tiny.safetensors"}),
        "sketcher": ("LoadPhotoSketch", {"network": "line extractor (no weights)"}),
        "sketches": ("LoadSketches", {"folder": "drawings", "size": 32}),
        "options": ("FineTuneOptions", {"steps": steps, "batch": 2}),
        "tune": (
            "FineTuneMapping",
            {"model": ["model", 0], "sketches": ["sketches", 0], "photosketch": ["sketcher", 0]}
            | {"options": ["options", 0]},
        ),
        "save": ("SaveCustomisedModel", {"model": ["tune", 0], "name": "fruit/round"}),
        "sample": ("Sample", {"model": ["tune", 0], "count": 2}),
    }
    registry = pack.load_pack().NODE_CLASS_MAPPINGS
    prompt = {}
    for key, (name, inputs) in nodes.items():
        declared = registry[f"GANSketching_{name}"].INPUT_TYPES()["required"]
        defaults = {n: spec[1]["default"] for n, spec in declared.items() if "default" in spec[1]}
        prompt[key] = {"class_type": f"GANSketching_{name}", "inputs": defaults | inputs, "_meta": {"title": name}}
    prompt["pictures"] = {"class_type": "SaveImage", "inputs": {"images": ["sample", 0], "filename_prefix": "x"}}
    prompt["report"] = {"class_type": "PreviewAny", "inputs": {"source": ["tune", 3]}}
    return prompt


def test_run_fine_tunes_and_goes_on_after_an_interrupt(tmp_path, capsys, monkeypatch):
    pack.load_pack()
    finetuner = importlib.import_module("gansketching_core.training.finetune").SketchFinetuner
    folders = {name: tmp_path / name for name in ("input", "output", "models")}
    importlib.import_module("gansketching_pack.nodes.host").set_folders(**folders)
    (folders["models"] / "stylegan").mkdir(parents=True)
    native.save_model(make_model(), folders["models"] / "stylegan" / "tiny.safetensors")
    draw(folders["input"] / "drawings" / "a.png")
    (tmp_path / "w.json").write_text(json.dumps(fine_tuning(3)))
    command = ["run", tmp_path / "w.json"]
    for name, folder in folders.items():
        command += [f"--{name}-dir", folder]
    original = finetuner._update_generator

    def press(self, draw):
        if self.steps_done == 1:
            signal.raise_signal(signal.SIGINT)
        return original(self, draw)

    with monkeypatch.context() as patch:
        patch.setattr(finetuner, "_update_generator", press)
        assert run(*command) == 130
    assert 'Stopped in "FineTuneMapping"' in capsys.readouterr().err
    for expected in ("Went on from step 1", "no training needed"):
        assert run(*command) == 0
        assert expected in capsys.readouterr().out
    assert (folders["output"] / "x_00004_.png").exists()
    saved = (folders["output"] / "gansketching" / "fruit").glob("round_*.safetensors")
    assert [file.name for file in saved] == ["round_00001.safetensors"]  # the same model is saved once


INSTALLED = """
import sys
from gansketching_core.cli import pack
print(pack.pack_root())
print("GANSketching_LoadStyleGAN" in pack.load_pack().NODE_CLASS_MAPPINGS)
import gansketching_core.networks.stylegan2 as stylegan2
print(sys.modules["gansketching_pack.nodes.host"].GanModel is stylegan2.GanModel)
"""


def test_installed_layout(tmp_path):
    """In a wheel the pack lies beside the core under a name of its own, and shares that core."""
    root = pack.pack_root()
    site = tmp_path / "site"
    code = shutil.ignore_patterns("__pycache__")
    shutil.copytree(root / "gansketching_core", site / "gansketching_core", ignore=code)
    shutil.copytree(root / "nodes", site / "gansketching_pack" / "nodes", ignore=code)
    shutil.copy(root / "__init__.py", site / "gansketching_pack")
    environment = {**os.environ, "PYTHONPATH": str(site)}
    command = [sys.executable, "-c", INSTALLED]
    done = subprocess.run(command, env=environment, cwd=tmp_path, capture_output=True, text=True, check=False)
    assert done.stdout.split() == [str(site / "gansketching_pack"), "True", "True"], done.stderr


def test_the_pack_has_no_second_copy_of_the_core():
    """Every module of the core that a node imports, now or when it runs, is the one that the command line uses."""
    pack.load_pack()
    prefix = f"{pack.PACK}."
    core = pack.pack_root() / "gansketching_core"
    for path in core.rglob("*.py"):
        parts = path.relative_to(core.parent).with_suffix("").parts
        name = ".".join(part for part in parts if part != "__init__")
        if ".cli" in name:
            assert prefix + name not in sys.modules, "a node imports the command line"
        else:
            assert importlib.import_module(prefix + name) is importlib.import_module(name)


def test_bundled_workflows_are_found_by_name(monkeypatch, tmp_path):
    (tmp_path / "workflows" / "api").mkdir(parents=True)
    path = workflow(tmp_path / "workflows" / "api" / "small.json")
    monkeypatch.setattr(pack, "pack_root", lambda: tmp_path)
    assert pack.find_file("small", "workflows/api", ".json") == path
    with pytest.raises(ValueError, match="bundled: small"):
        pack.find_file("../small", "workflows/api", ".json")
