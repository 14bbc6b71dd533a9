"""GANSpace (Härkönen et al., NeurIPS 2020, arXiv 2004.02546): principal directions of w.

GANSpace uses incremental PCA. Here the covariance is summed in float64 and decomposed by `eigh`: for w of at most a few
thousand numbers this is the exact PCA of all samples, and faster.
"""

from dataclasses import dataclass
from typing import Any

import torch
from einops import rearrange
from torch import Tensor

from ..networks.stylegan2 import GanModel
from ..random_streams import stream
from .sampling import OnBatch, render
from .spaces import Latents, join, layer_range, to_w, to_w_plus, truncate

CHUNK = 10_000  # samples mapped at a time


@dataclass(frozen=True)
class Directions:
    """Principal directions of w, in descending order of the standard deviation of w along them."""

    components: Tensor  # [K, w_dim], orthonormal
    mean: Tensor  # [w_dim], of w
    stdev: Tensor  # [K], of w along each
    name: str = ""  # of the model

    def __post_init__(self):
        shape, mean, stdev = (tuple(tensor.shape) for tensor in (self.components, self.mean, self.stdev))
        if len(shape) != 2 or 0 in shape or mean != shape[1:] or stdev != shape[:1]:
            raise ValueError(f"directions have shapes {shape}, {mean}, {stdev}; expected [K, w_dim], [w_dim], [K]")

    def __len__(self) -> int:
        return len(self.components)


@torch.no_grad()
def fit_directions(
    model: GanModel, *, components: int = 80, samples: int = 100_000, seed: int = 0, on_batch: OnBatch = lambda *_: None
) -> Directions:
    """PCA of the w of `samples` random z, of all classes in turn.

    The sign of a component is such that its largest number is positive. on_batch is called with (samples done, samples
    in all) after each chunk and may raise to stop.
    """
    w_dim, classes = model.config.w_dim, model.config.class_count
    if not 1 <= components <= w_dim:
        raise ValueError(f'components is {components}; the w of "{model.name}" have 1 to {w_dim} directions')
    if samples <= w_dim:
        raise ValueError(f"samples is {samples}; PCA of w with {w_dim} numbers needs more than that, better 100000")
    origin = model.w_mean.double()  # near the mean of the samples, so that the covariance loses no precision below
    total = torch.zeros_like(origin)
    products = torch.zeros(w_dim, w_dim).to(origin)
    for start in range(0, samples, CHUNK):
        count = min(CHUNK, samples - start)
        z = torch.randn(count, model.config.z_dim, generator=stream(seed, "pca", start)).to(model.w_mean)
        labels = torch.arange(start, start + count, device=z.device) % classes if classes else None
        w = to_w(model, Latents("z", z, labels)).data.double() - origin
        total += w.sum(dim=0)
        products += w.T @ w
        on_batch(start + count, samples)
    mean = total / samples
    covariance = (products - samples * torch.outer(mean, mean)) / (samples - 1)
    variances, vectors = torch.linalg.eigh(covariance)  # ascending, a vector in each column
    vectors = rearrange(vectors.flip(1), "w_dim k -> k w_dim")[:components]
    largest = vectors.gather(1, vectors.abs().argmax(dim=1, keepdim=True))
    return Directions(
        components=(vectors * largest.sign()).float(),
        mean=(origin + mean).float(),
        stdev=variances.flip(0)[:components].clamp(min=0).sqrt().float(),
        name=model.name,
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
    """Adds a multiple of one component to N latents -> w+, to be rendered without truncation: it is applied here.

    `strength` counts standard deviations of w along the direction; one for all latents, or one for each [N], or several
    for a single latent, which gives as many results. Layers first..last are changed, both included. By default latents
    are truncated first, so that the edit is as strong in truncated samples; with before_truncation, truncation scales
    the edit too, as in "Sketch Your Own GAN".
    """
    if not 0 <= component < len(directions):
        raise ValueError(f"component {component}: there are {len(directions)} directions, 0 to {len(directions) - 1}")
    if directions.components.shape[1] != model.config.w_dim:
        raise ValueError(
            f'directions of {directions.components.shape[1]} numbers do not fit the model "{model.name}", whose w have '
            f"{model.config.w_dim}; fit directions on this model or the one it was customised from"
        )
    layers = layer_range(model, first, last)
    start = latents if before_truncation else truncate(model, latents, psi)
    ws = to_w_plus(model, start).data
    strengths = torch.as_tensor(strength).to(ws).reshape(-1)
    if len(strengths) != len(ws) and 1 not in (len(strengths), len(ws)):
        raise ValueError(f"{len(strengths)} strengths given for {len(ws)} latents; give one for all, or one for each")
    step = torch.zeros_like(ws[:1])  # [1, L, w_dim], one standard deviation
    step[:, layers] = (directions.stdev[component] * directions.components[component]).to(ws)
    edited = Latents("w+", ws + rearrange(strengths, "n -> n 1 1") * step)
    return truncate(model, edited, psi) if before_truncation else edited


def sheet(
    model: GanModel,
    latents: Latents,
    directions: Directions,
    *,
    components: int = 10,
    strengths: tuple[float, ...] = (-2.0, -1.0, 0.0, 1.0, 2.0),
    batch: int = 8,
    on_batch: OnBatch = lambda *_: None,
    **options: Any,
) -> Tensor:
    """Images [components * len(strengths),3,R,R]: edits of one latent, a row for each of the first components.

    `options` are those of `edit`. Show the rows below each other to find a useful direction by eye.
    """
    if not 1 <= components <= len(directions):
        raise ValueError(f"components is {components}; there are {len(directions)} directions")
    if len(latents) != 1:
        raise ValueError(f"a sheet shows one latent, {len(latents)} given; choose one")
    edits = join([edit(model, latents, directions, k, torch.tensor(strengths), **options) for k in range(components)])
    return render(model, edits, batch=batch, on_batch=on_batch)
