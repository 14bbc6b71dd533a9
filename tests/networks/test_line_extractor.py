"""The line extractor: outlines of known shapes, an independent formula, gradients, and what is refused."""

from __future__ import annotations

import math

import pytest
import torch
from scipy import ndimage

from gansketching_core.networks.line_extractor import LineExtractor


@pytest.mark.parametrize("shape", [(1, 32, 32), (3, 64, 48), (2, 36, 100)])
def test_shapes_and_range(shape):
    batch, height, width = shape
    drawing = LineExtractor()(torch.rand(batch, 3, height, width) * 2 - 1)
    assert drawing.shape == (batch, 1, height, width)
    assert drawing.abs().max() <= 1


@pytest.mark.parametrize("shape", [(1, 3, 28, 28), (1, 3, 64, 66), (1, 1, 64, 64), (3, 64, 64)])
def test_unsuitable_photos_are_refused(shape):
    with pytest.raises(ValueError, match="photos"):
        LineExtractor()(torch.zeros(shape))


@pytest.mark.parametrize("options", [{"threshold": 0}, {"sharpness": -1}])
def test_unusable_options_are_refused(options):
    with pytest.raises(ValueError, match="must be positive"):
        LineExtractor(**options)


def test_agrees_with_gaussian_derivatives_of_scipy():
    photo = torch.rand(1, 3, 96, 128, dtype=torch.float64, generator=torch.Generator().manual_seed(0)) * 2 - 1
    sigma = math.sqrt(96 * 128) / 90
    options = {"mode": "nearest", "radius": math.ceil(3 * sigma)}
    energy = 0
    for channel in photo[0].numpy():
        for order in ((0, 1), (1, 0)):
            energy = energy + ndimage.gaussian_filter(channel, sigma, order=order, **options) ** 2
    surroundings = ndimage.gaussian_filter(energy, 2.5 * sigma, mode="nearest", radius=math.ceil(7.5 * sigma))
    strength = energy / ((0.6 / sigma) ** 2 / (2 * math.pi) + 0.7 * surroundings)
    expected = 1 - 2 * strength**2 / (1 + strength**2)
    drawing = LineExtractor()(photo)[0, 0].numpy()
    assert abs(drawing - expected).max() < 0.01


def test_a_step_as_high_as_the_threshold_is_half_black_if_alone():
    photo = torch.zeros(1, 3, 288, 288, dtype=torch.float64)
    photo[:, :1, :, 144:] = 0.6
    drawing = LineExtractor(sharpness=1e-9)(photo)
    assert drawing.min() == pytest.approx(0, abs=0.05)


def test_gradients_agree_with_finite_differences():
    torch.manual_seed(1)
    photo = (torch.rand(1, 3, 32, 32, dtype=torch.float64) * 2 - 1).requires_grad_()
    direction, weight = torch.randn_like(photo), torch.randn(1, 1, 32, 32, dtype=torch.float64)
    (gradient,) = torch.autograd.grad((LineExtractor()(photo) * weight).sum(), photo)
    with torch.no_grad():
        step = 1e-6
        up, down = ((LineExtractor()(photo + s * direction) * weight).sum() for s in (step, -step))
    torch.testing.assert_close((gradient * direction).sum(), (up - down) / (2 * step), rtol=1e-4, atol=1e-6)


def test_draws_a_thin_closed_outline_of_a_pale_disc():
    at = torch.arange(128) - 63.5
    distance = (at[:, None].square() + at[None].square()).sqrt()
    inside = (40 - distance).sigmoid()
    yellow = torch.tensor([0.95, 0.9, 0.2]).view(3, 1, 1)
    drawing = LineExtractor()((1 - inside * (1 - yellow))[None] * 2 - 1)[0, 0]
    outline = (distance - 40).abs() < 0.5
    assert drawing[outline].max() < 0
    assert drawing[(distance - 40).abs() > 5].min() > 0.99
    thickness = ((1 - drawing) / 2).sum() / (2 * torch.pi * 40)
    assert 1.5 < thickness < 5


def test_flat_photos_give_blank_drawings_with_finite_gradients():
    photo = torch.full((1, 3, 32, 32), 0.3, requires_grad=True)
    drawing = LineExtractor()(photo)
    drawing.sum().backward()
    assert drawing.min() > 0.999
    assert torch.isfinite(photo.grad).all()


def test_keeps_the_type():
    assert LineExtractor()(torch.zeros(1, 3, 32, 32, dtype=torch.float64)).dtype == torch.float64
