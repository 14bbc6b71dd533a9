"""Style mixing: images from two latents (Karras et al., CVPR 2019, section 3.1)."""

import torch
from torch import Tensor

from ..networks.stylegan2 import Details, GanConfig, Generator, Mapping
from ..random_streams import part_of, random_samples


def random_styles(
    mapping: Mapping,
    gan: GanConfig,
    batch: int,
    mixing: float,
    rng: torch.Generator,
    labels: Tensor | None = None,
    details: Details | None = None,
) -> Tensor:
    """Random w+ [batch, L, w_dim], in which the later layers may have another latent than the first.

    `mixing` is the probability, 0..1, that the batch mixes two latents; all samples change at the same random layer.
    `rng` is on the CPU. `labels`, [batch], are classes for class-conditional models. `details`: what the finer layers
    keep of the original, see `GanModel`.
    """

    def styles(z: Tensor) -> Tensor:
        w = mapping(z, labels)
        if details is not None:
            return details.styles(w, z, labels, gan.style_count)
        return w[:, None].expand(-1, gan.style_count, -1)

    z = random_samples(torch.randn, (2, batch, gan.z_dim), rng, axis=1).to(mapping.w_shift.device)
    crossover = int(torch.randint(1, gan.style_count, (), generator=rng))
    is_mixed = float(torch.rand((), generator=rng)) < mixing
    first = styles(z[0])
    second = styles(z[1]) if is_mixed else first
    return torch.cat([first[:, :crossover], second[:, crossover:]], dim=1)


def synthesize(generator: Generator, ws: Tensor, rng: torch.Generator) -> Tensor:
    """Images [B,3,R,R] of w+ [B,L,w_dim] with random noise maps, from the stream of a batch or of a part of it."""
    part = part_of(rng)
    maps = generator.synthesis.noise_maps(len(ws) * part.count, "random", rng)
    return generator.synthesize(ws, noise=[part.of(noise) for noise in maps if noise is not None])
