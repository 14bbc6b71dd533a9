"""Chamfer distances against the definition, and the differentiable one against the exact one."""

from __future__ import annotations

import math

import pytest
import torch
from tiny import some_sketches

from gansketching_core.sketches import distance
from gansketching_core.sketches.distance import ChamferToSketches, SketchDistance, chamfer


def brute_force(a: torch.Tensor, b: torch.Tensor) -> float:
    """Straight from the definition, pixel pair by pixel pair."""
    points = [(x < 0).nonzero().double() for x in (a, b)]
    if not len(points[0]) or not len(points[1]):
        return math.sqrt(2)
    pairs = torch.cdist(*points) / max(a.shape)
    return float((pairs.min(dim=1).values.mean() + pairs.min(dim=0).values.mean()) / 2)


def dots_and_blanks() -> tuple[torch.Tensor, torch.Tensor]:
    """Random drawings [20,1,24,16] and sketches [3,1,24,16], one of each blank."""
    rng = torch.Generator().manual_seed(0)
    drawings = torch.where(torch.rand(20, 1, 24, 16, generator=rng) < 0.03, -1.0, 1.0)
    sketches = torch.where(torch.rand(3, 1, 24, 16, generator=rng) < 0.06, -0.2, 0.3)
    drawings[2] = 1.0
    sketches[1] = 1.0
    return drawings, sketches


def test_chamfer_agrees_with_all_pairs_of_pixels():
    drawings, sketches = dots_and_blanks()
    expected = torch.tensor([[brute_force(a[0], b[0]) for b in sketches] for a in drawings])
    torch.testing.assert_close(chamfer(drawings, sketches), expected, rtol=1e-5, atol=1e-6)


def test_kept_sketches_give_the_same_distances_call_after_call():
    drawings, sketches = dots_and_blanks()
    distances = ChamferToSketches(sketches)
    for part in drawings.split(7):
        torch.testing.assert_close(distances(part), chamfer(part, sketches), rtol=0, atol=1e-6)


def test_distances_are_not_computed_in_half_precision():
    drawings, sketches = dots_and_blanks()
    with torch.autocast("cpu", torch.bfloat16):
        mixed = ChamferToSketches(sketches)(drawings)
    assert torch.equal(mixed, ChamferToSketches(sketches)(drawings))


@pytest.mark.parametrize("shape", [(64, 64), (24, 40), (40, 24)])
def test_distance_maps_of_gpus_equal_those_of_processors(shape):
    ink = torch.rand(5, *shape, generator=torch.Generator().manual_seed(1)) < 0.01
    ink[3] = False
    on_gpu, on_processor = distance._distance_map_torch(ink), distance._distance_map_scipy(ink)
    torch.testing.assert_close(on_gpu, on_processor, rtol=1e-6, atol=0)


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
    with pytest.raises(ValueError, match="drawings have shape"):
        ChamferToSketches(torch.ones(1, 1, 8, 8))(torch.ones(1, 8, 8))


def test_the_soft_distance_follows_the_chamfer_distance():
    drawings = torch.ones(8, 1, 32, 32)
    for k, drawing in enumerate(drawings):
        drawing[0, 4 + 3 * k, 4:28] = -1
    soft_distance = SketchDistance(drawings[3])
    soft = torch.stack([soft_distance.distance(drawing) for drawing in drawings])
    torch.testing.assert_close(soft, chamfer(drawings, drawings[3:4])[:, 0], rtol=0.1, atol=0.02)
    faint = torch.ones(1, 32, 32, requires_grad=True)
    (slope,) = torch.autograd.grad(SketchDistance(drawings[3]).distance(faint - 0.5), faint)
    assert slope[0, 13, 16] > 0 > slope[0, 28, 16]


def test_a_filled_sketch_takes_little_memory_and_is_measured_like_a_whole_one(monkeypatch):
    filled = torch.ones(1, 64, 64)
    filled[:, 2:62, 2:62] = -1
    bounded = SketchDistance(filled)
    monkeypatch.setattr(distance, "MAX_INK_POINTS", 64 * 64)
    whole = SketchDistance(filled)
    assert bounded.nbytes <= 34e6 < 1e8 < whole.nbytes
    for drawing in (filled, filled.roll(9, 1), some_sketches(1, 64)[0]):
        assert float(bounded.distance(drawing)) == pytest.approx(float(whole.distance(drawing)), rel=0.02)


def test_nbytes_grows_with_the_ink():
    thin, thick = some_sketches(1, 64)[0], -torch.ones(1, 64, 64)
    assert 0 < SketchDistance(thin).nbytes < SketchDistance(thick).nbytes
