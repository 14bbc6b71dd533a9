"""Latents and their spaces.

z ~ N(0,1) is the input of the mapping network, which a model and its customised versions share; w = map(z) is one style
for all layers; w+ has a style for each layer. No function here changes its arguments.
"""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass
from typing import Literal

import torch
from einops import repeat
from torch import Tensor

from ..networks.stylegan2 import GanModel

Space = Literal["z", "w", "w+"]
SPACES = ("z", "w", "w+")


@dataclass(frozen=True)
class Latents:
    """A batch of latents in one space."""

    space: Space
    data: Tensor  # z [N, z_dim], w [N, w_dim] or w+ [N, L, w_dim]
    labels: Tensor | None = None  # of z: classes, [N] of integers or [N, class_count] of weights; w depends on them

    def __post_init__(self):
        if self.space not in SPACES:
            raise ValueError(f'latent space "{self.space}" is unknown; use "z", "w" or "w+"')
        if self.data.ndim != (3 if self.space == "w+" else 2):
            expected = "[N, layers, w_dim]" if self.space == "w+" else f"[N, {self.space}_dim]"
            raise ValueError(f"{self.space} latents have shape {tuple(self.data.shape)}, expected {expected}")
        if self.labels is None:
            return
        if self.space != "z":
            raise ValueError(f"{self.space} latents take no labels: they already depend on the class")
        if self.labels.ndim not in (1, 2):
            raise ValueError(f"labels have shape {tuple(self.labels.shape)}, expected [N] or [N, class_count]")
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


def _data_for(model: GanModel, latents: Latents) -> Tensor:
    """latents.data on the model's device and in its dtype. Raises ValueError if its shape does not fit the model."""
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
    """z -> w by the model's mapping network; w is returned as it is.

    Of a model with `details` this is the w of the layers before them; `to_w_plus` has all.
    """
    data = _data_for(model, latents)
    if latents.space == "w+":
        raise ValueError("w+ latents differ from layer to layer and can't be turned into w; keep them as w+")
    if latents.space == "w":
        return Latents("w", data)
    labels = None if latents.labels is None else latents.labels.to(data.device)
    return Latents("w", model.generator.map(data, labels))


@torch.no_grad()
def to_w_plus(model: GanModel, latents: Latents) -> Latents:
    """z or w -> w+ with equal styles in all layers, but for a model with `details`; w+ is returned as it is."""
    if latents.space == "w+":
        return Latents("w+", _data_for(model, latents))
    if latents.space == "z" and model.details:
        data = _data_for(model, latents)
        return Latents("w+", model.styles(data, None if latents.labels is None else latents.labels.to(data.device)))
    w = to_w(model, latents).data
    return Latents("w+", repeat(w, "n w_dim -> n layers w_dim", layers=model.config.style_count))


def to_space(model: GanModel, z: Latents, space: Space) -> Latents:
    """z as latents of another space."""
    if space == "z":
        return z
    return to_w(model, z) if space == "w" else to_w_plus(model, z)


def truncate(model: GanModel, latents: Latents, psi: float, cutoff: int = 0) -> Latents:
    """w_mean + psi (w - w_mean) in the first `cutoff` layers (0: all) -> w, or w+ if the layers differ."""
    count = model.config.style_count
    if not 0 <= cutoff <= count:
        raise ValueError(f'truncation cutoff {cutoff}: the model "{model.name}" has {count} layers; use 0 to {count}')
    layers_differ = latents.space == "w+" or model.details is not None
    if psi == 1:
        return to_w_plus(model, latents) if layers_differ else to_w(model, latents)
    if not layers_differ and cutoff in (0, count):
        w = to_w(model, latents)
        return Latents("w", model.w_mean.lerp(w.data, psi))
    ws = to_w_plus(model, latents).data.clone()
    layers = slice(0, cutoff or count)
    means = model.w_mean if model.details is None else model.style_means()[layers]
    ws[:, layers] = means.lerp(ws[:, layers], psi)
    return Latents("w+", ws)


def layer_range(model: GanModel, first: int = 0, last: int | None = None) -> slice:
    """Layers first..last, both included (None: the last one), as a slice. Raises ValueError if one is out of range."""
    count = model.config.style_count
    last = count - 1 if last is None else last
    if not 0 <= first <= last < count:
        raise ValueError(
            f'layers {first} to {last}: the model "{model.name}" has layers 0 to {count - 1}; choose a range of these'
        )
    return slice(first, last + 1)


def join(parts: Sequence[Latents]) -> Latents:
    """One batch of several, which must be of one space and shape."""
    spaces = ", ".join(sorted({part.space for part in parts}))
    shapes = {tuple(part.data.shape[1:]) for part in parts}
    if "," in spaces or len(shapes) > 1:
        raise ValueError(f"can't join latents of spaces {spaces} and shapes {shapes}; bring them to one space first")
    data = torch.cat([part.data.to(parts[0].data) for part in parts])
    labels = [part.labels.to(data.device) for part in parts if part.labels is not None]
    if len(labels) not in (0, len(parts)):
        raise ValueError("some of the latents to join have labels and some have none")
    return Latents(parts[0].space, data, torch.cat(labels) if labels else None)
