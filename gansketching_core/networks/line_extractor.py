"""A line extractor without weights, for use where no PhotoSketch network is at hand."""

import math

import torch
from torch import Tensor, nn

from .photosketch import check_photo


class LineExtractor(nn.Module):
    """Draws smooth lines along the colour edges of a photo, about as thick as a pen (1/50 of the side).

    The energy of an edge is the squared Gaussian gradient, summed over the colour channels, so that a yellow fruit on
    white has an outline too. A pixel is inked if its energy is high both absolutely and compared with its
    surroundings; the comparison keeps strong edges as thin as weak ones.

    Args:
        threshold: height of the step of colour, from -1 to 1, that becomes half black if its surroundings are ignored.
        sharpness: weight of the surroundings; the higher, the thinner and fainter the lines.
    """

    def __init__(self, *, threshold: float = 0.6, sharpness: float = 0.7):
        super().__init__()
        if threshold <= 0 or sharpness <= 0:
            raise ValueError(f"threshold is {threshold} and sharpness is {sharpness}; both must be positive")
        self.threshold = threshold
        self.sharpness = sharpness

    def forward(self, photo: Tensor) -> Tensor:
        """photo [B,3,H,W] in -1..1 -> drawing [B,1,H,W] in -1..1, +1 = white paper."""
        from kornia.filters import filter2d_separable, get_gaussian_kernel1d

        check_photo(photo)
        height, width = photo.shape[2:]
        sigma = max(math.sqrt(height * width) / 90, 0.6)

        def gaussian(sigma: float) -> Tensor:
            size = 2 * math.ceil(3 * sigma) + 1
            return get_gaussian_kernel1d(size, sigma, device=photo.device, dtype=photo.dtype)  # [1,size]

        smooth = gaussian(sigma)
        at = torch.arange(smooth.shape[1], device=photo.device, dtype=photo.dtype) - smooth.shape[1] // 2
        slope = smooth * at
        slope = slope / (slope * at).sum()  # a ramp of slope 1 gives exactly 1
        gradient_x = filter2d_separable(photo, slope, smooth, border_type="replicate")
        gradient_y = filter2d_separable(photo, smooth, slope, border_type="replicate")
        energy = (gradient_x.square() + gradient_y.square()).sum(dim=1, keepdim=True)
        around = gaussian(2.5 * sigma)
        surroundings = filter2d_separable(energy, around, around, border_type="replicate")
        # A step of height t has the gradient t / (sqrt(2 pi) sigma) on its edge.
        floor = (self.threshold / sigma) ** 2 / (2 * math.pi)
        strength = energy / (floor + self.sharpness * surroundings)
        ink = strength**2 / (1 + strength**2)
        return 1 - 2 * ink
