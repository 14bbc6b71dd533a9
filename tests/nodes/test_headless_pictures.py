"""Pictures that workflows name or come in: hostile and damaged ones end in the runner's own messages."""

from __future__ import annotations

import importlib
import json
import warnings

import pytest
from image_files import POSTSCRIPT, broken_animation, encoded, noise
from mutations import mutated
from PIL import EpsImagePlugin, Image
from PIL.PngImagePlugin import PngInfo

from gansketching_core.cli.pack import load_pack

load_pack()
headless = importlib.import_module("gansketching_pack.nodes.headless")
host = importlib.import_module("gansketching_pack.nodes.host")
PROMPT = {"1": {"class_type": "PreviewImage", "inputs": {}}}


def workflow_png(size: int = 24) -> bytes:
    info = PngInfo()
    info.add_text("prompt", json.dumps(PROMPT), zip=True)
    return encoded(noise(0, size, size), pnginfo=info)


def test_mutated_workflow_pictures_are_read_or_refused(tmp_path):
    path = tmp_path / "w.png"
    path.write_bytes(workflow_png())
    assert headless.read_workflow(path) == PROMPT
    for seed in range(200):
        path.write_bytes(mutated(workflow_png(), seed))
        with warnings.catch_warnings():
            warnings.simplefilter("ignore", Image.DecompressionBombWarning)
            try:
                headless.read_workflow(path)
            except headless.WorkflowError as error:
                assert str(path) in str(error), seed


@pytest.mark.parametrize(("data", "said"), [(broken_animation(), "not a readable"), (encoded(noise(0)), "carries no")])
def test_pictures_without_a_workflow_are_refused(tmp_path, data, said):
    (tmp_path / "w.png").write_bytes(data)
    with pytest.raises(headless.WorkflowError, match=rf"w\.png.*{said}"):
        headless.read_workflow(tmp_path / "w.png")


@pytest.mark.parametrize("data", [POSTSCRIPT, broken_animation()])
def test_load_image_opens_only_intact_pictures(tmp_path, monkeypatch, data):
    started = []
    monkeypatch.setattr(EpsImagePlugin, "Ghostscript", lambda *args, **options: started.append(args))
    host.set_folders(input=tmp_path)
    (tmp_path / "sketch.png").write_bytes(data)
    with pytest.raises(ValueError, match=r"sketch\.png is not a readable image"):
        headless.COMFY_NODES["LoadImage"]().load("sketch.png")
    assert not started
