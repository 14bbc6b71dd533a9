"""Metrics against closed forms, definitions, SciPy and torch-fidelity."""

from __future__ import annotations

import math

import numpy as np
import pytest
import torch
from scipy.linalg import sqrtm

from gansketching_core.evaluation.metrics import (
    frechet_distance,
    kernel_distance,
    path_length,
    precision_recall,
    psnr,
)


def test_psnr_counts_what_the_mask_shows():
    target = torch.zeros(2, 3, 4, 4)
    image = target.clone()
    image[0] += 0.2
    image[1, :, :2] += 0.02
    image[1, :, 2:] = 5.0
    mask = torch.zeros(2, 1, 4, 4)
    mask[:, :, :2] = 1
    assert psnr(image, target, mask).tolist() == pytest.approx([20.0, 40.0], abs=1e-3)
    assert psnr(image, target)[1] == pytest.approx(
        10 * math.log10(4 / (0.5 * 0.0004 + 0.5)), abs=1e-3
    )  # 5.0 is clipped


# ------------------------------------------------------------------------------------------------------------ features


def normal(count: int, mean: torch.Tensor, factor: torch.Tensor, seed: int) -> torch.Tensor:
    rng = torch.Generator().manual_seed(seed)
    return torch.randn(count, len(mean), generator=rng, dtype=torch.float64) @ factor.T + mean


def test_frechet_distance_of_one_dimensional_gaussians():
    """Closed form: (mean difference)^2 + (difference of standard deviations)^2."""
    a = torch.tensor([[-1.0], [1.0]]).repeat(500, 1) * 3 + 5
    b = torch.tensor([[-1.0], [1.0]]).repeat(500, 1) * 2
    deviation = math.sqrt(1000 / 999)
    assert frechet_distance(a, b) == pytest.approx(25 + deviation**2, rel=1e-9)
    assert frechet_distance(a, a) == pytest.approx(0, abs=1e-9)


def test_frechet_distance_agrees_with_scipys_square_root():
    factors = torch.randn(2, 6, 6, generator=torch.Generator().manual_seed(1), dtype=torch.float64)
    x, y = normal(400, torch.zeros(6), factors[0], 2), normal(300, torch.ones(6), factors[1], 3)
    a, b = np.cov(x.numpy().T), np.cov(y.numpy().T)
    expected = float((x.mean(0) - y.mean(0)).square().sum()) + np.trace(a + b - 2 * sqrtm(a @ b).real)
    assert frechet_distance(x, y) == pytest.approx(expected, rel=1e-8)


def test_frechet_distance_of_fewer_features_than_dimensions():
    """In the plane of the first two of 40 dimensions: the same as in two dimensions."""
    x, y = normal(12, torch.zeros(2), torch.eye(2).double(), 4), normal(15, torch.ones(2), 2 * torch.eye(2).double(), 5)
    flat = frechet_distance(x, y)
    wide = [torch.nn.functional.pad(part, (0, 38)) for part in (x, y)]
    assert frechet_distance(*wide) == pytest.approx(flat, rel=1e-6)


def test_kernel_distance_from_the_definition():
    x, y = normal(9, torch.zeros(3), torch.eye(3).double(), 6), normal(11, torch.ones(3), torch.eye(3).double(), 7)

    def kernel(p, q):
        return (float(p @ q) / 3 + 1) ** 3

    def mean_within(points):
        return np.mean([kernel(p, q) for i, p in enumerate(points) for j, q in enumerate(points) if i != j])

    y = y[:9]
    expected = mean_within(x) + mean_within(y) - 2 * np.mean([kernel(p, q) for p in x for q in y])
    mean, deviation = kernel_distance(x, y, subsets=4)
    assert mean == pytest.approx(1000 * expected, rel=1e-9) and deviation < 1e-6


def test_kernel_distance_of_equal_distributions_is_about_nothing():
    x, y = (
        normal(3000, torch.zeros(8), torch.eye(8).double(), 8),
        normal(3000, torch.zeros(8), torch.eye(8).double(), 9),
    )
    mean, deviation = kernel_distance(x, y, subsets=20, subset_size=500)
    assert abs(mean) < 5 and 0 < deviation < 20
    assert kernel_distance(x, y + 1, subsets=20, subset_size=500)[0] > 500
    assert kernel_distance(x, y, subsets=5, subset_size=50) == kernel_distance(x, y, subsets=5, subset_size=50)


def test_precision_and_recall_of_sets_on_a_line():
    real = torch.arange(10.0)[:, None]  # radius of each ball with k = 1: 1
    fake = torch.tensor([[0.5], [3.2], [20.0], [20.1]])
    # Two fakes lie within a real's ball. Fakes' balls: 0.5 -> 2.7, 3.2 -> 2.7, 20.0 -> 0.1: they hold reals 0 to 5.
    assert precision_recall(real, fake, k=1) == (0.5, 0.6)
    assert precision_recall(real, real.clone()) == (1.0, 1.0)
    with pytest.raises(ValueError, match="there are 2 fake features; use at least 4"):
        precision_recall(real, fake[:2])


def test_path_length_of_a_linear_generator():
    """Images A w, distance |difference|^2: (|A (w2 - w1)|)^2 exactly, and extremes are left out."""
    matrix = torch.randn(12, 4, generator=torch.Generator().manual_seed(0), dtype=torch.float64)
    w = torch.randn(300, 2, 4, generator=torch.Generator().manual_seed(1), dtype=torch.float64)

    def length(pairs):
        return path_length(
            lambda ws: (ws @ matrix.T).view(-1, 3, 2, 2), pairs, lambda a, b: (a - b).square().sum(dim=(1, 2, 3))
        )

    values = ((w[:, 1] - w[:, 0]) @ matrix.T).square().sum(dim=1).sort().values
    assert length(w) == pytest.approx(float(values[2:-2].mean()), rel=1e-6)
    with pytest.raises(ValueError, match="expected pairs"):
        length(w[:, 0])


def test_figures_agree_with_torch_fidelity():
    """torch-fidelity 0.4.0 gives these values for these features (KID, not times 1000, over subsets of all 40)."""
    i, j = np.arange(1, 41)[:, None], np.arange(1, 9)[None]
    real, fake = torch.tensor(np.sin(i * i * j * 0.7)), torch.tensor(np.cos(i * j * j * 0.9) * 1.2 + 0.3)
    distance = frechet_distance(real, fake)
    assert distance == pytest.approx(1.104311085106179, rel=1e-9)
    assert kernel_distance(real, fake, subsets=2)[0] == pytest.approx(121.68961679807522, rel=1e-9)
    assert precision_recall(real, fake) == pytest.approx((0.7, 0.95))


@pytest.mark.parametrize("metric", [frechet_distance, kernel_distance, precision_recall])
def test_unusable_features(metric):
    features = torch.zeros(8, 2)
    with pytest.raises(ValueError, match=r"real features have shape \(3,\), expected"):
        metric(torch.zeros(3), features)
    with pytest.raises(ValueError, match="fake features are not finite"):
        metric(features, torch.full((8, 2), float("nan")))
    with pytest.raises(ValueError, match="there are 1 real features; use at least"):
        metric(features[:1], features)
