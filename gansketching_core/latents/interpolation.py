"""Between latents: straight lines, great circles, walks through several, style mixing."""

from __future__ import annotations

import math
from typing import Literal

import torch
from torch import Tensor

from ..networks.stylegan2 import GanModel
from .spaces import Latents, layer_range, to_w_plus


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
