"""Measures of images and of features: pure functions."""

from __future__ import annotations

import math

import numpy as np
import torch
from scipy.ndimage import distance_transform_edt
from torch import Tensor


def chamfer(drawings: Tensor, sketches: Tensor) -> Tensor:
    """Symmetric Chamfer distances between line drawings [N,1,H,W] and [M,1,H,W] in -1..1 (paper +1) -> [N,M].

    Ink is what is darker than 0. The distance is the mean of two means: from each inked pixel of the one to the nearest
    ink of the other, and back, in units of the (longer) image side: 0 for equal lines, 0.02 for lines 2% of the side
    apart. Where either is blank it is sqrt(2), larger than any two pixels are apart.
    """
    for name, x in (("drawings", drawings), ("sketches", sketches)):
        if x.ndim != 4 or x.shape[1] != 1:
            raise ValueError(f"{name} have shape {tuple(x.shape)}, expected [N,1,H,W]")
    if drawings.shape[2:] != sketches.shape[2:]:
        raise ValueError(
            f"drawings of {tuple(drawings.shape[2:])} px can't be compared with sketches of "
            f"{tuple(sketches.shape[2:])} px; resize one to the other"
        )
    ink, way = _ink_and_distance(drawings)  # [N,P]
    sketch_ink, sketch_way = _ink_and_distance(sketches)  # [M,P]
    there = ink @ sketch_way.T / np.maximum(ink.sum(1), 1)[:, None]
    back = way @ sketch_ink.T / np.maximum(sketch_ink.sum(1), 1)[None]
    distance = (there + back) / 2
    distance[~ink.any(1)] = math.sqrt(2)
    distance[:, ~sketch_ink.any(1)] = math.sqrt(2)
    return torch.from_numpy(distance)


def _ink_and_distance(drawings: Tensor) -> tuple[np.ndarray, np.ndarray]:
    """Ink (0 or 1) and distance to the nearest ink in image sides (sqrt(2) where there is none), [N, H * W] each."""
    side = max(drawings.shape[2:])
    ink = (drawings[:, 0] < 0).cpu().numpy()
    way = [distance_transform_edt(~one) / side if one.any() else np.full(one.shape, math.sqrt(2)) for one in ink]
    way = np.stack(way) if way else np.zeros(ink.shape)
    return ink.reshape(len(ink), -1).astype(np.float32), way.reshape(len(ink), -1).astype(np.float32)


def psnr(images: Tensor, targets: Tensor, mask: Tensor | None = None) -> Tensor:
    """Peak signal-to-noise ratio [N] in dB of images [N,3,H,W] in -1..1 (clipped), over pixels weighted by the mask."""
    square = (images.clamp(-1, 1) - targets.clamp(-1, 1)).square().mean(dim=1, keepdim=True)
    weight = torch.ones_like(square) if mask is None else mask.expand_as(square)
    mean = (square * weight).sum(dim=(1, 2, 3)) / weight.sum(dim=(1, 2, 3))
    return 10 * torch.log10(4 / mean.clamp(min=1e-10))
