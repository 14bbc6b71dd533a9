"""Between two models of one base: mixed weights, or mixed w."""

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
    known = a.base_hash and a.base_hash == b.base_hash
    ours, theirs = a.generator.synthesis.state_dict(), b.generator.synthesis.state_dict()
    if a.config != b.config or not (known or all(torch.equal(ours[k], theirs[k].to(ours[k])) for k in ours)):
        raise ValueError(
            f'"{a.name}" and "{b.name}" come from different base models and cannot be mixed; use two models customised '
            "from one base, or a base and its customised version"
        )


@torch.no_grad()
def interpolate_models(a: GanModel, b: GanModel, alpha: float) -> GanModel:
    """The model with weights (1 - alpha) a + alpha b: a at 0, b at 1, beyond both outside. Chain it for more models.

    Both must share a base. The result's w_mean is a's and b's mixed likewise, plus what the non-linear mapping network
    adds between them. It keeps a's discriminator.
    """
    _check_common_base(a, b)
    generator = copy.deepcopy(a.generator)
    theirs = b.generator.state_dict()
    for name, tensor in generator.state_dict().items():
        tensor.lerp_(theirs[name].to(tensor), alpha)
    bend = generator.mean_w() - a.generator.mean_w().lerp(b.generator.mean_w().to(a.w_mean), alpha)
    w_mean = a.w_mean.lerp(b.w_mean.to(a.w_mean), alpha) + bend
    name = f"{1 - alpha:g} {a.name} + {alpha:g} {b.name}"
    return replace(a, generator=generator, w_mean=w_mean, name=name, metadata={"mixed_from": name})


def mix_w(a: GanModel, b: GanModel, latents: Latents, alpha: float, psi: float = 1.0, cutoff: int = 0) -> Latents:
    """(1 - alpha) w_a + alpha w_b of the same z, each truncated in its own model; to be rendered by either one."""
    _check_common_base(a, b)
    if latents.space != "z":
        raise ValueError(f"models are mixed from z latents, which they share; these are {latents.space} latents")
    return lerp(truncate(a, latents, psi, cutoff), truncate(b, latents, psi, cutoff), alpha)


def render_between(
    a: GanModel,
    b: GanModel,
    latents: Latents,
    alphas: float | Sequence[float],
    config: SampleConfig = SampleConfig(),  # noqa: B008 (frozen)
    *,
    mode: Literal["weights", "w"] = "weights",
    seed: int = 0,
    batch: int = 8,
    on_batch: OnBatch | None = None,
) -> Tensor:
    """The same latents z seen through models between a and b -> images [len(alphas) * N,3,R,R], alpha by alpha.

    mode "weights" mixes the networks, "w" only what they make of z: about alike in the middle, "w" is faster. At 0 and
    1 both give exactly the images of a and b.
    """
    if mode not in ("weights", "w"):
        raise ValueError(f'interpolation mode "{mode}" is unknown; use "weights" or "w"')
    alphas = [alphas] if isinstance(alphas, int | float) else list(alphas)
    images, total = [], len(alphas) * len(latents)
    for frame, alpha in enumerate(alphas):
        report = None if on_batch is None else lambda done, _, k=frame: on_batch(k * len(latents) + done, total)
        options = {"seed": seed, "batch": batch, "on_batch": report}
        if mode == "weights":
            images.append(render(interpolate_models(a, b, alpha), latents, config, **options))
        else:
            mixed = mix_w(a, b, latents, alpha, config.truncation, config.truncation_cutoff)
            images.append(render(a, mixed, SampleConfig(noise=config.noise), **options))
    return torch.cat(images)
