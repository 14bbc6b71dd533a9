"""Losses against closed formulas in float64, and R1 against finite differences."""

import math

import pytest
import torch

from gansketching_core.training import losses

LOGITS = torch.tensor([[-2.0], [0.3], [1.7]], dtype=torch.float64)


def mean(function):
    return sum(function(x) for x in LOGITS.flatten().tolist()) / 3


def softplus(x):
    return math.log1p(math.exp(x))


@pytest.mark.parametrize(
    ("kind", "real", "fake", "generator"),
    [
        ("softplus", lambda x: softplus(-x), softplus, lambda x: softplus(-x)),
        ("least_squares", lambda x: (x - 1) ** 2, lambda x: x**2, lambda x: (x - 1) ** 2),
        ("hinge", lambda x: max(0, 1 - x), lambda x: max(0, 1 + x), lambda x: -x),
        ("wasserstein", lambda x: -x, lambda x: x, lambda x: -x),
        (
            "original",
            lambda x: -math.log(1 / (1 + math.exp(-x))),
            lambda x: -math.log(1 - 1 / (1 + math.exp(-x))),
            lambda x: -math.log(1 / (1 + math.exp(-x))),
        ),
    ],
)
def test_losses_are_their_formulas(kind, real, fake, generator):
    assert float(losses.real_loss(LOGITS, kind)) == pytest.approx(mean(real), rel=1e-12)
    assert float(losses.fake_loss(LOGITS, kind)) == pytest.approx(mean(fake), rel=1e-12)
    assert float(losses.generator_loss(LOGITS, kind)) == pytest.approx(mean(generator), rel=1e-12)


def test_r1_equals_finite_differences():
    torch.manual_seed(0)
    kernel = torch.randn(4, 3, 3, 3, dtype=torch.float64)
    images = torch.randn(2, 3, 6, 6, dtype=torch.float64)

    def logits_of(x):
        return torch.tanh(torch.conv2d(x, kernel)).square().sum(dim=(1, 2, 3))[:, None]

    with_gradient = images.clone().requires_grad_(True)
    penalty = losses.r1_penalty(logits_of(with_gradient), with_gradient)
    step, expected = 1e-5, 0.0
    for k in range(images.numel()):
        changed = images.clone().flatten()
        changed[k] += step
        up = logits_of(changed.view_as(images)).sum()
        changed[k] -= 2 * step
        down = logits_of(changed.view_as(images)).sum()
        expected += float((up - down) / (2 * step)) ** 2
    assert float(penalty.detach()) == pytest.approx(expected / len(images), rel=1e-6)
    penalty.backward()  # it can be minimised
    assert with_gradient.grad.abs().max() > 0


def test_weight_penalty_is_a_mean_of_means():
    weights = [torch.tensor([1.0, 3.0]), torch.tensor([[2.0]])]
    originals = [torch.tensor([0.0, 0.0]), torch.tensor([[-2.0]])]
    assert float(losses.weight_penalty(weights, originals)) == pytest.approx((2 + 4) / 2)
