"""Latents: where they come from, how they are combined, and images made of them.

z ~ N(0,1) is what a model and its customised versions share; w = map(z) is one style for all layers; w+ is a style for
each layer. All functions return new Latents and leave their arguments as they are.
"""

from __future__ import annotations

import hashlib
import math
from collections.abc import Callable, Sequence
from dataclasses import dataclass
from typing import Literal

import torch
from pydantic import BaseModel, ConfigDict, Field
from torch import Tensor

from .stylegan2 import GanModel

Space = Literal["z", "w", "w+"]
SPACES = ("z", "w", "w+")
OnBatch = Callable[[int, int], None]


@dataclass(frozen=True)
class Latents:
    """A batch of latents and the space they live in.

    data: z [N, z_dim], w [N, w_dim] or w+ [N, L, w_dim]. labels: [N] of integers or [N, class_count] of weights, for z
    of class-conditional models only: a w has its class built in.
    """

    space: Space
    data: Tensor
    labels: Tensor | None = None

    def __post_init__(self):
        if self.space not in SPACES:
            raise ValueError(f'latent space "{self.space}" is unknown; use "z", "w" or "w+"')
        if self.data.ndim != (3 if self.space == "w+" else 2):
            expected = "[N, layers, w_dim]" if self.space == "w+" else f"[N, {self.space}_dim]"
            raise ValueError(f"{self.space} latents have shape {tuple(self.data.shape)}, expected {expected}")
        if self.labels is not None:
            if self.space != "z":
                raise ValueError(f"{self.space} latents take no labels: their class is part of them")
            if len(self.labels) != len(self.data):
                raise ValueError(f"{len(self.labels)} labels given for {len(self.data)} latents")

    def __len__(self) -> int:
        return len(self.data)

    def __getitem__(self, index: int | slice | Sequence[int] | Tensor) -> Latents:
        """Some of the batch; a single index keeps a batch of one."""
        if isinstance(index, int):
            if not -len(self) <= index < len(self):
                raise IndexError(f"latent {index} of {len(self)}")
            index = slice(index, index + 1 or None)
        return Latents(self.space, self.data[index], None if self.labels is None else self.labels[index])


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


def seeded(*numbers: int | str) -> torch.Generator:
    """A CPU generator that depends on all of `numbers`, e.g. (seed, sample)."""
    digest = hashlib.sha256(repr(numbers).encode()).digest()
    return torch.Generator().manual_seed(int.from_bytes(digest[:8], "little"))


def sample_z(model: GanModel, count: int, seed: int = 0, labels: Tensor | Sequence[int] | int | None = None) -> Latents:
    """`count` latents z. Sample i depends on (seed, i) alone, so a larger count only appends.

    labels: for class-conditional models, one class for all or one a sample; None there: classes in turn.
    """
    if count < 1:
        raise ValueError(f"count is {count}; ask for at least one sample")
    z = torch.stack([torch.randn(model.config.z_dim, generator=seeded("z", seed, i)) for i in range(count)])
    classes = model.config.class_count
    if labels is None and classes:
        labels = [i % classes for i in range(count)]
    if labels is not None:
        if not classes:
            raise ValueError(f'labels are given, but the model "{model.name}" has no classes; leave them out')
        labels = torch.as_tensor(labels).to(model.w_mean.device)
        labels = labels.expand(count) if labels.ndim == 0 else labels
    return Latents("z", z.to(model.w_mean), labels)


# ------------------------------------------------------------------------------------------------------------ spaces


def _fitting(model: GanModel, latents: Latents) -> Tensor:
    """latents.data on the model's device and in its type, once its shape is known to fit the model."""
    config = model.config
    expected = {"z": (config.z_dim,), "w": (config.w_dim,), "w+": (config.style_count, config.w_dim)}[latents.space]
    if latents.data.shape[1:] != expected:
        raise ValueError(
            f'{latents.space} latents of shape {tuple(latents.data.shape[1:])} do not fit the model "{model.name}", '
            f"which takes {expected}; use latents made with this model or a customised version of it"
        )
    return latents.data.to(model.w_mean)


