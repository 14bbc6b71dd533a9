from __future__ import annotations

from dataclasses import replace

import pytest
import torch
from tiny import tiny_model

from gansketching_core.inversion.bridging import BridgeConfig, BridgeFitter
from gansketching_core.latents.bridge import cross
from gansketching_core.latents.latent_files import load_bridge
from gansketching_core.latents.sampling import render, sample_z
from gansketching_core.latents.spaces import to_w

QUICK = {"pairs": "projected", "samples": 40, "held_out": 8, "steps": 2, "pool": 8}


def fitted(source, target, keep=None, **options):
    search = BridgeFitter(source, target, BridgeConfig(**{**QUICK, **options}), keep=keep)
    steps = 0
    while not search.finished:
        search.step()
        steps += 1
    return search.result(), steps


def shifted():
    """A model of the same base whose w are larger by 1: the bridge is w -> w + 1."""
    model = tiny_model()
    model.generator.mapping.w_shift += 1
    return replace(model, name="shifted", w_mean=model.w_mean + 1)


def test_models_of_one_base_are_bridged_by_their_z():
    source, target = tiny_model(), shifted()
    (bridge, report), _ = fitted(source, target, pairs="same z", samples=200)
    z = sample_z(source, 4, seed=77)
    crossed = cross(bridge, source, target, to_w(source, z))
    torch.testing.assert_close(crossed.data, to_w(target, z).data, rtol=1e-2, atol=1e-2)
    torch.testing.assert_close(render(target, crossed), render(target, z), rtol=0.05, atol=0.05)
    assert report.psnr > 35 > report.psnr_of_average and report.psnr_of_projections is None
    with pytest.raises(ValueError, match="different base models"):
        BridgeFitter(source, tiny_model(1), BridgeConfig(pairs="same z"))


def test_images_are_projected_into_another_model_of_another_size():
    source, target = tiny_model(0), tiny_model(1, resolution=64, channels=(8, 8, 8, 4, 4), w_dim=6)
    (bridge, report), steps = fitted(source, target)
    assert steps == 2 * 2  # chunks of 32 for 48 samples, two steps each
    assert bridge.matrix.shape == (8, 6) and report.samples == 40 and report.held_out == 8
    assert "40 samples" in str(report) and "Projected one by one" in str(report)
    assert report.seconds_of_projections is not None and report.seconds < report.seconds_of_projections
    assert report.features is not None and report.features_of_projections is not None


def test_a_stopped_fit_goes_on_and_more_samples_go_on_too(tmp_path):
    models, keep = (tiny_model(0), tiny_model(1)), tmp_path / "bridge.safetensors"
    search = BridgeFitter(*models, BridgeConfig(**QUICK), keep=keep)
    with pytest.raises(ValueError, match="only 0 samples to learn from"):
        search.result()
    for _ in range(3):
        search.step()  # one chunk and a half
    (bridge, _), steps = fitted(*models, keep=keep)
    assert steps == 2
    assert bridge.matrix.equal(fitted(*models)[0][0].matrix), "as if it had not been stopped"
    assert fitted(*models, keep=keep)[1] == 0
    assert fitted(*models, keep=keep, samples=80)[1] == 2
    assert fitted(*models, keep=keep, samples=80, seed=5)[1] == 6, "other samples are projected anew"
    assert load_bridge(keep).report["samples"] == "80"


def test_a_bridge_is_trained_on_images():
    """No latents are projected but those it is compared with. Images are nearer than the average one; a model of
    another size and of longer w is reached too."""
    source, target = tiny_model(0), tiny_model(1, resolution=64, channels=(8, 8, 8, 4, 4), w_dim=6)
    options = {"pairs": "none", "samples": 16 * 30}
    (bridge, report), steps = fitted(source, target, **options)
    assert steps == 30 + 2 and report.samples == 480 and report.mlp
    assert report.psnr > report.psnr_of_average + 0.5
    assert report.psnr_of_projections is not None and report.seconds_of_projections is not None
    assert report.seconds < report.seconds_of_projections
    z = sample_z(source, 4, seed=77)
    assert cross(bridge, source, target, z).data.shape == (4, 6)
    assert not fitted(source, target, fit="ridge", **options)[0][1].mlp
    with pytest.raises(ValueError, match="the bridge leads from"):
        cross(bridge, tiny_model(2), target, z)


def test_realism_keeps_w_where_the_target_is_at_home():
    source, target = tiny_model(0), tiny_model(1)
    z, distances = sample_z(source, 32, seed=77), []
    for realism in (0.0, 1.0):
        bridge = fitted(source, target, pairs="none", samples=16 * 30, realism=realism)[0][0]
        distances.append(float((cross(bridge, source, target, z).data - target.w_mean).square().mean()))
    assert distances[1] < 0.5 * distances[0]


def test_a_stopped_training_goes_on_with_the_same_bits(tmp_path, monkeypatch):
    monkeypatch.setattr("gansketching_core.inversion.bridging.SAVE_EVERY", 2)
    models, options = (tiny_model(0), tiny_model(1)), {**QUICK, "pairs": "none", "samples": 16 * 8}
    keep = tmp_path / "bridge.safetensors"
    search = BridgeFitter(*models, BridgeConfig(**options), keep=keep)
    with pytest.raises(ValueError, match="only 0 samples to learn from"):
        search.result()
    for _ in range(5):
        search.step()
    assert search.result()[1].psnr_of_projections is None, "nothing has been projected yet"
    (bridge, _), steps = fitted(*models, keep=keep, **options)
    whole = fitted(*models, **options)[0][0]
    assert steps == 3 + 2 and all(getattr(bridge, name).equal(getattr(whole, name)) for name in ("matrix", "out"))
    assert fitted(*models, keep=keep, **options)[1] == 0
    assert fitted(*models, keep=keep, **{**options, "realism": 0.1})[1] == 8 + 2, "another bridge"


def test_memory_is_bounded_by_the_batch_alone():
    models = tiny_model(0), tiny_model(1)
    options = {"pairs": "none", "samples": 32, "fit": "ridge"}
    bridges = [fitted(*models, batch=batch, **options)[0][0] for batch in (5, 16)]
    torch.testing.assert_close(bridges[0].matrix, bridges[1].matrix, rtol=0.05, atol=1e-3)


def test_the_held_out_pairs_are_not_fitted_to():
    models = tiny_model(0), tiny_model(1)
    search = BridgeFitter(*models, BridgeConfig(**QUICK))
    while not search.finished:
        search.step()
    bridge = search.result()[0]
    for pair in search._pairs[:1]:
        pair["target"][:8] += 100
    assert search.result()[0].matrix.equal(bridge.matrix)
    search._pairs[0]["target"][8] += 100
    assert not search.result()[0].matrix.equal(bridge.matrix)
