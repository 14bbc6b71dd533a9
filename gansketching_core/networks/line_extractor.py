"""A line extractor without weights: what stands in for PhotoSketch where there is no network."""

from __future__ import annotations

import math

import torch
import torch.nn.functional as F
from torch import Tensor, nn

from .photosketch import check_photo


class LineExtractor(nn.Module):
    """Lines along the colour edges of a photo, about as thick as a pen (1/50 of the side). No weights, smooth.

    Edge energy is the squared Gaussian gradient summed over the colour channels, so that a yellow fruit on white has an
    outline too. A pixel is inked where its energy stands out both absolutely (`threshold`, as a step of colour that
    would give half black) and among its neighbours, which keeps strong edges as thin as weak ones.
    """

    def __init__(self, *, threshold: float = 0.6, sharpness: float = 0.7):
        super().__init__()
        if threshold <= 0 or sharpness <= 0:
            raise ValueError(f"threshold {threshold} and sharpness {sharpness} must be positive")
        self.threshold, self.sharpness = threshold, sharpness

    def forward(self, photo: Tensor) -> Tensor:
        """photo [B,3,H,W] in -1..1 -> drawing [B,1,H,W] in -1..1, +1 = white paper."""
        check_photo(photo)
        side = math.sqrt(photo.shape[2] * photo.shape[3])
        sigma = max(side / 90, 0.6)
        energy = (_filter(photo, sigma, 1, 0).square() + _filter(photo, sigma, 0, 1).square()).sum(dim=1, keepdim=True)
        # A step of height t has the gradient t / (sqrt(2 pi) sigma) on its edge.
        floor = (self.threshold / sigma) ** 2 / (2 * math.pi)
        around = _filter(energy, 2.5 * sigma, 0, 0)
        strength = energy / (floor + self.sharpness * around)
        ink = strength**2 / (1 + strength**2)
        return 1 - 2 * ink


def _filter(x: Tensor, sigma: float, dy: int, dx: int) -> Tensor:
    """Gaussian filter [B,C,H,W] of `sigma` px, or its derivative (order 0 or 1) along each axis; edges replicated."""
    radius = math.ceil(3 * sigma)
    at = torch.arange(-radius, radius + 1, device=x.device, dtype=x.dtype)
    smooth = torch.exp(-at.square() / (2 * sigma**2))
    smooth = smooth / smooth.sum()
    slope = smooth * at
    slope = slope / (slope * at).sum()  # a ramp of slope 1 gives exactly 1
    channels = x.shape[1]
    x = F.pad(x, (radius,) * 4, mode="replicate")
    x = F.conv2d(x, (slope if dx else smooth).view(1, 1, 1, -1).expand(channels, 1, 1, -1), groups=channels)
    return F.conv2d(x, (slope if dy else smooth).view(1, 1, -1, 1).expand(channels, 1, -1, 1), groups=channels)
