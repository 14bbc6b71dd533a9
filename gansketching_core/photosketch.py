"""From a photo to a line drawing: the PhotoSketch network, and a line extractor that needs no weights.

Both take photos [B,3,H,W] in -1..1 and give drawings [B,1,H,W] in -1..1 where +1 is white paper, are differentiable
with respect to the photo, and work at any H, W >= 32 that are multiples of 4.
"""

from __future__ import annotations

import math

import torch
import torch.nn.functional as F
from torch import Tensor, nn


def _check(photo: Tensor) -> None:
    if photo.ndim != 4 or photo.shape[1] != 3:
        raise ValueError(f"photos have shape {tuple(photo.shape)}, expected [B,3,H,W]")
    if min(photo.shape[2:]) < 32 or any(size % 4 for size in photo.shape[2:]):
        raise ValueError(
            f"photos are {photo.shape[3]} x {photo.shape[2]} px; resize them to multiples of 4 px, at least 32 px"
        )


class _BatchNorm(nn.BatchNorm2d):
    """Batch normalisation that can use the batch's statistics without recording them."""

    batch_statistics = False

    def forward(self, x: Tensor) -> Tensor:
        if self.batch_statistics:
            return F.batch_norm(x, None, None, self.weight, self.bias, training=True, eps=self.eps)
        return super().forward(x)


class _Block(nn.Module):
    """Residual block: x + BN(conv(ReLU(BN(conv(x))))), reflection padded."""

    def __init__(self, channels: int):
        super().__init__()
        self.conv_block = nn.Sequential(
            nn.ReflectionPad2d(1),
            nn.Conv2d(channels, channels, 3, bias=False),
            _BatchNorm(channels),
            nn.ReLU(inplace=True),
            nn.Identity(),  # the published network has a dropout of rate 0 here; the names of the weights count it
            nn.ReflectionPad2d(1),
            nn.Conv2d(channels, channels, 3, bias=False),
            _BatchNorm(channels),
        )

    def forward(self, x: Tensor) -> Tensor:
        return x + self.conv_block(x)


class PhotoSketch(nn.Module):
    """Contour drawing network (Li et al., "Photo-Sketching", WACV 2019, arXiv 1901.00542), a pix2pix ResNet.

    width=64, blocks=9 takes the authors' weights as they are; smaller values make the bundled sketcher.

    `batch_statistics`: False, the default: a drawing depends on its own photo alone, by running statistics. True: batch
    normalisation by the statistics of the batch, as "Sketch Your Own GAN" does, leaving the running ones untouched.
    Training mode (`net.train()`) is for training the network itself and records them.
    """

    def __init__(self, *, width: int = 64, blocks: int = 9):
        super().__init__()
        if width < 1 or blocks < 0:
            raise ValueError(f"width {width} must be at least 1 and blocks {blocks} at least 0")
        self.width, self.blocks = width, blocks
        layers = [nn.ReflectionPad2d(3), nn.Conv2d(3, width, 7, bias=False), _BatchNorm(width), nn.ReLU(inplace=True)]
        for c in (width, width * 2):
            layers += [
                nn.Conv2d(c, c * 2, 3, stride=2, padding=1, bias=False),
                _BatchNorm(c * 2),
                nn.ReLU(inplace=True),
            ]
        layers += [_Block(width * 4) for _ in range(blocks)]
        for c in (width * 2, width):
            up = nn.ConvTranspose2d(c * 2, c, 3, stride=2, padding=1, output_padding=1, bias=False)
            layers += [up, _BatchNorm(c), nn.ReLU(inplace=True)]
        layers += [nn.ReflectionPad2d(3), nn.Conv2d(width, 1, 7), nn.Tanh()]
        self.model = nn.Sequential(*layers)

    @property
    def batch_statistics(self) -> bool:
        return self.model[2].batch_statistics

    @batch_statistics.setter
    def batch_statistics(self, value: bool) -> None:
        for module in self.modules():
            if isinstance(module, _BatchNorm):
                module.batch_statistics = bool(value)

    def forward(self, photo: Tensor) -> Tensor:
        """photo [B,3,H,W] in -1..1 -> drawing [B,1,H,W] in -1..1, +1 = white paper."""
        _check(photo)
        return self.model(photo)


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
        _check(photo)
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
