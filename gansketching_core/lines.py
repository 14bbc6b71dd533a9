"""How far a line drawing is from a sketch, as a loss with gradients."""

from __future__ import annotations

import torch
import torch.nn.functional as F
from torch import Tensor


class Lines:
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
