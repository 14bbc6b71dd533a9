"""A shift of all w towards samples that look like the sketches: the paper's baseline, and the warm start of `fast`."""

import copy
import math
from collections.abc import Callable
from dataclasses import replace
from typing import Any

import torch
from torch import Tensor

from ..networks.stylegan2 import GanModel
from ..sketches.distance import chamfer
from .sampling import Sketcher, render_drawings, sample_z
from .spaces import to_w

CLASS_SAMPLES = 4096  # for the mean w of one class


@torch.no_grad()
def shift_towards(
    model: GanModel,
    sketches: Tensor,
    photosketch: Sketcher,
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
    **options: Any,
) -> GanModel:
    """A copy of `model` whose w are shifted towards samples that look like the sketches [M,1,R,R], without training.

    The w of the best matches among random samples are averaged, and the difference between this average and the mean w
    is added to every w: the vector arithmetic baseline of "Sketch Your Own GAN". per_sketch and spread are additions.

    Args:
        pool, nearest: of how many samples how many are averaged.
        per_sketch: choose the samples nearest to each sketch, at least two each, so that a sketch which many samples
            resemble does not outweigh the others. By default those nearest to any sketch are chosen.
        strength: step length, as a multiple of the way from the mean w to the average of the best matches.
        spread: below 1, the distances of all w from their mean also shrink to this share: the samples are nearer to the
            sketches and less varied. It is exact: the last layer of the mapping network is scaled.
        label: the class, for class-conditional models. The mean w is then that of this class.
        distance: drawings [N,1,R,R] and sketches [M,1,R,R] -> distances [N,M].
        options: on_batch and share of `render`.
    """
    model.check_single_mapping()
    if not 1 <= nearest <= pool:
        raise ValueError(f"nearest is {nearest}; use 1 to {pool}, the size of the pool")
    if not 0 < spread <= 1:
        raise ValueError(f"spread is {spread}; use more than 0, at most 1")
    z = sample_z(model, pool, seed, label)
    w = to_w(model, z)
    drawings = render_drawings(
        model, z if model.details else w, lambda x: photosketch(x.clamp(-1, 1)), batch=batch, **options
    )
    distances = distance(drawings, sketches)
    if per_sketch:
        each = min(pool, max(2, math.ceil(nearest / len(sketches))))
        best = distances.topk(each, dim=0, largest=False).indices.unique()
    else:
        best = distances.min(dim=1).values.argsort()[:nearest]
    centre = model.w_mean
    if label is not None:
        centre = to_w(model, sample_z(model, CLASS_SAMPLES, seed, label)).data.mean(dim=0)
    shift = strength * (w.data[best.to(w.data.device)].mean(dim=0) - centre)

    generator = copy.deepcopy(model.generator)
    mapping = generator.mapping
    for parameter in mapping.layers[-1].parameters():
        parameter *= spread  # a positive factor passes through the leaky ReLU
    mapping.w_shift.add_(shift + (1 - spread) * (centre - mapping.w_shift))
    w_mean = centre + shift + spread * (model.w_mean - centre)
    return replace(model, generator=generator, w_mean=w_mean, name=f"{model.name} shifted")
