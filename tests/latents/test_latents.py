from __future__ import annotations

import copy
import math

import pytest
import torch
from safetensors.torch import save_file

from gansketching_core.latents.interpolation import lerp, slerp, style_mix, walk
from gansketching_core.latents.latent_files import load_latents, save_latents
from gansketching_core.latents.mean_shift import shift_towards
from gansketching_core.latents.model_mixing import interpolate_models, mix_w, render_between
from gansketching_core.latents.sampling import SampleConfig, render, sample_z
from gansketching_core.latents.spaces import Latents, join, split, to_w, to_w_plus, truncate
from gansketching_core.networks.stylegan2 import GanConfig, GanModel, Generator


def make_model(seed: int = 0, name: str = "fruit", **changes) -> GanModel:
    config = GanConfig(resolution=32, z_dim=16, w_dim=12, mapping_layers=2, channels=(8, 8, 8, 4), **changes)
    with torch.random.fork_rng():
        torch.manual_seed(seed)
        generator = Generator(config).eval().requires_grad_(False)
        for layer in generator.synthesis.layers:
            layer.noise_strength.fill_(0.1)
    return GanModel(generator, None, config, generator.mean_w(), name)


def customised(base: GanModel, seed: int) -> GanModel:
    generator = copy.deepcopy(base.generator)
    draw = torch.Generator().manual_seed(seed)
    for parameter in generator.mapping.parameters():
        parameter += parameter.abs().mean() * torch.randn(parameter.shape, generator=draw)
    return GanModel(generator, None, base.config, generator.mean_w(), f"custom {seed}")


@pytest.fixture(scope="module")
def model() -> GanModel:
    return make_model()


@pytest.fixture
def z(model) -> Latents:
    return sample_z(model, 5, seed=3)


# ---------------------------------------------------------------------------------------------------------- sampling


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


def test_random_noise_depends_on_the_seed(model, z):
    config = SampleConfig(noise="random")
    assert not torch.allclose(render(model, z, config, seed=1), render(model, z, config, seed=2), atol=1e-3)


def test_render_reports_and_can_be_stopped(model, z):
    calls = []
    render(model, z, batch=2, on_batch=lambda done, total: calls.append((done, total)))
    assert calls == [(2, 5), (4, 5), (5, 5)]

    def stop(done, total):
        raise KeyboardInterrupt

    with pytest.raises(KeyboardInterrupt):
        render(model, z, batch=2, on_batch=stop)


def test_latents_take_the_type_of_the_model(model, z):
    double = GanModel(copy.deepcopy(model.generator).double(), None, model.config, model.w_mean.double())
    assert render(double, z).dtype == torch.float64
    torch.testing.assert_close(render(double, z).float(), render(model, z), rtol=1e-3, atol=1e-4)


def test_class_conditional_models():
    model = make_model(class_count=3)
    latents = sample_z(model, 4, seed=1)
    assert latents.labels.tolist() == [0, 1, 2, 0]
    ones = sample_z(model, 4, seed=1, labels=1)
    images, of_ones = render(model, latents), render(model, ones)
    torch.testing.assert_close(images[1], of_ones[1], rtol=1e-4, atol=1e-5)
    assert not torch.allclose(images[0], of_ones[0], atol=1e-3)
    with pytest.raises(ValueError, match="turn them into w first"):
        lerp(latents[0], latents[1], 0.5)
    assert walk(ones, 7).labels.tolist() == [1] * 7
    assert to_w(model, ones).labels is None


def test_labels_for_a_model_without_classes_are_refused(model):
    with pytest.raises(ValueError, match="has no classes"):
        sample_z(model, 2, labels=[0, 1])


# ------------------------------------------------------------------------------------------------------------ spaces


def test_spaces_are_checked(model, z):
    with pytest.raises(ValueError, match='"x" is unknown'):
        Latents("x", torch.zeros(1, 4))
    with pytest.raises(ValueError, match=r"w\+ latents have shape"):
        Latents("w+", torch.zeros(1, 4))
    with pytest.raises(ValueError, match="do not fit the model"):
        to_w(model, Latents("w", torch.zeros(1, 13)))
    with pytest.raises(ValueError, match="can't be turned into w"):
        to_w(model, to_w_plus(model, z))
    assert torch.equal(to_w_plus(model, z).data[:, 4], model.generator.map(z.data))


