from __future__ import annotations

import pytest
import torch
from tiny import tiny_model

from gansketching_core.latents.mean_shift import shift_towards
from gansketching_core.latents.sampling import render, sample_z
from gansketching_core.latents.spaces import to_w

LABEL = 2


def darkness(photo: torch.Tensor) -> torch.Tensor:
    """In place of a sketcher: ink where the photo is dark."""
    return photo.mean(dim=1, keepdim=True).mul(8).tanh()


@pytest.fixture(scope="module")
def sketch(model) -> torch.Tensor:
    return darkness(render(model, sample_z(model, 1, seed=99)))


@pytest.fixture
def conditional():
    """A model of three classes whose w are far apart."""
    model = tiny_model(class_count=3, w_dim=12)
    model.generator.mapping.embed.weight.copy_(10 * torch.eye(12)[:, :3])
    model.w_mean = model.generator.mean_w()
    return model


def test_samples_come_nearer_to_the_sketch(model, sketch):
    shifted = shift_towards(model, sketch, darkness, pool=64, nearest=4, seed=1)
    z = sample_z(model, 32, seed=5)
    before, after = ((darkness(render(m, z)) - sketch).square().mean() for m in (model, shifted))
    assert after < before
    assert not model.generator.mapping.w_shift.any()
    torch.testing.assert_close(shifted.w_mean - model.w_mean, shifted.generator.mapping.w_shift, rtol=1e-4, atol=1e-6)


def test_strength_0_changes_nothing(model, sketch, z):
    unchanged = shift_towards(model, sketch, darkness, pool=64, nearest=4, strength=0.0)
    assert render(unchanged, z).equal(render(model, z))


def test_spread_scales_the_distances_from_the_mean(model, sketch, z):
    wide = shift_towards(model, sketch, darkness, pool=64, nearest=4, seed=1)
    narrow = shift_towards(model, sketch, darkness, pool=64, nearest=4, seed=1, spread=0.25)
    offsets, narrow_offsets = (to_w(m, z).data - m.w_mean for m in (wide, narrow))
    torch.testing.assert_close(narrow_offsets, 0.25 * offsets, rtol=1e-4, atol=1e-6)
    torch.testing.assert_close(narrow.w_mean, wide.w_mean)


def test_options_out_of_range_are_refused(model, sketch):
    with pytest.raises(ValueError, match="spread is 0"):
        shift_towards(model, sketch, darkness, pool=64, nearest=4, spread=0)
    with pytest.raises(ValueError, match="nearest is 65"):
        shift_towards(model, sketch, darkness, pool=64, nearest=65)


def test_per_sketch_averages_the_samples_nearest_to_each_sketch(model):
    """All samples are nearer to the first of two sketches: only `per_sketch` chooses those nearest to the second."""
    w, blank = to_w(model, sample_z(model, 32, seed=1)).data, torch.ones(2, 1, 32, 32)
    distances = torch.stack([torch.arange(32.0), torch.arange(100.0, 68.0, -1)], dim=1)
    options = {"pool": 32, "nearest": 4, "seed": 1}
    nearest = shift_towards(model, blank, darkness, distance=lambda *_: distances, **options)
    torch.testing.assert_close(nearest.w_mean, w[:4].mean(dim=0))
    both = shift_towards(model, blank, darkness, distance=lambda *_: distances, per_sketch=True, **options)
    torch.testing.assert_close(both.w_mean, w[[0, 1, 30, 31]].mean(dim=0))
    one = shift_towards(model, blank[:1], darkness, distance=lambda *_: distances[:, :1], per_sketch=True, **options)
    torch.testing.assert_close(one.w_mean, nearest.w_mean)


@pytest.mark.parametrize("spread", [1.0, 0.5])
def test_the_samples_of_a_class_stay_about_the_mean_of_that_class(conditional, spread):
    """The average of all samples of a class is no shift, however far the class is from the mean of all classes."""
    w = to_w(conditional, sample_z(conditional, 4096, seed=1, labels=LABEL)).data
    assert (w.mean(dim=0) - conditional.w_mean).norm() > 1.5 * w.std(dim=0).norm()
    shifted = shift_towards(
        conditional, torch.ones(1, 1, 32, 32), darkness, pool=512, nearest=512, strength=1.5, spread=spread, label=LABEL
    )
    after = to_w(shifted, sample_z(conditional, 4096, seed=1, labels=LABEL)).data
    error = after - (w.mean(dim=0) + spread * (w - w.mean(dim=0)))
    assert error.norm(dim=1).max() < 0.2 * w.std(dim=0).norm()
    torch.testing.assert_close(shifted.w_mean, shifted.generator.mean_w(), rtol=1e-3, atol=1e-3)


def test_the_shift_of_a_class_leads_to_its_nearest_samples(conditional):
    w = to_w(conditional, sample_z(conditional, 64, seed=1, labels=LABEL)).data
    distances = torch.arange(64.0)[:, None]
    shifted = shift_towards(
        conditional,
        torch.ones(1, 1, 32, 32),
        darkness,
        pool=64,
        nearest=4,
        seed=1,
        label=LABEL,
        distance=lambda *_: distances,
    )
    after = to_w(shifted, sample_z(conditional, 4096, seed=7, labels=LABEL)).data
    assert (after.mean(dim=0) - w[:4].mean(dim=0)).norm() < 0.1 * w.std(dim=0).norm()