@torch.no_grad()
def to_w(model: GanModel, latents: Latents) -> Latents:
    """z -> w through the model's mapping network; w stays."""
    data = _fitting(model, latents)
    if latents.space == "w+":
        raise ValueError("w+ latents differ from layer to layer and can't be turned into w; keep them as w+")
    if latents.space == "w":
        return Latents("w", data)
    labels = None if latents.labels is None else latents.labels.to(data.device)
    return Latents("w", model.generator.map(data, labels))


def to_w_plus(model: GanModel, latents: Latents) -> Latents:
    """z or w -> w+ with equal styles in all layers; w+ stays."""
    if latents.space == "w+":
        return Latents("w+", _fitting(model, latents))
    w = to_w(model, latents).data
    return Latents("w+", w[:, None].expand(-1, model.config.style_count, -1))


def truncate(model: GanModel, latents: Latents, psi: float, cutoff: int = 0) -> Latents:
    """w_mean + psi (w - w_mean), in the first `cutoff` layers (0: all) -> w, or w+ where layers differ."""
    count = model.config.style_count
    if not 0 <= cutoff <= count:
        raise ValueError(f'truncation cutoff {cutoff}: the model "{model.name}" has {count} layers; use 0 to {count}')
    if psi == 1:
        return to_w_plus(model, latents) if latents.space == "w+" else to_w(model, latents)
    if latents.space != "w+" and cutoff in (0, count):
        w = to_w(model, latents)
        return Latents("w", model.w_mean.lerp(w.data, psi))
    ws = to_w_plus(model, latents).data.clone()
    layers = slice(0, cutoff or count)
    ws[:, layers] = model.w_mean.lerp(ws[:, layers], psi)
    return Latents("w+", ws)


def layer_range(model: GanModel, first: int = 0, last: int | None = None) -> slice:
    """Layers first..last, both included (None: to the end), as a slice; refuses layers the model has not."""
    count = model.config.style_count
    last = count - 1 if last is None else last
    if not 0 <= first <= last < count:
        raise ValueError(
            f'layers {first} to {last}: the model "{model.name}" has layers 0 to {count - 1}, give a range within them'
        )
    return slice(first, last + 1)


# ------------------------------------------------------------------------------------------------------------ images


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
            maps = [synthesis.draw_noise(1, "random", seeded("noise", seed, start + i)) for i in range(len(part))]
            noise = [torch.cat(layer) for layer in zip(*maps)]
        images.append(model.generator.synthesize(part.data, noise=noise))
        if on_batch is not None:
            on_batch(min(start + batch, len(latents)), len(latents))
    return torch.cat(images)


# ------------------------------------------------------------------------------------------------------ combinations


def join(parts: Sequence[Latents]) -> Latents:
    """One batch of several. All in the same space."""
    if not parts:
        raise ValueError("there are no latents to join")
    spaces = sorted({part.space for part in parts})
    shapes = sorted({tuple(part.data.shape[1:]) for part in parts})
    if len(spaces) > 1 or len(shapes) > 1:
        raise ValueError(
            f"can't join latents of spaces {', '.join(spaces)} and shapes {shapes}; bring them to one space first"
        )
    labels = [part.labels for part in parts]
    if any(label is None for label in labels) != all(label is None for label in labels):
        raise ValueError("some of the latents to join have labels and some have none")
    return Latents(
        parts[0].space,
        torch.cat([part.data.to(parts[0].data) for part in parts]),
        None if labels[0] is None else torch.cat([label.to(labels[0].device) for label in labels]),
    )


def split(latents: Latents) -> list[Latents]:
    """Batches of one."""
    return [latents[i] for i in range(len(latents))]