def test_truncation(model, z):
    w = to_w(model, z).data
    assert truncate(model, z, 1.0).data.equal(w)
    assert truncate(model, z, 0.0).data.equal(model.w_mean.expand(5, -1))
    torch.testing.assert_close(truncate(model, z, 0.6).data, model.w_mean + 0.6 * (w - model.w_mean))
    cut = truncate(model, z, 0.6, cutoff=3)
    assert cut.space == "w+" and cut.data[:, 3:].equal(to_w_plus(model, z).data[:, 3:])
    torch.testing.assert_close(cut.data[:, 2], truncate(model, z, 0.6).data)
    with pytest.raises(ValueError, match="has 8 layers"):
        truncate(model, z, 0.6, cutoff=9)


# ------------------------------------------------------------------------------------------------------ combinations


def test_slerp_keeps_the_norm_and_goes_evenly():
    draw = torch.Generator().manual_seed(1)
    a, b = (torch.nn.functional.normalize(torch.randn(6, 16, generator=draw, dtype=torch.float64)) * 4 for _ in "ab")
    a, b = Latents("z", a), Latents("z", b)
    steps = [slerp(a, b, t).data for t in torch.linspace(0, 1, 6, dtype=torch.float64)]
    assert steps[0].equal(a.data) and steps[-1].equal(b.data)
    for step in steps:
        torch.testing.assert_close(step.norm(dim=1), torch.full((6,), 4.0, dtype=torch.float64))
    angles = torch.stack([torch.acos((x * y).sum(1) / 16) for x, y in zip(steps, steps[1:])])
    torch.testing.assert_close(angles, angles[:1].expand_as(angles), rtol=1e-6, atol=1e-6)


def test_slerp_special_cases():
    a = Latents("z", torch.tensor([[3.0, 0.0]]))
    assert slerp(a, a, 0.3).data.equal(a.data)
    assert slerp(a, Latents("z", torch.tensor([[0.0, 5.0]])), 0.5).data.norm() == pytest.approx(4)
    with pytest.raises(ValueError, match="opposites"):
        slerp(a, Latents("z", -a.data), 0.5)
    with pytest.raises(ValueError, match="norm 0"):
        slerp(a, Latents("z", 0 * a.data), 0.5)
    with pytest.raises(ValueError, match="use lerp"):
        slerp(Latents("w", a.data), Latents("w", a.data), 0.5)


def test_lerp_extrapolates():
    a, b = Latents("w", torch.tensor([[1.0, 2.0]])), Latents("w", torch.tensor([[3.0, 2.5]]))
    assert lerp(a, b, 2.0).data.tolist() == [[5.0, 3.0]]
    assert lerp(a, b, -1.0).data.tolist() == [[-1.0, 1.5]]
    with pytest.raises(ValueError, match="bring both to one space"):
        lerp(a, Latents("z", b.data), 0.5)


def test_walk_passes_through_its_keys(model, z):
    for keys in (z, to_w(model, z), to_w_plus(model, z)):
        assert walk(keys, 9).data[::2].equal(keys.data)
        looped = walk(keys, 10, loop=True)
        assert looped.data[::2].equal(keys.data)
        torch.testing.assert_close(looped.data[9:], walk(keys[[4, 0]], 3).data[1:2])
    torch.testing.assert_close(walk(z, 3, mode="lerp").data[1], z.data[2])
    assert len(walk(z, 1)) == 1
    with pytest.raises(ValueError, match="at least two"):
        walk(z[0], 5)


def test_style_mix_takes_a_layer_range(model, z):
    mixed = style_mix(model, z, z[2], 4, 6)
    ours, theirs = to_w_plus(model, z).data, to_w_plus(model, z[2]).data.expand(5, -1, -1)
    assert mixed.data[:, [0, 1, 2, 3, 7]].equal(ours[:, [0, 1, 2, 3, 7]])
    assert mixed.data[:, 4:7].equal(theirs[:, 4:7])
    with pytest.raises(ValueError, match='layers 4 to 8: the model "fruit" has layers 0 to 7'):
        style_mix(model, z, z[2], 4, 8)
    with pytest.raises(ValueError, match="2 styles given for 5"):
        style_mix(model, z, z[:2])


def test_join_and_split(model, z):
    assert join(split(z)).data.equal(z.data)
    assert len(z[-1]) == 1 and z[-1].data.equal(z.data[4:])
    with pytest.raises(ValueError, match="w, z"):
        join([z, to_w(model, z)])


# ------------------------------------------------------------------------------------------------------------- files


def test_latents_survive_saving(model, z, tmp_path):
    for latents in (z, to_w(model, z), to_w_plus(model, z), Latents("z", z.data, torch.arange(5))):
        save_latents(latents, tmp_path / "a.safetensors")
        loaded = load_latents(tmp_path / "a.safetensors")
        assert loaded.space == latents.space and loaded.data.equal(latents.data)
        assert (loaded.labels is None) == (latents.labels is None)


