"""Chamfer distance of line drawings: exact, for measuring, and differentiable, as a loss."""

from __future__ import annotations

import math

import numpy as np
import torch
import torch.nn.functional as F
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


class SketchDistance:
    """A sketch [1,H,W], and a differentiable Chamfer distance of drawings to it, at 64 px or less.

    Exact from the drawing's ink to the sketch; from the sketch to the drawing an average over all ink, weighted by
    exp(-distance / softness), in place of the nearest.
    """

    def __init__(self, sketch: Tensor, *, side: int = 64, softness: float = 0.03):
        self.side = min(side, sketch.shape[-1])
        ink = sketch < max(0.0, float(sketch.min()) + 1e-6)  # of a faint sketch, what is darkest
        line = F.adaptive_max_pool2d(ink.to(sketch), self.side).flatten().bool()
        at = (torch.arange(self.side, device=sketch.device, dtype=sketch.dtype) + 0.5) / self.side
        points = torch.cartesian_prod(at, at)  # [P,2]
        self.apart = torch.cdist(points[line], points)  # [Q,P]
        self.nearest = self.apart.min(dim=0).values  # [P]
        self.weight = torch.exp(-self.apart / softness)

    def distance(self, drawing: Tensor) -> Tensor:
        """drawing [1,H,W] in -1..1 -> a number in image sides."""
        ink = F.adaptive_avg_pool2d(((1 - drawing) / 2).square(), self.side).flatten() + 1e-8
        there = (ink * self.nearest).sum() / ink.sum()
        back = ((self.weight * self.apart) @ ink) / (self.weight @ ink)
        return (there + back.mean()) / 2
