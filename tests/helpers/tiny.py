"""Networks small enough for tests, with random weights."""

from __future__ import annotations

import torch

from gansketching_core.checkpoints.hashes import weights_hash
from gansketching_core.networks.stylegan2 import Discriminator, GanConfig, GanModel, Generator


def tiny_model(seed: int = 0, **changes) -> GanModel:
    """A 32 px model of a few thousand parameters, as a loader would give it."""
    config = GanConfig(
        **{"resolution": 32, "z_dim": 8, "w_dim": 8, "mapping_layers": 2, "channels": (8, 8, 8, 4)} | changes
    )
    with torch.random.fork_rng(devices=[]):
        torch.manual_seed(seed)
        generator = Generator(config).eval().requires_grad_(False)
        discriminator = Discriminator(config).eval().requires_grad_(False)
        for layer in generator.synthesis.layers:
            layer.noise_strength.fill_(0.1)
    model = GanModel(generator, discriminator, config, generator.mean_w(), f"tiny {seed}")
    model.base_hash = weights_hash(model)
    return model


def some_sketches(count: int = 3, size: int = 32) -> torch.Tensor:
    """Rings of different sizes: [count,1,size,size], ink -1 on paper +1."""
    y, x = torch.meshgrid(torch.arange(size), torch.arange(size), indexing="ij")
    distance = ((x - size / 2 + 0.5) ** 2 + (y - size / 2 + 0.5) ** 2).sqrt()
    rings = [((distance - size * (0.2 + 0.05 * k)).abs() < 1).float() for k in range(count)]
    return (1 - 2 * torch.stack(rings))[:, None]


def same_weights(a: GanModel, b: GanModel) -> bool:
    """Are all tensors of the two generators equal to the last bit?"""
    first, second = a.generator.state_dict(), b.generator.state_dict()
    return first.keys() == second.keys() and all(torch.equal(first[name], second[name]) for name in first)
