from __future__ import annotations

import sys

import pytest
import torch

from gansketching_core.inversion.image import ProjectConfig, Projector
from gansketching_core.inversion.optimise import noise_penalty
from gansketching_core.inversion.sketch import SketchSearch, SketchSearchConfig
from gansketching_core.latents.sampling import render, sample_z
from gansketching_core.latents.spaces import to_w
from gansketching_core.networks.stylegan2 import Discriminator, GanConfig, GanModel, Generator
from gansketching_core.sketches.distance import chamfer


def make_model(**changes) -> GanModel:
    config = GanConfig(resolution=32, z_dim=8, w_dim=8, mapping_layers=2, channels=(8, 8, 8, 4), **changes)
    with torch.random.fork_rng():
        torch.manual_seed(0)
        generator = Generator(config).eval().requires_grad_(False)
        discriminator = Discriminator(config).eval().requires_grad_(False)
    for layer in generator.synthesis.layers:
        layer.noise_strength.fill_(0.05)
    for layer in generator.synthesis.to_rgb:
        layer.weight *= 0.1
    return GanModel(generator, discriminator, config, generator.mean_w(), "fruit")


@pytest.fixture(scope="module")
def model() -> GanModel:
    return make_model()


@pytest.fixture(scope="module")
def targets(model):
    return render(model, sample_z(model, 2, seed=77)).clamp(-1, 1)


def quick(**changes) -> ProjectConfig:
    return ProjectConfig(**{"steps": 40, "starts": 2, "pool": 32, **changes})


def run(search):
    reports = []
    while not search.finished:
        reports.append(search.step())
    return search.result(), reports


# ----------------------------------------------------------------------------------------------------------- images


@pytest.mark.parametrize("space", ["z", "w", "w+"])
def test_own_samples_are_recovered(model, targets, space):
    found, reports = run(Projector(model, targets, quick(space=space, steps=60)))
    assert found.latents.space == space and len(found.latents) == 2
    assert found.psnr.min() > 28
    assert reports[-1].psnr == pytest.approx(float(found.psnr.median()))
    assert reports[-1].psnr > reports[0].psnr + 5 and reports[-1].loss < reports[0].loss / 3
    assert (reports[-1].step, reports[-1].total) == (60, 60)
    torch.testing.assert_close(render(model, found.latents), found.images, rtol=1e-3, atol=1e-4)
    if space == "z":
        torch.testing.assert_close(found.latents.data.norm(dim=1), torch.full((2,), 8**0.5))


def test_the_w_of_a_sample_is_found(model):
    w = to_w(model, sample_z(model, 2, seed=77))
    config = quick(space="w", steps=100, latent_noise=0, perceptual_weight=0)
    found, _ = run(Projector(model, render(model, w).clamp(-1, 1), config))
    spread = (to_w(model, sample_z(model, 500)).data - model.w_mean).square().mean().sqrt()
    assert (found.latents.data - w.data).square().mean().sqrt() < 0.1 * spread


def test_the_same_seed_gives_the_same_result(model, targets):
    a, b = (run(Projector(model, targets, quick(steps=5)))[0] for _ in "ab")
    assert a.latents.data.equal(b.latents.data)
    other, _ = run(Projector(model, targets, quick(steps=5, seed=1)))
    assert not other.latents.data.equal(a.latents.data)


def test_the_batch_changes_nothing(model, targets):
    a, b = (run(Projector(model, targets, quick(steps=5, batch=batch)))[0] for batch in (1, 16))
    torch.testing.assert_close(a.latents.data, b.latents.data, rtol=1e-2, atol=1e-2)


def test_an_interrupted_projection_keeps_the_best(model, targets):
    projector = Projector(model, targets, quick(batch=1))
    with pytest.raises(ValueError, match="take a step first"):
        projector.result()
    for _ in range(3):
        before = projector.step()
    calls = []

    def stop():
        calls.append(1)
        if len(calls) == 3:
            raise KeyboardInterrupt

    projector.poll = stop
    with pytest.raises(KeyboardInterrupt):
        projector.step()
    assert float(projector.result().loss.median()) == before.loss and projector.steps_done == 3


def test_only_masked_pixels_count(model, targets):
    mask = torch.zeros(1, 1, 32, 32)
    mask[..., :16] = 1
    spoilt = targets.clone()
    spoilt[..., 16:] = 1.0
    whole, _ = run(Projector(model, spoilt, quick(space="w+")))
    masked, _ = run(Projector(model, spoilt, quick(space="w+"), mask=mask))
    error = [(found.images - targets)[..., :16].square().mean() for found in (whole, masked)]
    assert error[1] < error[0] / 2
    assert masked.psnr.min() > 25
    with pytest.raises(ValueError, match="mask is empty"):
        Projector(model, targets, quick(), mask=0 * mask)
    with pytest.raises(ValueError, match="mask has shape"):
        Projector(model, targets, quick(), mask=mask[0])


def test_fitted_noise_stays_noise(model, targets):
    config = quick(space="w+", noise="fitted", steps=25, starts=1, noise_weight=10.0)
    fitted, _ = run(Projector(model, targets, config))
    maps = [layer.shape for layer in fitted.noise]
    assert maps == [(2, 1, layer.size, layer.size) for layer in model.generator.synthesis.layers]
    images = model.generator.synthesize(fitted.latents.data, noise=fitted.noise)
    torch.testing.assert_close(images, fitted.images, rtol=1e-3, atol=1e-4)
    free, _ = run(Projector(model, targets, config.model_copy(update={"noise_weight": 0.0})))
    assert noise_penalty(fitted.noise).mean() < noise_penalty(free.noise).mean()


