"""Running `gansketching` commands in tests."""

from __future__ import annotations

import torch
from PIL import Image, ImageDraw

from gansketching_core.checkpoints import hashes
from gansketching_core.cli.main import main
from gansketching_core.networks.stylegan2 import Discriminator, GanConfig, GanModel, Generator


def make_model(seed: int = 0) -> GanModel:
    torch.manual_seed(seed)
    config = GanConfig(resolution=32, z_dim=16, w_dim=16, mapping_layers=2, channels=(8, 8, 8, 8))
    generator = Generator(config).eval().requires_grad_(False)
    model = GanModel(generator, Discriminator(config).eval(), config, generator.mean_w(64), "tiny")
    model.base_hash = hashes.weights_hash(model)
    return model


def draw(path, size=(60, 40), colour="black", paper="white"):
    path.parent.mkdir(parents=True, exist_ok=True)
    image = Image.new("RGB", size, paper)
    ImageDraw.Draw(image).ellipse((8, 8, size[0] - 9, size[1] - 9), outline=colour, width=3)
    image.save(path)
    return path


def run(*argv) -> int:
    return main([str(word) for word in argv])


def failed(capsys, *argv) -> str:
    """The one line that the command ends with."""
    capsys.readouterr()
    assert run(*argv) == 2
    line = capsys.readouterr().err.strip().splitlines()[-1]
    assert line.startswith("gansketching: error: ")
    return line
