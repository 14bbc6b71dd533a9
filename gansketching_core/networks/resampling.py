"""FIR resampling with StyleGAN2's filter [1,3,3,1] x [1,3,3,1] / 64, as depthwise convolutions."""

import torch
import torch.nn.functional as F
from torch import Tensor

from .precision import full_precision

TAPS = (1.0, 3.0, 3.0, 1.0)  # of the low-pass filter, along one axis


class _Fir(torch.autograd.Function):
    """`fir` with a backward pass that is another FIR filter, so that it can be differentiated again."""

    @staticmethod
    def forward(ctx, x: Tensor, up: int, down: int, pad: tuple[int, int], gain: float) -> Tensor:
        assert x.shape[-2] == x.shape[-1], "FIR filtering takes square images"
        ctx.args = (x.shape[-1], up, down, pad, gain)
        with full_precision(x):
            return _filter(x, up, down, pad, gain)

    @staticmethod
    def backward(ctx, grad: Tensor):
        size, up, down, (before, _), gain = ctx.args
        end = size * up - grad.shape[-1] * down + before - up + 1  # makes the result as wide as x was
        return _Fir.apply(grad, down, up, (3 - before, end), gain), None, None, None, None


def _filter(x: Tensor, up: int, down: int, pad: tuple[int, int], gain: float) -> Tensor:  # [B, C, H, H]
    channels = x.shape[1]
    taps = torch.tensor(TAPS, dtype=x.dtype, device=x.device)
    kernel = (torch.outer(taps, taps) * (gain / 64)).expand(channels, 1, 4, 4)
    before, after = pad
    if up == 1:
        if before != after:
            x, before = F.pad(x, (before, after, before, after)), 0
        return F.conv2d(x, kernel, stride=down, padding=before, groups=channels)
    if (before, after, down) == (2, 1, 1) and x.dtype != torch.bfloat16:  # bfloat16 is five times slower here on CPUs
        return F.conv_transpose2d(x, kernel, stride=up, padding=1, groups=channels)
    # Insert zeros between the pixels and pad. The kernel is symmetric, so conv2d's correlation is a convolution.
    side = x.shape[-1] * up
    spread = x.new_zeros(*x.shape[:2], side + before + after, side + before + after)
    spread[:, :, before : before + side : up, before : before + side : up] = x
    return F.conv2d(spread, kernel, stride=down, groups=channels)


def fir(x: Tensor, *, up: int = 1, down: int = 1, pad: tuple[int, int]) -> Tensor:
    """Upsample [B,C,H,H] by inserting zeros, pad both axes (before, after), filter and subsample; keeps brightness."""
    return _Fir.apply(x, up, down, pad, float(up * up))


def upsample(x: Tensor) -> Tensor:
    """[B,C,H,H] -> [B,C,2H,2H] with the FIR filter."""
    return fir(x, up=2, pad=(2, 1))


def downsample(x: Tensor) -> Tensor:
    """[B,C,H,H] -> [B,C,H/2,H/2] with the FIR filter."""
    return fir(x, down=2, pad=(1, 1))
