from __future__ import annotations

import math

import pytest
import torch

from gansketching_core.metrics import chamfer, psnr


def brute_force(a: torch.Tensor, b: torch.Tensor) -> float:
    """Straight from the definition, pixel pair by pixel pair."""
    points = [(x < 0).nonzero().double() for x in (a, b)]
    if not len(points[0]) or not len(points[1]):
        return math.sqrt(2)
    pairs = torch.cdist(*points) / max(a.shape)
    return float((pairs.min(dim=1).values.mean() + pairs.min(dim=0).values.mean()) / 2)


def test_chamfer_agrees_with_all_pairs_of_pixels():
    draw = torch.Generator().manual_seed(0)
    drawings = torch.where(torch.rand(4, 1, 24, 16, generator=draw) < 0.03, -1.0, 1.0)
    sketches = torch.where(torch.rand(3, 1, 24, 16, generator=draw) < 0.06, -0.2, 0.3)
    drawings[2] = 1.0
    sketches[1] = 1.0
    expected = torch.tensor([[brute_force(a[0], b[0]) for b in sketches] for a in drawings])
    torch.testing.assert_close(chamfer(drawings, sketches), expected.float(), rtol=1e-5, atol=1e-6)


def test_chamfer_of_shifted_lines_is_their_distance():
    line = torch.ones(1, 1, 50, 50)
    line[..., 10, :] = -1
    assert chamfer(line, line).item() == 0
    assert chamfer(line, line.roll(5, 2)).item() == pytest.approx(0.1)


def test_chamfer_refuses_what_it_cannot_compare():
    with pytest.raises(ValueError, match="resize one"):
        chamfer(torch.ones(1, 1, 8, 8), torch.ones(1, 1, 9, 9))
    with pytest.raises(ValueError, match="sketches have shape"):
        chamfer(torch.ones(1, 1, 8, 8), torch.ones(1, 3, 8, 8))


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
