"""GANSpace (Härkönen et al., NeurIPS 2020, arXiv 2004.02546): principal directions of w.

Where GANSpace uses incremental PCA, the covariance here is summed exactly in float64 and decomposed by `eigh`: for
w of at most a few thousand numbers this is the plain PCA of all samples, and faster.
"""

from __future__ import annotations

from collections.abc import Callable
from dataclasses import dataclass

import torch
from torch import Tensor

from ..networks.stylegan2 import GanModel
from ..random_streams import stream
from .sampling import SampleConfig, render
from .spaces import Latents, layer_range, to_w, to_w_plus, truncate

CHUNK = 10_000


@dataclass(frozen=True)
class Directions:
    """Principal directions of w, the one with the largest spread first.

    components [K, w_dim]: orthonormal; mean [w_dim]; stdev [K]: spread of w along each; name: the model they are from.
    """

    components: Tensor
    mean: Tensor
    stdev: Tensor
    name: str = ""

    def __post_init__(self):
        shapes = [tuple(x.shape) for x in (self.components, self.mean, self.stdev)]
        if len(shapes[0]) != 2 or shapes[1:] != [(shapes[0][1],), (shapes[0][0],)] or 0 in shapes[0]:
            raise ValueError(f"directions have shapes {shapes}, expected [K, w_dim], [w_dim] and [K]")

    def __len__(self) -> int:
        return len(self.components)


@torch.no_grad()
def fit_directions(
    model: GanModel,
    *,
    components: int = 80,
    samples: int = 100_000,
    seed: int = 0,
    on_batch: Callable[[int, int], None] | None = None,
) -> Directions:
    """PCA of the w of `samples` random z. The sign of a component is such that its largest number is positive.

    on_batch is called with (samples done, in all) after each chunk and may raise to stop.
    """
    w_dim = model.config.w_dim
    if not 1 <= components <= w_dim:
        raise ValueError(f'components is {components}; the w of "{model.name}" have 1 to {w_dim} directions')
    if samples <= w_dim:
        raise ValueError(f"samples is {samples}; PCA of w with {w_dim} numbers needs more than that, better 100000")
    centre = model.w_mean.double()  # near the mean, so that subtracting its square loses nothing
    total, square = torch.zeros_like(centre), torch.zeros(w_dim, w_dim).to(centre)
    for start in range(0, samples, CHUNK):
        count = min(CHUNK, samples - start)
        z = torch.randn(count, model.config.z_dim, generator=stream(seed, "pca", start)).to(model.w_mean)
        classes = model.config.class_count
        labels = (torch.arange(start, start + count) % classes).to(z.device) if classes else None
        w = to_w(model, Latents("z", z, labels)).data.double() - centre
        total += w.sum(dim=0)
        square += w.T @ w
        if on_batch is not None:
            on_batch(start + count, samples)
    mean = total / samples
    covariance = (square - samples * torch.outer(mean, mean)) / (samples - 1)
    variances, vectors = torch.linalg.eigh(covariance)
    vectors = vectors.flip(1).T[:components]
    largest = vectors.gather(1, vectors.abs().argmax(dim=1, keepdim=True))
    return Directions(
        (vectors * largest.sign()).float(),
        (centre + mean).float(),
        variances.flip(0)[:components].clamp(min=0).sqrt().float(),
        model.name,
    )


def edit(
    model: GanModel,
    latents: Latents,
    directions: Directions,
    component: int,
    strength: float | Tensor,
    *,
    first: int = 0,
    last: int | None = None,
    psi: float = 1.0,
    before_truncation: bool = False,
) -> Latents:
    """w+ moved along one component by `strength` standard deviations in layers first..last, both included.

    strength: one number or one for each sample [N]. psi: truncation, applied here: by default first, so that an edit
    is as strong in truncated samples; before_truncation makes it scale the edit too, as "Sketch Your Own GAN" does.
    Render the result without truncation.
    """
    if not 0 <= component < len(directions):
        raise ValueError(f"component {component}: there are {len(directions)} directions, 0 to {len(directions) - 1}")
    if directions.components.shape[1] != model.config.w_dim:
        raise ValueError(
            f'directions of {directions.components.shape[1]} numbers do not fit the model "{model.name}", whose w have '
            f"{model.config.w_dim}; fit directions on this model or the one it was customised from"
        )
    layers = layer_range(model, first, last)
    ws = (to_w_plus(model, latents) if before_truncation else to_w_plus(model, truncate(model, latents, psi))).data
    sigma = directions.stdev[component].to(ws)
    amount = torch.as_tensor(strength).to(ws).reshape(-1, 1, 1) * sigma
    ws = ws.repeat(len(amount) if len(ws) == 1 else 1, 1, 1)
    ws[:, layers] += amount * directions.components[component].to(ws)
    edited = Latents("w+", ws)
    return truncate(model, edited, psi) if before_truncation else edited


def sheet(
    model: GanModel,
    latents: Latents,
    directions: Directions,
    *,
    components: int = 10,
    strengths: tuple[float, ...] = (-2.0, -1.0, 0.0, 1.0, 2.0),
    first: int = 0,
    last: int | None = None,
    psi: float = 1.0,
    noise: str = "const",
    batch: int = 8,
    on_batch: Callable[[int, int], None] | None = None,
) -> Tensor:
    """Images [K * len(strengths),3,R,R]: one latent moved along each of the first K components, a row for each.

    Lay them out with len(strengths) columns to find a useful direction by eye.
    """
    if not 1 <= components <= len(directions):
        raise ValueError(f"components is {components}; there are {len(directions)} directions")
    if len(latents) != 1:
        raise ValueError(f"a sheet shows one latent, {len(latents)} given")
    steps = torch.tensor(strengths)
    rows = [edit(model, latents, directions, k, steps, first=first, last=last, psi=psi) for k in range(components)]
    every = Latents("w+", torch.cat([row.data for row in rows]))
    return render(model, every, SampleConfig(noise=noise), batch=batch, on_batch=on_batch)
