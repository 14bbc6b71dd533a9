"""How well a customised model follows the sketches."""

from __future__ import annotations

from collections.abc import Callable
from dataclasses import dataclass

import torch
from torch import Tensor, nn

from ..latents.sampling import render, sample_z
from ..latents.spaces import Latents
from ..networks.stylegan2 import GanModel
from ..sketches.distance import chamfer


@dataclass
class SketchMatch:
    """Distances of a model's drawings to the nearest of the sketches (see metrics.chamfer), before and after.

    before, after: medians over the samples, in units of the image side. nearer: the share of samples, 0..1, that came
    nearer than the sample of the same latent was before. beats: the share that is nearer than the median of the model
    before; None in results of older versions.
    """

    before: float
    after: float
    nearer: float
    beats: float | None = None

    def __str__(self) -> str:
        return (
            f"{self.nearer:.0%} of the samples are nearer to the sketches than before. Distance of a drawing to the "
            f"nearest sketch: {self.before:.3f} before, {self.after:.3f} after (median, in image sides)."
        )


def sketch_match(
    before: GanModel,
    after: GanModel,
    sketches: Tensor,
    photosketch: nn.Module,
    *,
    count: int = 64,
    seed: int = 1,
    label: int | None = None,
    batch: int = 8,
    on_batch: Callable[[int, int], None] | None = None,
) -> SketchMatch:
    """Compare `count` samples of both models from the same latents with sketches [N,1,R,R] in -1..1.

    label: the class, for class-conditional models. on_batch: called with (done, total) of each model; may raise.
    """
    latents = sample_z(before, count, seed, label)
    distances = [
        chamfer(_drawings(model, latents, photosketch, batch, on_batch), sketches.cpu()).amin(dim=1)
        for model in (before, after)
    ]
    nearer = (distances[1] < distances[0]).double().mean()
    beats = (distances[1] < distances[0].median()).double().mean()
    return SketchMatch(float(distances[0].median()), float(distances[1].median()), float(nearer), float(beats))


@torch.no_grad()
def _drawings(
    model: GanModel,
    latents: Latents,
    photosketch: nn.Module,
    batch: int,
    on_batch: Callable[[int, int], None] | None,
) -> Tensor:
    images = render(model, latents, batch=batch, on_batch=on_batch)
    return torch.cat([photosketch(part).cpu() for part in images.split(batch)])
