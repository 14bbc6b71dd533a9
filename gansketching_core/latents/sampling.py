"""Random latents, and images rendered from latents."""

from __future__ import annotations

from collections.abc import Callable, Sequence
from typing import Literal

import torch
from pydantic import BaseModel, ConfigDict, Field
from torch import Tensor, nn

from ..networks.stylegan2 import GanModel
from ..random_streams import stream
from .spaces import Latents, truncate

OnBatch = Callable[[int, int], None]


class SampleConfig(BaseModel):
    """How latents become images."""

    model_config = ConfigDict(frozen=True, extra="forbid")

    truncation: float = Field(
        1.0, ge=0.0, le=2.0, description="Below 1: more typical, less varied images. 0: the average image for all."
    )
    truncation_cutoff: int = Field(
        0, ge=0, le=18, description="Truncate only the first layers (shape), this many of them. 0: all layers."
    )
    noise: Literal["const", "random", "none"] = Field(
        "const", description="Fine texture: const is the same for all images, random differs, none is smooth."
    )


def sample_z(model: GanModel, count: int, seed: int = 0, labels: Tensor | Sequence[int] | int | None = None) -> Latents:
    """`count` latents z. Sample i depends on (seed, i) alone, so a larger count only appends.

    labels: for class-conditional models, one class for all or one a sample; None there: classes in turn.
    """
    if count < 1:
        raise ValueError(f"count is {count}; ask for at least one sample")
    z = torch.stack([torch.randn(model.config.z_dim, generator=stream(seed, "latents", i)) for i in range(count)])
    classes = model.config.class_count
    if labels is None and classes:
        labels = [i % classes for i in range(count)]
    if labels is not None:
        if not classes:
            raise ValueError(f'labels are given, but the model "{model.name}" has no classes; leave them out')
        labels = torch.as_tensor(labels).to(model.w_mean.device)
        labels = labels.expand(count) if labels.ndim == 0 else labels
    return Latents("z", z.to(model.w_mean), labels)


@torch.no_grad()
def render(
    model: GanModel,
    latents: Latents,
    config: SampleConfig = SampleConfig(),  # noqa: B008 (frozen)
    *,
    seed: int = 0,
    batch: int = 8,
    on_batch: OnBatch | None = None,
) -> Tensor:
    """Images [N,3,R,R] in about -1..1 (not clipped), on the model's device.

    seed: of random noise; sample i's noise depends on (seed, i), so that the batch size changes nothing. on_batch is
    called with (images done, images in all) after each batch and may raise to stop.
    """
    if batch < 1:
        raise ValueError(f"batch is {batch}; use 1 or more")
    synthesis, images = model.generator.synthesis, []
    for start in range(0, len(latents), batch):
        part = truncate(model, latents[start : start + batch], config.truncation, config.truncation_cutoff)
        noise = config.noise
        if noise == "random":
            maps = [synthesis.noise_maps(1, "random", stream(seed, "noise", start + i)) for i in range(len(part))]
            noise = [torch.cat(layer) for layer in zip(*maps)]
        images.append(model.generator.synthesize(part.data, noise=noise))
        if on_batch is not None:
            on_batch(min(start + batch, len(latents)), len(latents))
    return torch.cat(images)


@torch.no_grad()
def sample_drawings(
    model: GanModel,
    photosketch: nn.Module,
    *,
    count: int = 8,
    seed: int = 0,
    label: int | None = None,
    batch: int = 8,
    on_batch: OnBatch | None = None,
) -> Tensor:
    """Line drawings of random samples, as `photosketch` makes them.

    Args:
        model: the generator.
        photosketch: photo [B,3,H,W] in -1..1 -> drawing [B,1,H,W] in -1..1.
        count, seed, label: which samples, as in `sample_z`.
        batch, on_batch: as in `render`.

    Returns:
        [count,1,R,R] in -1..1, paper +1, on the device of `photosketch`.
    """
    images = render(model, sample_z(model, count, seed, label), batch=batch, on_batch=on_batch)
    device = next((p.device for p in photosketch.parameters()), images.device)
    return torch.cat([photosketch(part.to(device)) for part in images.split(batch)])
