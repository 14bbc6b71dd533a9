"""DiffAugment (Zhao et al., NeurIPS 2020): differentiable augmentation of what a discriminator sees.

Pure functions of square images [B,C,H,H] and a torch.Generator on the CPU, so that results repeat on any device. The
ranges are those of the reference implementation: brightness +-0.5, saturation x0..2, contrast x0.5..1.5, translation
+-size/8, cutout of half the size; upscale 1..1.25 around the centre.
"""

from functools import partial

import torch
import torch.nn.functional as F
from torch import Tensor

from ..random_streams import random_samples


def _uniform(x: Tensor, low: float, high: float, rng: torch.Generator) -> Tensor:
    return (random_samples(torch.rand, (len(x), 1, 1, 1), rng) * (high - low) + low).to(x)


def _offsets(x: Tensor, low: int, high: int, rng: torch.Generator) -> tuple[Tensor, Tensor]:
    """Two integers in low..high for each sample: [B,1,1] each."""
    both = random_samples(partial(torch.randint, low, high + 1), (2, len(x), 1, 1), rng, axis=1)
    first, second = both.to(x.device)
    return first, second


def color(x: Tensor, rng: torch.Generator) -> Tensor:
    """Brightness, then saturation, then contrast."""
    x = x + _uniform(x, -0.5, 0.5, rng)
    mean = x.mean(dim=1, keepdim=True)
    x = mean + (x - mean) * _uniform(x, 0.0, 2.0, rng)
    mean = x.mean(dim=(1, 2, 3), keepdim=True)
    return mean + (x - mean) * _uniform(x, 0.5, 1.5, rng)


def translation(x: Tensor, rng: torch.Generator) -> Tensor:
    """Shift by whole pixels, up to an eighth of the size, padded with zeros."""
    size = x.shape[-1]
    limit = int(size / 8 + 0.5)
    down, right = _offsets(x, -limit, limit, rng)
    positions = torch.arange(size, device=x.device)
    rows = positions[None, :, None] - down
    columns = positions[None, None, :] - right
    inside = (rows >= 0) & (rows < size) & (columns >= 0) & (columns < size)
    source = (rows.clamp(0, size - 1) * size + columns.clamp(0, size - 1)).flatten(1)  # [B, size * size]
    shifted = x.flatten(2).gather(2, source[:, None].expand(-1, x.shape[1], -1))
    return shifted.view_as(x) * inside[:, None].to(x.dtype)


def cutout(x: Tensor, rng: torch.Generator) -> Tensor:
    """Zero a square of half the size around a random centre; it may extend over the border."""
    size = x.shape[-1]
    row, column = _offsets(x, 0, size, rng)
    positions = torch.arange(size, device=x.device) + size // 4
    rows = positions[None, :, None] - row
    columns = positions[None, None, :] - column
    hole = (rows >= 0) & (rows < size // 2) & (columns >= 0) & (columns < size // 2)
    return x * (~hole)[:, None].to(x.dtype)


def upscale(x: Tensor, rng: torch.Generator) -> Tensor:
    """Enlarge by 1..1.25 and crop the centre."""
    scale = _uniform(x, 1.0, 1.25, rng).view(-1)
    theta = torch.zeros(len(x), 2, 3, dtype=x.dtype, device=x.device)
    theta[:, 0, 0] = theta[:, 1, 1] = 1 / scale
    grid = F.affine_grid(theta, list(x.shape), align_corners=False)
    return F.grid_sample(x, grid, padding_mode="border", align_corners=False)


POLICIES = {"color": color, "translation": translation, "cutout": cutout, "upscale": upscale}


def parse_policy(policy: str) -> list[str]:
    """'color,translation' -> ['color', 'translation']; '' is no augmentation. Raises ValueError for an unknown name."""
    names = [name.strip() for name in policy.split(",") if name.strip()]
    unknown = [name for name in names if name not in POLICIES]
    if unknown:
        raise ValueError(f'augmentation "{unknown[0]}" is unknown; use any of {", ".join(POLICIES)}, joined by commas')
    return names


def augment(x: Tensor, policy: str, rng: torch.Generator) -> Tensor:
    """Apply the named augmentations in turn to x [B,C,H,H] in -1..1. `rng` is on the CPU."""
    for name in parse_policy(policy):
        x = POLICIES[name](x, rng)
    return x