def test_broken_files_are_refused(tmp_path):
    path = tmp_path / "a.safetensors"
    path.write_bytes(b"\xff" * 100)
    with pytest.raises(ValueError, match="not a readable safetensors"):
        load_latents(path)
    for tensors, metadata, message in (
        ({"weight": torch.ones(2)}, {"space": "z"}, "holds no latents"),
        ({"latents": torch.ones(2, 3)}, None, "holds no latents"),
        ({"latents": torch.ones(2, 3)}, {"space": "y"}, '"y" is unknown'),
        ({"latents": torch.ones(2)}, {"space": "w"}, "damaged"),
        ({"latents": torch.full((2, 3), math.nan)}, {"space": "w"}, "not finite"),
        ({"latents": torch.ones(2, 3), "labels": torch.ones(3)}, {"space": "z"}, "3 labels"),
    ):
        save_file(tensors, path, metadata)
        with pytest.raises(ValueError, match=message):
            load_latents(path)


# ------------------------------------------------------------------------------------------------------------ models


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
    with pytest.raises(ValueError, match="from z latents"):
        mix_w(a, b, to_w(a, z), 0.25)


def test_frames_are_counted_over_all_alphas(model, z):
    calls = []
    render_between(model, customised(model, 1), z, [0, 1], batch=4, on_batch=lambda *done: calls.append(done))
    assert calls == [(4, 10), (5, 10), (9, 10), (10, 10)]


def test_models_of_different_bases_are_refused(model):
    for other in (make_model(1, "horse"), make_model(0, "horse", class_count=2)):
        with pytest.raises(ValueError, match='"fruit" and "horse" come from different base models'):
            interpolate_models(model, other, 0.5)


def darkness(photo: torch.Tensor) -> torch.Tensor:
    """A stand-in for a sketcher: ink where the photo is dark."""
    return photo.mean(dim=1, keepdim=True).mul(8).tanh()


def test_w_shift_moves_samples_towards_the_sketch(model):
    sketch = darkness(render(model, sample_z(model, 1, seed=99)))
    moved = shift_towards(model, sketch, darkness, pool=64, nearest=4, seed=1)
    z = sample_z(model, 32, seed=5)
    before, after = ((darkness(render(m, z)) - sketch).square().mean() for m in (model, moved))
    assert after < before
    assert model.generator.mapping.w_shift.abs().max() == 0
    torch.testing.assert_close(moved.w_mean - model.w_mean, moved.generator.mapping.w_shift, rtol=1e-4, atol=1e-6)
    still = shift_towards(model, sketch, darkness, pool=64, nearest=4, strength=0.0)
    assert render(still, z).equal(render(model, z))
    near = shift_towards(model, sketch, darkness, pool=64, nearest=4, seed=1, spread=0.25)
    apart, together = (to_w(m, z).data - m.w_mean for m in (moved, near))
    torch.testing.assert_close(together, 0.25 * apart, rtol=1e-4, atol=1e-6)
    torch.testing.assert_close(near.w_mean, moved.w_mean)
    with pytest.raises(ValueError, match="spread is 0"):
        shift_towards(model, sketch, darkness, pool=64, nearest=4, spread=0)
    with pytest.raises(ValueError, match="nearest is 65"):
        shift_towards(model, sketch, darkness, pool=64, nearest=65)


def test_each_sketch_counts_where_that_is_asked_for(model):
    """Two sketches; all samples are nearer to the first: only `per_sketch` looks for those nearest to the second."""
    z, lines = sample_z(model, 32, seed=1), torch.ones(2, 1, 32, 32)
    w = to_w(model, z).data
    distances = torch.stack([torch.arange(32.0), torch.arange(100.0, 68.0, -1)], dim=1)
    options = {"pool": 32, "nearest": 4, "seed": 1, "distance": lambda *_: distances}
    easiest = shift_towards(model, lines, darkness, **options)
    torch.testing.assert_close(easiest.w_mean, w[:4].mean(dim=0))
    both = shift_towards(model, lines, darkness, per_sketch=True, **options)
    torch.testing.assert_close(both.w_mean, w[[0, 1, 30, 31]].mean(dim=0))
    one = shift_towards(
        model, lines[:1], darkness, per_sketch=True, **options | {"distance": lambda *_: distances[:, :1]}
    )
    torch.testing.assert_close(one.w_mean, easiest.w_mean)