def test_noise_penalty_tells_noise_from_pictures():
    white = torch.randn(2, 1, 32, 32, generator=torch.Generator().manual_seed(0))
    smooth = torch.nn.functional.avg_pool2d(white, 5, 1, 2)
    smooth /= smooth.std()
    white[1] = smooth[1]
    penalty = noise_penalty([white])
    assert penalty.shape == (2,) and penalty[1] > 20 * penalty[0]


def test_the_class_is_found_by_the_pool():
    model = make_model(class_count=3)
    latents = sample_z(model, 2, seed=77, labels=[2, 1])
    images = render(model, latents).clamp(-1, 1)
    found, _ = run(Projector(model, images, quick(steps=3)))
    assert found.latents.labels.shape == (2,)
    forced, _ = run(Projector(model, images, quick(steps=3), label=1))
    assert forced.latents.labels.tolist() == [1, 1]
    torch.testing.assert_close(render(model, forced.latents), forced.images, rtol=1e-3, atol=1e-4)


def test_a_model_without_discriminator_will_do(model, targets):
    bare = GanModel(model.generator, None, model.config, model.w_mean)
    found, _ = run(Projector(bare, targets, quick(space="w")))
    assert found.psnr.min() > 25


def test_the_model_is_left_alone(model, targets):
    before = {name: tensor.clone() for name, tensor in model.generator.state_dict().items()}
    with torch.no_grad():
        run(Projector(model, targets, quick(steps=2)))
    assert all(tensor.equal(before[name]) for name, tensor in model.generator.state_dict().items())
    assert all(parameter.grad is None for parameter in model.generator.parameters())


def test_what_does_not_fit_is_refused(model, targets):
    with pytest.raises(ValueError, match="resize the images first"):
        Projector(model, torch.zeros(1, 3, 64, 64))
    with pytest.raises(ValueError, match="8 starts can't be chosen from a pool of 4"):
        Projector(model, targets, quick(starts=8, pool=4))
    projector = Projector(model, targets, quick(steps=1))
    projector.step()
    with pytest.raises(ValueError, match="all 1 steps are done"):
        projector.step()


@pytest.mark.parametrize(("package", "option"), [("lpips", {"lpips_weight": 1.0}), ("cma", {"generations": 1})])
def test_missing_extras_are_named(model, targets, monkeypatch, package, option):
    monkeypatch.setitem(sys.modules, package, None)
    with pytest.raises(ValueError, match=f"pip install {package}"):
        Projector(model, targets, quick(**option))


@pytest.mark.parametrize("space", ["z", "w+"])
def test_cma(model, targets, space):
    config = quick(space=space, generations=3, generation_steps=2, steps=20, starts=2)
    found, reports = run(Projector(model, targets, config))
    assert len(reports) == 26 and found.psnr.min() > 22
    assert all(b.loss <= a.loss for a, b in zip(reports, reports[1:]))
    again, _ = run(Projector(model, targets, config))
    assert again.latents.data.equal(found.latents.data)


# --------------------------------------------------------------------------------------------------------- sketches


def draw(photo: torch.Tensor) -> torch.Tensor:
    """A stand-in for a sketcher: the contour line at the mean brightness."""
    grey = photo.mean(dim=1, keepdim=True)
    level, spread = grey.mean(dim=(2, 3), keepdim=True), grey.std(dim=(2, 3), keepdim=True)
    return 1 - 2 * torch.exp(-((grey - level) / (0.2 * spread)).square())


@pytest.mark.parametrize("count", [1, 2])
def test_latents_are_found_for_sketches(model, count):
    sketches = draw(render(model, sample_z(model, count, seed=99)))
    config = SketchSearchConfig(pool=48, count=4, steps=0)
    pool, _ = run(SketchSearch(model, sketches, draw, config))
    found, reports = run(SketchSearch(model, sketches, draw, config.model_copy(update={"steps": 15})))
    assert found.distance.equal(found.distance.sort().values) and len(reports) == 16
    assert found.distance.mean() < pool.distance.mean()
    near = chamfer(draw(render(model, found.latents).clamp(-1, 1)), sketches).min(dim=1).values
    torch.testing.assert_close(near, found.distance, rtol=0.05, atol=1e-3)
    random = chamfer(draw(render(model, sample_z(model, 32, seed=5))), sketches).min(dim=1).values
    assert pool.distance.max() < random.median()
    assert torch.cdist(found.latents.data, found.latents.data).add(torch.eye(4) * 9).min() > 0.1


def test_a_sketch_search_can_be_stopped(model):
    search = SketchSearch(model, draw(render(model, sample_z(model, 1))), draw, SketchSearchConfig(pool=16, count=2))
    with pytest.raises(ValueError, match="take a step first"):
        search.result()
    search.step()

    def stop():
        raise KeyboardInterrupt

    search.poll = stop
    with pytest.raises(KeyboardInterrupt):
        search.step()
    assert len(search.result().latents) == 2


def test_unusable_sketches_are_refused(model):
    with pytest.raises(ValueError, match="sketch 1 is blank"):
        SketchSearch(model, torch.stack([-torch.ones(1, 32, 32), torch.ones(1, 32, 32)]), draw)
    with pytest.raises(ValueError, match="sketches have shape"):
        SketchSearch(model, torch.ones(1, 3, 32, 32), draw)
    with pytest.raises(ValueError, match="enlarge the pool"):
        SketchSearch(model, -torch.ones(1, 1, 32, 32), draw, SketchSearchConfig(pool=4, count=8))
