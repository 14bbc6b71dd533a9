"""A shift of all w towards samples that look like the sketches: the paper's baseline, and the warm start of `fast`."""

from __future__ import annotations

import copy
import math
from collections.abc import Callable
from dataclasses import replace

import torch
from torch import Tensor

from ..networks.stylegan2 import GanModel
from ..sketches.distance import chamfer
from .sampling import OnBatch, render, sample_z
from .spaces import to_w


@torch.no_grad()
def shift_towards(
    model: GanModel,
    sketches: Tensor,
    photosketch: Callable[[Tensor], Tensor],
    *,
    pool: int = 512,
    nearest: int = 16,
    per_sketch: bool = False,
    strength: float = 1.0,
    spread: float = 1.0,
    seed: int = 0,
    label: int | None = None,
    batch: int = 16,
    distance: Callable[[Tensor, Tensor], Tensor] = chamfer,
    on_batch: OnBatch | None = None,
) -> GanModel:
    """A copy of `model` whose w are shifted towards samples that look like the sketches: instant, without training.

    sketches [M,1,R,R] in -1..1, paper +1. Of `pool` samples the `nearest` to the sketches by `distance` of their
    drawings, [N,1,R,R] and [M,1,R,R] -> [N,M], are averaged; the shift is `strength` times the way from w_mean to
    there. This is the vector arithmetic baseline of "Sketch Your Own GAN".
    per_sketch: all sketches count (ours): the samples nearest to each are averaged, `nearest` in all but at least two
    each, so that sketches which samples easily meet don't stand for the others.
    spread: below 1, all w also move together, to that share of their distances (ours; the paper has 1): nearer to the
    sketches and less varied. It is exact, and costs nothing: the mapping network's last layer is scaled.
    label: the class, for class-conditional models.
    """
    if not 1 <= nearest <= pool:
        raise ValueError(f"nearest is {nearest}; use 1 to {pool}, the size of the pool")
    if not 0 < spread <= 1:
        raise ValueError(f"spread is {spread}; use more than 0, at most 1")
    w = to_w(model, sample_z(model, pool, seed, label))
    images = render(model, w, batch=batch, on_batch=on_batch)
    drawings = torch.cat([photosketch(part.clamp(-1, 1)) for part in images.split(batch)])
    distances = distance(drawings, sketches)
    if per_sketch:
        each = min(pool, max(2, math.ceil(nearest / len(sketches))))
        best = distances.topk(each, dim=0, largest=False).indices.unique()
    else:
        best = distances.min(dim=1).values.argsort()[:nearest]
    shift = strength * (w.data[best.to(w.data.device)].mean(dim=0) - model.w_mean)
    generator = copy.deepcopy(model.generator)
    mapping, last = generator.mapping, generator.mapping.layers[-1]
    last.weight *= spread  # leaky ReLU lets a positive factor pass
    last.bias *= spread
    mapping.w_shift += shift + (1 - spread) * (model.w_mean - mapping.w_shift)
    return replace(model, generator=generator, w_mean=model.w_mean + shift, name=f"{model.name} shifted")
