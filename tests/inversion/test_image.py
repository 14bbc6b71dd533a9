from __future__ import annotations

import sys

import pytest
import torch

from gansketching_core.inversion.image import ProjectConfig, Projector
from gansketching_core.inversion.optimise import noise_penalty
from gansketching_core.latents.sampling import render, sample_z
from gansketching_core.latents.spaces import to_w
from gansketching_core.networks.stylegan2 import GanModel


@pytest.fixture(scope="module")
def targets(model):
    return render(model, sample_z(model, 2, seed=77)).clamp(-1, 1)


def quick(**changes) -> ProjectConfig:
    return ProjectConfig(**{"steps": 40, "starts": 2, "pool": 32, **changes})


@pytest.mark.parametrize("space", ["z", "w", "w+"])
def test_own_samples_are_recovered(model, targets, run, space):
    result, reports = run(Projector(model, targets, quick(space=space, steps=60)))
    assert result.latents.space == space and len(result.latents) == 2
    assert result.psnr.min() > 28
    first, last = reports[0], reports[-1]
    assert len(reports) == 60 and last["psnr"] == pytest.approx(float(result.psnr.median()))
    assert last["psnr"] > first["psnr"] + 5 and last["loss"] < first["loss"] / 3
    torch.testing.assert_close(render(model, result.latents), result.images, rtol=1e-3, atol=1e-4)
    if space == "z":
        torch.testing.assert_close(result.latents.data.norm(dim=1), torch.full((2,), 8**0.5))


def test_the_w_of_a_sample_is_recovered(model, run):
    w = to_w(model, sample_z(model, 2, seed=77))
    config = quick(space="w", steps=100, latent_noise=0, perceptual_weight=0)
    result, _ = run(Projector(model, render(model, w).clamp(-1, 1), config))
    w_std = (to_w(model, sample_z(model, 500)).data - model.w_mean).square().mean().sqrt()
    assert (result.latents.data - w.data).square().mean().sqrt() < 0.1 * w_std


def test_the_same_seed_gives_the_same_result(model, targets, run):
    a, b = (run(Projector(model, targets, quick(steps=5)))[0] for _ in "ab")
    assert a.latents.data.equal(b.latents.data)
    other, _ = run(Projector(model, targets, quick(steps=5, seed=1)))
    assert not other.latents.data.equal(a.latents.data)


def test_the_batch_changes_nothing(model, targets, run):
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
    assert float(projector.result().loss.median()) == before["loss"] and projector.steps_done == 3


def test_only_masked_pixels_count(model, targets, run):
    mask = torch.zeros(1, 1, 32, 32)
    mask[..., :16] = 1
    spoilt = targets.clone()
    spoilt[..., 16:] = 1.0
    whole, _ = run(Projector(model, spoilt, quick(space="w+")))
    masked, _ = run(Projector(model, spoilt, quick(space="w+"), mask=mask))
    error = [(projection.images - targets)[..., :16].square().mean() for projection in (whole, masked)]
    assert error[1] < error[0] / 2
    assert masked.psnr.min() > 25
    with pytest.raises(ValueError, match="mask is empty"):
        Projector(model, targets, quick(), mask=0 * mask)
    with pytest.raises(ValueError, match="mask has shape"):
        Projector(model, targets, quick(), mask=mask[0])


def test_fitted_noise_stays_noise(model, targets, run):
    config = quick(space="w+", noise="fitted", steps=25, starts=1, noise_weight=10.0)
    fitted, _ = run(Projector(model, targets, config))
    maps = [layer.shape for layer in fitted.noise]
    assert maps == [(2, 1, layer.size, layer.size) for layer in model.generator.synthesis.layers]
    images = model.generator.synthesize(fitted.latents.data, noise=fitted.noise)
    torch.testing.assert_close(images, fitted.images, rtol=1e-3, atol=1e-4)
    free, _ = run(Projector(model, targets, config.model_copy(update={"noise_weight": 0.0})))
    assert noise_penalty(fitted.noise).mean() < noise_penalty(free.noise).mean()


def test_the_class_is_that_of_the_best_samples(make_model, run):
    model = make_model(class_count=3)
    of_pool = sample_z(model, 32)[[5, 7]]  # of classes 2 and 1
    images = render(model, of_pool).clamp(-1, 1)
    result, _ = run(Projector(model, images, quick(steps=3)))
    assert result.latents.labels.tolist() == of_pool.labels.tolist() == [2, 1]
    of_class_1, _ = run(Projector(model, images, quick(steps=3), label=1))
    assert of_class_1.latents.labels.tolist() == [1, 1]
    torch.testing.assert_close(render(model, of_class_1.latents), of_class_1.images, rtol=1e-3, atol=1e-4)


def test_a_model_without_discriminator_will_do(model, targets, run):
    bare = GanModel(model.generator, None, model.config, model.w_mean)
    result, _ = run(Projector(bare, targets, quick(space="w")))
    assert result.psnr.min() > 25


def test_the_model_is_left_alone(model, targets, run):
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
def test_cma(model, targets, run, space):
    config = quick(space=space, generations=3, generation_steps=2, steps=20, starts=2)
    result, reports = run(Projector(model, targets, config))
    assert len(reports) == 26 and result.psnr.min() > 22
    assert all(b["loss"] <= a["loss"] for a, b in zip(reports, reports[1:]))
    again, _ = run(Projector(model, targets, config))
    assert again.latents.data.equal(result.latents.data)
