from __future__ import annotations

import math

import pytest
import torch

from gansketching_core.inversion.optimise import LatentOptimiser, OptimiserConfig, latent_std, noise_penalty
from gansketching_core.latents.sampling import sample_z
from gansketching_core.latents.spaces import to_space, to_w


def poll():
    pass


def test_the_learning_rate_rises_stays_and_falls(model):
    """StyleGAN2's schedule: linear over the first 5% of the steps, cosine over the last 25%."""
    optimiser = LatentOptimiser(model, sample_z(model, 1), OptimiserConfig(steps=40, learning_rate=0.2))
    rates = []
    while not optimiser.finished:
        optimiser.step(lambda images, rows: (images.mean(dim=(1, 2, 3)), torch.zeros(1)), poll)
        rates.append(optimiser.adam.param_groups[0]["lr"])
    assert rates[0] == pytest.approx(0.1) and rates[1:31] == pytest.approx([0.2] * 30)
    assert rates[31:] == pytest.approx([0.1 - 0.1 * math.cos(math.pi * k / 10) for k in range(9, 0, -1)])


@pytest.mark.parametrize("space", ["z", "w", "w+"])
def test_the_state_with_the_lowest_score_is_kept(model, space):
    start = to_space(model, sample_z(model, 3), space)
    optimiser = LatentOptimiser(model, start, OptimiserConfig(steps=3, batch=2))
    scores = torch.tensor([[2.0, 2.0, 2.0], [3.0, 1.0, 3.0], [0.5, 1.5, math.inf]])
    seen = []
    for step in range(3):

        def criterion(images, rows, step=step):
            seen.append(images.detach())
            return images.mean(dim=(1, 2, 3)), scores[step, rows]

        optimiser.step(criterion, poll)
    images = torch.cat(seen).unflatten(0, (3, 3))  # [step, latent, ...]
    assert optimiser.best_score.tolist() == [0.5, 1.0, 2.0]
    assert optimiser.best_images.equal(torch.stack([images[2, 0], images[1, 1], images[0, 2]]))
    assert optimiser.best.space == space and not optimiser.best.data.equal(start.data)


def test_the_standard_deviation_of_latents(model):
    w = to_w(model, sample_z(model, 4096, seed=5)).data
    expected = (w - w.mean(dim=0)).square().mean().sqrt()
    assert latent_std(model, "z") == 1
    assert latent_std(model, "w") == latent_std(model, "w+") == pytest.approx(float(expected), rel=0.05)


def test_noise_penalty_of_constant_maps():
    """Neighbours of a constant c correlate as c^2 along both axes; halving the size doubles c. 8 px is the smallest."""
    of_8_px = 2 * 3**4
    of_16_px = 2 * 3**4 + 2 * 6**4
    assert noise_penalty([torch.full((1, 1, 8, 8), 3.0)]).tolist() == [of_8_px]
    assert noise_penalty([torch.full((1, 1, 16, 16), 3.0)]).tolist() == [of_16_px]
    assert noise_penalty([torch.full((2, 1, s, s), 3.0) for s in (8, 16)]).tolist() == [of_8_px + of_16_px] * 2


def test_noise_penalty_tells_noise_from_pictures():
    white = torch.randn(2, 1, 32, 32, generator=torch.Generator().manual_seed(0))
    smooth = torch.nn.functional.avg_pool2d(white, 5, 1, 2)
    smooth /= smooth.std()
    white[1] = smooth[1]
    penalty = noise_penalty([white])
    assert penalty.shape == (2,) and penalty[1] > 20 * penalty[0]
