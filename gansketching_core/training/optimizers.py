"""Adam for networks with lazy regularisation, and optimiser updates that refuse numbers which are not finite."""

from collections.abc import Iterable

import torch
from torch import Tensor, nn


def lazy_adam(parameters: Iterable[nn.Parameter], learning_rate: float, every: int = 0) -> torch.optim.Adam:
    """StyleGAN2's Adam for those parameters that require gradients.

    every: steps between the updates which lazy regularisation adds, 0 for none; the learning rate and beta2 make up for
    them (StyleGAN2, appendix B).
    """
    ratio = every / (every + 1) if every else 1.0
    trained = [parameter for parameter in parameters if parameter.requires_grad]
    return torch.optim.Adam(trained, lr=learning_rate * ratio, betas=(0.0, 0.99**ratio))


def set_trainable(optimizer: torch.optim.Optimizer, trainable: bool) -> None:
    """Freeze or unfreeze what the optimiser trains, to leave out its gradients while another network is trained."""
    for parameter in optimizer.param_groups[0]["params"]:
        parameter.requires_grad_(trainable)


def update(optimizer: torch.optim.Optimizer, loss: Tensor, what: str, step: int) -> None:
    """One update from the gradients so far. Raises FloatingPointError if they or the loss are not finite."""
    gradients = [p.grad for p in optimizer.param_groups[0]["params"] if p.grad is not None]
    if not torch.isfinite(torch.stack([gradient.sum() for gradient in gradients]).sum() + loss.detach().sum()):
        raise FloatingPointError(
            f"the {what} loss or its gradient is not finite in step {step}; the weights before it are kept. "
            "Use a lower learning rate, or float32 precision."
        )
    optimizer.step()
    optimizer.zero_grad(set_to_none=True)
