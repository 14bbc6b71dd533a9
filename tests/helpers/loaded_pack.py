"""The pack, loaded as ComfyUI loads it, and what its nodes are given in tests. Its fixtures are in conftest.py."""

from __future__ import annotations

import importlib
import importlib.util
import sys
from collections.abc import Iterator
from contextlib import contextmanager
from pathlib import Path
from types import SimpleNamespace

import numpy as np
import torch
from PIL import Image, ImageDraw

ROOT = Path(__file__).resolve().parents[2]
PACK_NAME = "/comfy ui/custom_nodes/sketch-gan_x_v1"  # a path, as ComfyUI's names for packs are
SAMPLING = {"truncation": 1.0, "truncation_cutoff": 0, "noise": "const", "class_index": -1}
SHORT = {  # small enough for a test, by node class without its prefix
    "LoadSketches": {"limit": 2, "size": 32},
    "LoadPhotos": {"limit": 2, "size": 32},
    "FineTuneOptions": {"steps": 2, "batch": 2},
    "Sample": {"count": 2},
    "LatentsFromSeed": {"count": 2},
    "InterpolateLatents": {"frames": 4},
    "ProjectImage": {"steps": 2, "pool": 4, "starts": 1},
    "ProjectSketch": {"steps": 1, "pool": 6, "count": 2},
    "WShift": {"pool": 6, "nearest": 2},
    "ModelFilm": {"frames": 3},
    "FitDirections": {"samples": 1000, "components": 4},
    "DirectionsSheet": {"components": 2},
}


@contextmanager
def loaded_pack() -> Iterator[SimpleNamespace]:
    """The pack's modules, its core as `core`, and `node(name)`: a new node."""
    spec = importlib.util.spec_from_file_location(PACK_NAME, ROOT / "__init__.py")
    module = importlib.util.module_from_spec(spec)
    sys.modules[PACK_NAME] = module
    spec.loader.exec_module(module)
    parts = {path.stem: f"nodes.{path.stem}" for path in (ROOT / "nodes").glob("[!_]*.py")}
    parts |= {"headless": "nodes.headless", "core": "gansketching_core"}
    found = {name: importlib.import_module(f"{PACK_NAME}.{path}") for name, path in parts.items()}
    classes = module.NODE_CLASS_MAPPINGS
    yield SimpleNamespace(module=module, classes=classes, node=lambda name: classes[f"GANSketching_{name}"](), **found)
    for name in [name for name in sys.modules if name.startswith(PACK_NAME)]:
        del sys.modules[name]


def tiny_model(pack, seed=0, name="tiny", **changes):
    """As a loader gives it: tensors that can enter autograd."""
    gan = pack.core
    config = gan.GanConfig(resolution=32, z_dim=8, w_dim=8, mapping_layers=2, channels=(8, 8, 8, 4), **changes)
    with torch.inference_mode(False), torch.no_grad():
        torch.manual_seed(seed)
        generator = gan.Generator(config).requires_grad_(False).eval()
        discriminator = gan.Discriminator(config).requires_grad_(False).eval()
        model = gan.GanModel(generator, discriminator, config, generator.mean_w(), name)
        model.base_hash = pack.core.weights_hash(model)
    return model


def drawing(size=(40, 60), ink=0, paper=255) -> Image.Image:
    picture = Image.new("L", size, paper)
    ImageDraw.Draw(picture).ellipse([8, 10, size[0] - 8, size[1] - 10], outline=ink, width=3)
    return picture


def as_image(picture: Image.Image) -> torch.Tensor:
    return torch.from_numpy(np.array(picture.convert("RGB")).astype(np.float32) / 255)[None]
