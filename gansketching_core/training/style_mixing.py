"""Style mixing: images from two latents (Karras et al., CVPR 2019, section 3.1)."""

from __future__ import annotations

import torch
from torch import Tensor

from ..networks.stylegan2 import GanConfig, Mapping


def random_styles(
    mapping: Mapping, gan: GanConfig, batch: int, mixing: float, rng: torch.Generator, labels: Tensor | None = None
) -> Tensor:
    """Random w+ [batch, L, w_dim], in which the later layers may have another latent than the first.

    `mixing` is the probability, 0..1, that the batch mixes two latents; all samples change at the same random layer.
    `rng` is on the CPU. `labels`, [batch], are classes for class-conditional models.
    """
    z = torch.randn(2, batch, gan.z_dim, generator=rng).to(mapping.w_shift.device)
    crossover = int(torch.randint(1, gan.style_count, (), generator=rng))
    is_mixed = float(torch.rand((), generator=rng)) < mixing
    first = mapping(z[0], labels)[:, None].expand(-1, gan.style_count, -1)
    second = mapping(z[1], labels)[:, None].expand(-1, gan.style_count, -1) if is_mixed else first
    return torch.cat([first[:, :crossover], second[:, crossover:]], dim=1)
