"""Mixing two models of one base: by their weights, or by their w."""

from __future__ import annotations

import copy
from collections.abc import Sequence
from dataclasses import replace
from typing import Literal

import torch
from torch import Tensor

from ..networks.stylegan2 import GanModel
from .interpolation import lerp
from .sampling import OnBatch, SampleConfig, render
from .spaces import Latents, truncate


def _check_common_base(a: GanModel, b: GanModel) -> None:
    if a.config == b.config:
        if a.base_hash and a.base_hash == b.base_hash:
            return
        synthesis, other = a.generator.synthesis.state_dict(), b.generator.synthesis.state_dict()
        if all(torch.equal(tensor, other[name].to(tensor)) for name, tensor in synthesis.items()):
            return
    raise ValueError(
        f'"{a.name}" and "{b.name}" come from different base models and cannot be mixed; use two models customised '
        "from one base, or a base and its customised version"
    )


@torch.no_grad()
def interpolate_models(a: GanModel, b: GanModel, alpha: float) -> GanModel:
    """The model with weights (1 - alpha) a + alpha b. Alpha may be below 0 or above 1; chain calls for more models.

    Both must share a base. The result's w_mean is mixed in the same proportion and corrected for the non-linearity of
    the mapping network. It keeps a's discriminator.
    """
    _check_common_base(a, b)
    generator = copy.deepcopy(a.generator)
    other = b.generator.state_dict()
    for name, tensor in generator.state_dict().items():
        tensor.lerp_(other[name].to(tensor), alpha)
    correction = generator.mean_w() - a.generator.mean_w().lerp(b.generator.mean_w().to(a.w_mean), alpha)
    w_mean = a.w_mean.lerp(b.w_mean.to(a.w_mean), alpha) + correction
    name = f"{1 - alpha:g} {a.name} + {alpha:g} {b.name}"
    return replace(a, generator=generator, w_mean=w_mean, name=name, metadata={"mixed_from": name})


def mix_w(a: GanModel, b: GanModel, latents: Latents, alpha: float, psi: float = 1.0, cutoff: int = 0) -> Latents:
    """(1 - alpha) w_a + alpha w_b of the same z, each truncated in its own model. Either model can render it."""
    _check_common_base(a, b)
    if latents.space != "z":
        raise ValueError(f"models are mixed by the z latents that they share; these are {latents.space} latents")
    return lerp(truncate(a, latents, psi, cutoff), truncate(b, latents, psi, cutoff), alpha)


def render_between(
    a: GanModel,
    b: GanModel,
    latents: Latents,
    alphas: Sequence[float],
    config: SampleConfig = SampleConfig(),  # noqa: B008 (frozen)
    *,
    mode: Literal["weights", "w"] = "weights",
    seed: int = 0,
    batch: int = 8,
    on_batch: OnBatch | None = None,
) -> Tensor:
    """Images [len(alphas) * N,3,R,R] of the same N latents z by models between a and b, which share a base.

    All images of the first alpha come first. Alpha 0 gives exactly the images of a, 1 those of b. Mode "weights" mixes
    all weights of the generators, "w" only their w: nearly the same, and faster. The rest is as in `render`; on_batch
    counts the images of all alphas.
    """
    if mode not in ("weights", "w"):
        raise ValueError(f'interpolation mode "{mode}" is unknown; use "weights" or "w"')
    total = len(alphas) * len(latents)
    images = []
    for frame, alpha in enumerate(alphas):
        earlier = frame * len(latents)
        report = None if on_batch is None else lambda done, _, k=earlier: on_batch(k + done, total)
        options = {"seed": seed, "batch": batch, "on_batch": report}
        if mode == "weights":
            images.append(render(interpolate_models(a, b, alpha), latents, config, **options))
        else:
            mixed = mix_w(a, b, latents, alpha, config.truncation, config.truncation_cutoff)
            images.append(render(a, mixed, SampleConfig(noise=config.noise), **options))
    return torch.cat(images)
