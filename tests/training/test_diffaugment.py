"""DiffAugment: what a discriminator sees stays within the published ranges and remains differentiable."""

import pytest
import torch

from gansketching_core import random_streams
from gansketching_core.training.diffaugment import POLICIES, augment, color, cutout, parse_policy, translation, upscale


def rng(seed=0):
    return random_streams.stream(seed, "phase")


def test_translation_moves_whole_pixels_up_to_an_eighth():
    x = torch.zeros(64, 1, 32, 32)
    x[:, :, 16, 16] = 1
    shifted = translation(x, rng())
    spots = shifted.flatten(1).argmax(dim=1)
    down, right = spots // 32 - 16, spots % 32 - 16
    assert shifted.flatten(1).sum(dim=1).tolist() == [1.0] * 64
    assert down.abs().max() == 4 and right.abs().max() == 4  # 32 / 8, and both ends are reached
    assert len({(int(a), int(b)) for a, b in zip(down, right)}) > 20  # every sample has its own shift


def test_translation_lets_zeros_in():
    shifted = translation(torch.ones(64, 3, 32, 32), rng())
    assert set(shifted.unique().tolist()) == {0.0, 1.0}


def test_cutout_zeroes_at_most_a_quarter():
    cut = cutout(torch.ones(200, 1, 32, 32), rng())
    missing = (cut == 0).float().mean(dim=(1, 2, 3))
    assert missing.max() == 0.25  # half the size, squared
    assert missing.min() >= 0.25 / 4 * 0.9  # a corner of the hole is always inside


def test_color_ranges():
    grey = color(torch.zeros(500, 3, 4, 4), rng())
    assert grey.min() >= -0.5 and grey.max() <= 0.5 and grey.std() > 0.2
    x = torch.zeros(500, 3, 2, 2)
    x[:, 0, :, 0], x[:, 0, :, 1] = 1, -1  # contrast scales differences within a channel by 0.5..1.5, saturation by 0..2
    spread = color(x, rng())
    between = (spread[:, :, 0, 0] - spread[:, :, 0, 1]).mean(dim=1) / (x[:, :, 0, 0] - x[:, :, 0, 1]).mean(dim=1)
    assert between.min() >= 0.499 and between.max() <= 1.501


def test_upscale_enlarges_about_the_centre():
    x = torch.zeros(50, 1, 64, 64)
    x[:, :, 24:40, 24:40] = 1
    areas = upscale(x, rng()).sum(dim=(1, 2, 3)) / 256
    assert areas.min() >= 0.99 and areas.max() <= 1.25**2 * 1.01 and areas.max() > 1.3


@pytest.mark.parametrize("name", POLICIES)
def test_each_is_differentiable_and_repeats_with_its_seed(name):
    x = torch.randn(3, 3, 16, 16, requires_grad=True)
    first, again, other = augment(x, name, rng(1)), augment(x, name, rng(1)), augment(x, name, rng(2))
    assert torch.equal(first, again) and not torch.equal(first, other)
    (gradient,) = torch.autograd.grad(first.square().sum(), x)
    assert gradient.abs().sum() > 0


def test_policies_are_read_and_checked():
    assert parse_policy(" color, translation ,") == ["color", "translation"]
    assert parse_policy("") == []
    with pytest.raises(ValueError, match='"blur" is unknown; use any of color, translation'):
        parse_policy("color,blur")
