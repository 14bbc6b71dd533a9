"""The pack, loaded as ComfyUI loads it, and inputs for its nodes. The fixtures are in conftest.py."""

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
    "FitBridge": {"samples": 20, "held_out": 4, "steps": 1, "pool": 4},
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
    modules = {name: importlib.import_module(f"{PACK_NAME}.{path}") for name, path in parts.items()}
    classes = module.NODE_CLASS_MAPPINGS
    yield SimpleNamespace(
        module=module, classes=classes, node=lambda name: classes[f"GANSketching_{name}"](), **modules
    )
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


def ring(size: int = 48) -> torch.Tensor:
    """A sketch as IMAGE: a ring, black on white."""
    y, x = torch.meshgrid(torch.arange(size), torch.arange(size), indexing="ij")
    distance = ((x - size / 2) ** 2 + (y - size / 2) ** 2).sqrt()
    return ((distance - size * 0.3).abs() > 2).float()[None, :, :, None].expand(-1, -1, -1, 3)


def shown_inputs(node: type) -> dict:
    """A node's inputs, without those that the editor fills in: name -> (type, options)."""
    sections = node.INPUT_TYPES()
    return {**sections["required"], **sections.get("optional", {})}


def defaults(pack, name, **changes):
    """The default values of a node's widgets."""
    declared = shown_inputs(pack.classes[f"GANSketching_{name}"])
    return {name: options["default"] for name, (_, options) in declared.items() if "default" in options} | changes


def seeded(pack, model, seed=1, count=3, space="z"):
    return pack.node("LatentsFromSeed").sample(model, seed, count, space, -1)[0]


def images_of(pack, model, latents):
    return pack.node("Sample").sample(model, 0, 1, latents=latents, **SAMPLING)[0]


def customised(pack, model):
    """The same model with another mapping network."""
    made = tiny_model(pack)
    with torch.inference_mode(False), torch.no_grad():
        for parameter in made.generator.mapping.parameters():
            parameter.add_(0.3 * torch.randn_like(parameter))
        return pack.core.GanModel(made.generator, None, made.config, made.generator.mean_w(), "custom", model.base_hash)
