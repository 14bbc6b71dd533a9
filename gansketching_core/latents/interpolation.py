"""Interpolation between latents: straight lines, great circles, walks through several; and style mixing."""

import math
from typing import Literal

import torch
from torch import Tensor

from ..networks.stylegan2 import GanModel
from .spaces import Latents, layer_range, to_w_plus


def _common_labels(a: Latents, b: Latents) -> Tensor | None:
    """The labels of both. Raises ValueError unless they are of the same classes and their data of one shape."""
    if a.space != b.space or a.data.shape[1:] != b.data.shape[1:]:
        raise ValueError(
            f"can't interpolate between {a.space} {tuple(a.data.shape)} and {b.space} {tuple(b.data.shape)}; "
            "bring both to one space first"
        )
    if (a.labels is None) != (b.labels is None) or (a.labels is not None and bool((a.labels != b.labels).any())):
        raise ValueError("can't interpolate between z of different classes; turn them into w first")
    return a.labels if len(a) >= len(b) else b.labels


def _per_sample(t: float | Tensor, like: Tensor) -> Tensor:
    """t as [1] or [N] with as many further axes of length 1 as `like` has."""
    return torch.as_tensor(t, dtype=like.dtype, device=like.device).reshape(-1, *[1] * (like.ndim - 1))


def lerp(a: Latents, b: Latents, t: float | Tensor) -> Latents:
    """Straight line from a (t = 0) to b (t = 1) and beyond; t is one number or one for each sample [N]."""
    labels = _common_labels(a, b)
    return Latents(a.space, torch.lerp(a.data, b.data.to(a.data), _per_sample(t, a.data)), labels)


def slerp(a: Latents, b: Latents, t: float | Tensor) -> Latents:
    """Great circle from a to b, for z. The norm changes linearly from a's to b's, so that it stays typical of z."""
    if a.space != "z":
        raise ValueError(f"slerp follows the sphere on which z lies; use lerp for {a.space} latents")
    labels = _common_labels(a, b)
    start, end = a.data, b.data.to(a.data)
    t = _per_sample(t, start)
    start_norm = start.norm(dim=1, keepdim=True)
    end_norm = end.norm(dim=1, keepdim=True)
    if bool((start_norm == 0).any() or (end_norm == 0).any()):
        raise ValueError("a latent of norm 0 has no direction; use lerp")
    cosine = (start / start_norm * (end / end_norm)).sum(dim=1, keepdim=True).clamp(-1, 1)
    if bool((cosine < -1 + 1e-6).any()):
        raise ValueError("two of the latents are exact opposites, with no shortest arc; put another one between them")
    turns = cosine.acos() / math.pi  # torch.sinc(x) is sin(pi x) / (pi x), and 1 where x is 0
    start_weight = (1 - t) * torch.sinc((1 - t) * turns) / torch.sinc(turns)
    end_weight = t * torch.sinc(t * turns) / torch.sinc(turns)
    norm = torch.lerp(start_norm, end_norm, t)
    data = start_weight * (norm / start_norm) * start + end_weight * (norm / end_norm) * end
    return Latents("z", data, labels)


def walk(keys: Latents, frames: int, *, loop: bool = False, mode: Literal["auto", "lerp", "slerp"] = "auto") -> Latents:
    """`frames` latents through all `keys` in order, evenly spaced.

    Without loop, the first and last frame are the first and last key. With loop, the walk returns to the first key and
    its last frame is the one before that key, so that the film repeats seamlessly. mode auto: slerp for z, else lerp.
    """
    count = len(keys)
    if count < 2 or frames < 1:
        raise ValueError(f"a walk needs at least two latents and one frame; latents: {count}, frames is {frames}")
    segments = count if loop else count - 1
    intervals = frames if loop else max(frames - 1, 1)
    positions = torch.arange(frames, dtype=torch.float64) * segments / intervals
    segment = positions.long().clamp(max=segments - 1)
    interpolate = slerp if mode == "slerp" or (mode == "auto" and keys.space == "z") else lerp
    return interpolate(keys[segment], keys[(segment + 1) % count], positions - segment)


def style_mix(model: GanModel, base: Latents, styles: Latents, first: int = 0, last: int | None = None) -> Latents:
    """w+ of `base` with layers first..last (both included) from `styles`: one style for each latent, or one for all.

    Early layers determine pose and shape, late ones colour and texture.
    """
    layers = layer_range(model, first, last)
    if len(styles) not in (1, len(base)):
        raise ValueError(f"{len(styles)} styles given for {len(base)} latents; give as many, or one for all")
    mixed = to_w_plus(model, base).data.clone()
    mixed[:, layers] = to_w_plus(model, styles).data[:, layers]
    return Latents("w+", mixed)
