from __future__ import annotations

import copy

import pytest
import torch
from tiny import tiny_model

from gansketching_core.latents.model_mixing import interpolate_models, mix_w, render_between
from gansketching_core.latents.sampling import SampleConfig, render
from gansketching_core.latents.spaces import to_w
from gansketching_core.networks.stylegan2 import GanModel


def customised(base: GanModel, seed: int) -> GanModel:
    generator = copy.deepcopy(base.generator)
    rng = torch.Generator().manual_seed(seed)
    for parameter in generator.mapping.parameters():
        parameter += parameter.abs().mean() * torch.randn(parameter.shape, generator=rng)
    return GanModel(generator, None, base.config, generator.mean_w(), f"custom {seed}")


@pytest.mark.parametrize("mode", ["weights", "w"])
@pytest.mark.parametrize("psi", [1.0, 0.5])
def test_end_points_are_the_two_models(model, z, mode, psi):
    a, b, config = customised(model, 1), customised(model, 2), SampleConfig(truncation=psi)
    images = render_between(a, b, z, [0, 0.5, 1], config, mode=mode)
    assert images[:5].equal(render(a, z, config)) and images[10:].equal(render(b, z, config))
    middle = images[5:10]
    assert min((middle - images[:5]).abs().mean(), (middle - images[10:]).abs().mean()) > 0.01


def test_models_extrapolate_and_chain(model):
    a, b = customised(model, 1), customised(model, 2)
    weights = [m.generator.mapping.layers[0].weight for m in (a, b)]
    beyond = interpolate_models(a, b, 1.5)
    torch.testing.assert_close(beyond.generator.mapping.layers[0].weight, 1.5 * weights[1] - 0.5 * weights[0])
    torch.testing.assert_close(beyond.w_mean, beyond.generator.mean_w(), rtol=1e-3, atol=1e-4)
    third = interpolate_models(interpolate_models(a, b, 0.5), model, 1 / 3)
    mean = (weights[0] + weights[1] + model.generator.mapping.layers[0].weight) / 3
    torch.testing.assert_close(third.generator.mapping.layers[0].weight, mean)
    assert a.generator.mapping.layers[0].weight.equal(customised(model, 1).generator.mapping.layers[0].weight)


def test_w_mode_mixes_w(model, z):
    a, b = customised(model, 1), customised(model, 2)
    expected = 0.75 * to_w(a, z).data + 0.25 * to_w(b, z).data
    torch.testing.assert_close(mix_w(a, b, z, 0.25).data, expected)
    with pytest.raises(ValueError, match="by the z latents"):
        mix_w(a, b, to_w(a, z), 0.25)
    with pytest.raises(ValueError, match='mode "z" is unknown'):
        render_between(a, b, z, 0.5, mode="z")


def test_images_are_counted_over_all_alphas(model, z):
    calls = []
    render_between(model, customised(model, 1), z, [0, 1], batch=4, on_batch=lambda *done: calls.append(done))
    assert calls == [(4, 10), (5, 10), (9, 10), (10, 10)]


def test_models_of_different_bases_are_refused(model):
    for other in (tiny_model(1, z_dim=16, w_dim=12), tiny_model(1, z_dim=16, w_dim=12, class_count=2)):
        with pytest.raises(ValueError, match='"tiny 0" and "tiny 1" come from different base models'):
            interpolate_models(model, other, 0.5)
