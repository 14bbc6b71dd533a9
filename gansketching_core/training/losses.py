"""GAN losses, R1 and the weight penalty, as pure functions of logits, images and tensors.

All logits are [B,1]; every loss is a scalar mean over the batch. The names and formulas are those of the reference
implementation of "Sketch Your Own GAN".
"""

from collections.abc import Sequence
from typing import Literal

import torch
import torch.nn.functional as F
from torch import Tensor

GanLoss = Literal["softplus", "least_squares", "hinge", "wasserstein", "original"]

_SOFTPLUS = (lambda real: F.softplus(-real), F.softplus, lambda fake: F.softplus(-fake))

# kind -> (D's loss on real, D's loss on fake, G's loss on fake)
_LOSSES = {
    "softplus": _SOFTPLUS,
    "original": _SOFTPLUS,  # of the reference: the binary cross entropy with a sigmoid, which is the same function
    "least_squares": (lambda real: (real - 1).square(), torch.square, lambda fake: (fake - 1).square()),
    "hinge": (lambda real: F.relu(1 - real), lambda fake: F.relu(1 + fake), torch.neg),
    "wasserstein": (torch.neg, lambda fake: fake, torch.neg),
}


def real_loss(logits: Tensor, kind: GanLoss = "softplus") -> Tensor:
    """The discriminator's loss on real images."""
    return _LOSSES[kind][0](logits).mean()


def fake_loss(logits: Tensor, kind: GanLoss = "softplus") -> Tensor:
    """The discriminator's loss on generated images."""
    return _LOSSES[kind][1](logits).mean()


def generator_loss(logits: Tensor, kind: GanLoss = "softplus") -> Tensor:
    """The generator's loss on generated images; softplus is the non-saturating loss of StyleGAN2."""
    return _LOSSES[kind][2](logits).mean()


def r1_penalty(logits: Tensor, images: Tensor) -> Tensor:
    """E ||d logits / d images||^2 (Mescheder et al. 2018). Multiply by gamma / 2; images must require gradients."""
    (gradient,) = torch.autograd.grad(logits.sum(), images, create_graph=True)
    return gradient.square().flatten(1).sum(dim=1).mean()


def weight_penalty(weights: Sequence[Tensor], originals: Sequence[Tensor]) -> Tensor:
    """Mean over tensors of mean |theta' - theta|: the paper's weight regularisation."""
    return torch.stack([(a - b).abs().mean() for a, b in zip(weights, originals, strict=True)]).mean()
