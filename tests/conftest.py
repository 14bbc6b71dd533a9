"""Shared by all tests."""

from __future__ import annotations

import copy

import pytest
import torch
from loaded_pack import SHORT, as_image, drawing, loaded_pack, tiny_model

torch.set_num_threads(1)  # the networks of the tests are tiny: threads only wait for each other on busy machines


@pytest.fixture(scope="module")
def pack():
    """The modules of the pack; see loaded_pack.py."""
    with loaded_pack() as modules:
        yield modules


@pytest.fixture
def inference_mode():
    """As ComfyUI runs nodes: under torch.inference_mode."""
    with torch.inference_mode():
        yield


@pytest.fixture
def home(pack, tmp_path):
    """Empty input, output, temp and models folders."""
    for name in ("input", "output", "temp", "models/stylegan", "models/photosketch"):
        (tmp_path / name).mkdir(parents=True)
    pack.host.set_folders(**{name: tmp_path / name for name in ("input", "output", "temp", "models")})
    yield tmp_path
    pack.host.set_hooks()


@pytest.fixture
def trainable(pack, home):
    """What FineTuneMapping needs, small."""
    (options,) = pack.node("FineTuneOptions").choose("fast", steps=4, batch=2, precision="float32")
    return {
        "model": tiny_model(pack),
        "sketches": as_image(drawing()),
        "photosketch": pack.core.LineExtractor(),
        "seed": 3,
        "options": options,
    }


@pytest.fixture
def registry(pack):
    """Every node class by id, including the stand-ins for ComfyUI's own."""
    return {**pack.headless.COMFY_NODES, **pack.classes}


@pytest.fixture
def short_run(pack, home, monkeypatch):
    """Run a workflow in its API form without ComfyUI: shortened, with tiny models in place of the bundled ones."""

    class Short(pack.training.FinetuneConfig):  # for trainings without Fine-tune Options
        steps: int = 2
        batch: int = 2

    monkeypatch.setattr(pack.training, "FinetuneConfig", Short)
    weights = pack.model_files.ROOT / "weights"
    bundled = {path.name: home / "models" / path.name for path in weights.glob("*.safetensors")}
    monkeypatch.setattr(pack.model_files, "_bundled_weights", lambda: bundled)
    for name, path in bundled.items():
        if name.startswith("sketcher"):
            pack.core.save_photosketch(pack.core.PhotoSketch(width=4, blocks=1), path)
        else:
            pack.core.save_model(tiny_model(pack), path)

    def run(prompt, registry):
        prompt = copy.deepcopy(prompt)
        for node in prompt.values():
            node["inputs"] |= SHORT.get(node["class_type"].removeprefix("GANSketching_"), {})
        return pack.headless.run(prompt, registry)

    return run
