from __future__ import annotations

import copy
import math

import pytest
import torch
from tiny import same_weights, some_sketches, tiny_model

from gansketching_core.checkpoints.native import save_customised, save_model
from gansketching_core.latents.mean_shift import shift_towards
from gansketching_core.latents.model_mixing import compose_models, interpolate_models, render_between
from gansketching_core.latents.sampling import SampleConfig, render
from gansketching_core.latents.spaces import to_w
from gansketching_core.networks.stylegan2 import GanModel
from gansketching_core.training.finetune import SketchFinetuner


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
    mixed = interpolate_models(a, b, 0.25, "w")
    torch.testing.assert_close(to_w(mixed, z).data, 0.75 * to_w(a, z).data + 0.25 * to_w(b, z).data)
    with pytest.raises(ValueError, match="by the z latents"):
        render_between(a, b, to_w(a, z), [0.25])
    with pytest.raises(ValueError, match='mode "z" is unknown'):
        render_between(a, b, z, [0.5], mode="z")


def test_images_are_counted_over_all_alphas(model, z):
    calls = []
    render_between(model, customised(model, 1), z, [0, 1], batch=4, on_batch=lambda *done: calls.append(done))
    assert calls == [(4, 10), (5, 10), (9, 10), (10, 10)]


def test_models_of_different_bases_are_refused(model):
    for other in (tiny_model(1, z_dim=16, w_dim=12), tiny_model(1, z_dim=16, w_dim=12, class_count=2)):
        with pytest.raises(ValueError, match='"tiny 0" and "tiny 1" come from different base models'):
            interpolate_models(model, other, 0.5)


# ---------------------------------------------------------------------------------------------------------- several


def test_three_weights_and_what_remains_of_the_base(model, z):
    """Half of one, half of another, minus a third: the base's share is 1 - (0.5 + 0.5 - 1) = 1."""
    parts, weights = [customised(model, seed) for seed in (1, 2, 3)], [0.5, 0.5, -1]
    name = "mapping.layers.0.weight"
    base, *of_parts = [m.generator.state_dict()[name] for m in (model, *parts)]
    expected = base + 0.5 * (of_parts[0] - base) + 0.5 * (of_parts[1] - base) - (of_parts[2] - base)
    mixed = compose_models(model, parts, weights)
    torch.testing.assert_close(mixed.generator.state_dict()[name], expected)
    assert mixed.name == "1 tiny 0 + 0.5 custom 1 + 0.5 custom 2 - 1 custom 3"

    base, *of_parts = [to_w(m, z).data for m in (model, *parts)]
    expected = base + 0.5 * (of_parts[0] - base) + 0.5 * (of_parts[1] - base) - (of_parts[2] - base)
    mixed = compose_models(model, parts, weights, "w")
    torch.testing.assert_close(to_w(mixed, z).data, expected)
    torch.testing.assert_close(mixed.w_mean, mixed.generator.mean_w(), rtol=1e-3, atol=1e-4)
    assert same_weights(model, tiny_model(z_dim=16, w_dim=12))


@pytest.mark.parametrize("mode", ["weights", "w"])
def test_corners_are_the_models_bit_for_bit(model, z, mode):
    parts = [customised(model, seed) for seed in (1, 2, 3)]
    for corner, expected in zip(([0, 0, 0], [1, 0, 0], [0, 1, 0], [0, 0, 1]), (model, *parts)):
        mixed = compose_models(model, parts, corner, mode)
        assert same_weights(mixed, expected) and mixed.w_mean.equal(expected.w_mean)
        config = SampleConfig(truncation=0.7)
        assert render(mixed, z, config).equal(render(expected, z, config))
        assert mixed.discriminator is model.discriminator


def test_mixtures_in_w_can_be_mixed_in_w_again(model, z):
    a, b, c = (customised(model, seed) for seed in (1, 2, 3))
    mixed = compose_models(model, [compose_models(model, [a, b], [0.5, 0.5], "w"), c], [0.5, 0.25], "w")
    expected = 0.25 * sum(to_w(m, z).data for m in (model, a, b, c))
    torch.testing.assert_close(to_w(mixed, z).data, expected)


def test_mixtures_in_w_are_not_saved_or_trained(model, tmp_path):
    mixed = compose_models(model, [customised(model, 1)], [0.5], "w")
    sketches, lines = some_sketches(), lambda x: x.mean(dim=1, keepdim=True)
    for attempt in (
        lambda: save_model(mixed, tmp_path / "a.safetensors"),
        lambda: save_customised(mixed, tmp_path / "a.safetensors"),
        lambda: shift_towards(mixed, sketches, lines),
        lambda: SketchFinetuner(mixed, sketches, lines),
        lambda: interpolate_models(mixed, model, 0.5),
    ):
        with pytest.raises(ValueError, match=r'custom 1" is mixed in w.*mix it in "weights"'):
            attempt()


def test_impossible_weights_are_named(model):
    part = customised(model, 1)
    for weight in (math.nan, math.inf):
        with pytest.raises(ValueError, match=f'the weight of "custom 1" is {weight}'):
            compose_models(model, [part], [weight])
    with pytest.raises(ValueError, match="1 models and 2 weights"):
        compose_models(model, [part], [1, 2])
    with pytest.raises(ValueError, match="no finite numbers; use weights nearer to 0"):
        compose_models(model, [part], [1e30])
