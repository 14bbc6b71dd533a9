from __future__ import annotations

import copy

import pytest
import torch
from tiny import tiny_model

from gansketching_core.latents.sampling import SampleConfig, render, render_drawings, sample_drawings, sample_z
from gansketching_core.latents.spaces import to_w
from gansketching_core.networks.line_extractor import LineExtractor
from gansketching_core.networks.stylegan2 import GanModel


def test_a_larger_count_only_appends(model):
    assert torch.equal(sample_z(model, 9, 7).data[:4], sample_z(model, 4, 7).data)
    assert not torch.equal(sample_z(model, 4, 8).data, sample_z(model, 4, 7).data)
    many = sample_z(model, 500, 2**64 - 1).data
    assert abs(many.mean()) < 0.05 and abs(many.std() - 1) < 0.05
    with pytest.raises(ValueError, match="count is 0"):
        sample_z(model, 0)


@pytest.mark.parametrize("noise", ["const", "random", "none"])
def test_the_batch_size_changes_nothing(model, z, noise):
    config = SampleConfig(truncation=0.7, truncation_cutoff=3, noise=noise)
    expected = render(model, z, config, seed=5, batch=1)
    torch.testing.assert_close(render(model, z, config, seed=5, batch=3), expected, rtol=1e-4, atol=1e-5)
    again = render(model, z[[3]], config, seed=5)
    assert torch.allclose(again, expected[[3]], atol=1e-4) == (noise != "random")
    with pytest.raises(ValueError, match="batch is 0"):
        render(model, z, batch=0)


def test_random_noise_depends_on_the_seed(model, z):
    config = SampleConfig(noise="random")
    assert not torch.allclose(render(model, z, config, seed=1), render(model, z, config, seed=2), atol=1e-3)


def test_render_reports_and_can_be_stopped(model, z):
    calls = []
    images = render(model, z, batch=2, on_batch=lambda done, total: calls.append((done, total)))
    assert calls == [(2, 5), (4, 5), (5, 5)] and not images.requires_grad

    def stop(done, total):
        raise KeyboardInterrupt

    with pytest.raises(KeyboardInterrupt):
        render(model, z, batch=2, on_batch=stop)


def test_latents_take_the_type_of_the_model(model, z):
    double = GanModel(copy.deepcopy(model.generator).double(), None, model.config, model.w_mean.double())
    assert render(double, z).dtype == torch.float64
    torch.testing.assert_close(render(double, z).float(), render(model, z), rtol=1e-3, atol=1e-4)


def test_drawings_are_those_of_the_images(model, z):
    lines, calls = LineExtractor(), []
    drawings = render_drawings(model, z, lines, batch=2, on_batch=lambda *done: calls.append(done))
    torch.testing.assert_close(drawings, lines(render(model, z)), rtol=1e-4, atol=1e-4)
    assert calls == [(2, 5), (4, 5), (5, 5)]
    torch.testing.assert_close(sample_drawings(model, lines, count=5, seed=3), drawings, rtol=1e-4, atol=1e-4)


def test_classes_of_class_conditional_models():
    model = tiny_model(class_count=3)
    latents = sample_z(model, 4, seed=1)
    assert latents.labels.tolist() == [0, 1, 2, 0]
    ones = sample_z(model, 4, seed=1, labels=1)
    images, of_ones = render(model, latents), render(model, ones)
    torch.testing.assert_close(images[1], of_ones[1], rtol=1e-4, atol=1e-5)
    assert not torch.allclose(images[0], of_ones[0], atol=1e-3)
    assert to_w(model, ones).labels is None
    with pytest.raises(ValueError, match="outside 0 to 2"):
        render(model, sample_z(model, 4, labels=3))


def test_labels_for_a_model_without_classes_are_refused(model):
    with pytest.raises(ValueError, match="has no classes"):
        sample_z(model, 2, labels=[0, 1])
