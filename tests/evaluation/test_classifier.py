from __future__ import annotations

import pytest
import torch

from gansketching_core.evaluation.classifier import fit_classifier


def clusters(count: int, seed: int):
    """Three Gaussian clusters of unit width, 8 apart, in 5 dimensions."""
    generator = torch.Generator().manual_seed(seed)
    labels = [name for name in ("apple", "kiwi", "plum") for _ in range(count)]
    centres = 8 * torch.eye(3, 5).repeat_interleave(count, dim=0)
    return centres + torch.randn(3 * count, 5, generator=generator), labels


def test_separate_classes_are_told_apart_and_counted():
    classifier = fit_classifier(*clusters(40, 0))
    features, labels = clusters(100, 1)
    assert classifier.accuracy(features, labels) > 0.99
    assert classifier.counts(features[:100]) == {"apple": 100, "kiwi": 0, "plum": 0}


def test_two_gaussians_are_cut_halfway():
    """Equal spherical Gaussians: the best boundary is the plane halfway between their means."""
    torch.manual_seed(0)
    x = torch.cat([torch.randn(4000, 1) - 1, torch.randn(4000, 1) + 3])
    classifier = fit_classifier(x, ["low"] * 4000 + ["high"] * 4000, decay=1e-6)
    assert classifier.predict(torch.tensor([[0.85], [1.15]])) == ["low", "high"]


def test_bad_input():
    with pytest.raises(ValueError, match="3 features and 2 labels"):
        fit_classifier(torch.zeros(3, 2), ["a", "b"])
    with pytest.raises(ValueError, match="name 1 class"):
        fit_classifier(torch.zeros(2, 2), ["a", "a"])