def _pair(a: Latents, b: Latents, t: float | Tensor) -> tuple[Tensor, Tensor, Tensor, Tensor | None]:
    """Data of both, t shaped to multiply them, and their common labels."""
    if a.space != b.space or a.data.shape[1:] != b.data.shape[1:]:
        raise ValueError(
            f"can't interpolate between {a.space} {tuple(a.data.shape)} and {b.space} {tuple(b.data.shape)}; "
            "bring both to one space first"
        )
    same = (a.labels is None) == (b.labels is None) and (a.labels is None or bool((a.labels == b.labels).all()))
    if not same:
        raise ValueError("can't interpolate between z of different classes; turn them into w first")
    t = torch.as_tensor(t, dtype=a.data.dtype, device=a.data.device)
    labels = a.labels if a.labels is None or len(a) >= len(b) else b.labels
    return a.data, b.data.to(a.data), t.reshape(-1, *[1] * (a.data.ndim - 1)), labels


def lerp(a: Latents, b: Latents, t: float | Tensor) -> Latents:
    """Straight line from a (t = 0) to b (t = 1) and beyond; t one number or one for each sample [N]."""
    first, second, t, labels = _pair(a, b, t)
    return Latents(a.space, torch.lerp(first, second, t), labels)


def slerp(a: Latents, b: Latents, t: float | Tensor) -> Latents:
    """Great circle from a to b, for z: the norm goes evenly from one's to the other's, so that it stays typical."""
    if a.space != "z":
        raise ValueError(f"slerp follows the sphere on which z lies; use lerp for {a.space} latents")
    first, second, t, labels = _pair(a, b, t)
    norms = [x.norm(dim=1, keepdim=True) for x in (first, second)]
    if any(bool((norm == 0).any()) for norm in norms):
        raise ValueError("a latent of norm 0 has no direction; use lerp")
    cosine = (first / norms[0] * (second / norms[1])).sum(dim=1, keepdim=True).clamp(-1, 1)
    if bool((cosine < -1 + 1e-6).any()):
        raise ValueError("two of the latents are exact opposites, with no shortest way; put another one between them")
    angle = cosine.acos()
    near = angle < 1e-3  # on so small an arc a straight line is the same, and sin(angle) no divisor
    safe = torch.where(near, torch.ones_like(angle), angle)
    weights = [torch.where(near, s, (s * safe).sin() / safe.sin()) for s in (1 - t, t)]
    norm = torch.lerp(*norms, t)
    return Latents("z", weights[0] * (norm / norms[0]) * first + weights[1] * (norm / norms[1]) * second, labels)


def walk(keys: Latents, frames: int, *, loop: bool = False, mode: Literal["auto", "lerp", "slerp"] = "auto") -> Latents:
    """`frames` latents through all `keys` in order, evenly spaced.

    Without loop the first and last frame are the first and last key; with loop the way returns to the first key, and
    the last frame is the one before it, so that the film repeats seamlessly. auto: slerp for z, lerp for w and w+.
    """
    count = len(keys)
    if count < 2:
        raise ValueError(f"a walk needs at least two latents, {count} given")
    if frames < 1:
        raise ValueError(f"frames is {frames}; use 1 or more")
    legs = count if loop else count - 1
    steps = frames if loop else max(frames - 1, 1)
    position = [i * legs / steps for i in range(frames)]
    leg = [min(math.floor(p), legs - 1) for p in position]
    t = torch.tensor([p - k for p, k in zip(position, leg)])
    between = slerp if mode == "slerp" or (mode == "auto" and keys.space == "z") else lerp
    return between(keys[leg], keys[[(k + 1) % count for k in leg]], t)


def style_mix(model: GanModel, base: Latents, styles: Latents, first: int = 0, last: int | None = None) -> Latents:
    """w+ of `base` with layers first..last (both included) taken from `styles` (as many samples, or one for all).

    Early layers carry pose and shape, late ones colour and texture.
    """
    layers = layer_range(model, first, last)
    if len(styles) not in (1, len(base)):
        raise ValueError(f"{len(styles)} styles given for {len(base)} latents; give as many, or one for all")
    mixed = to_w_plus(model, base).data.clone()
    mixed[:, layers] = to_w_plus(model, styles).data[:, layers]
    return Latents("w+", mixed)
