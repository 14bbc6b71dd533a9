from __future__ import annotations

from dataclasses import replace

import pytest
import torch
from mutations import mutated
from safetensors.torch import save_file
from tiny import tiny_model

from gansketching_core.checkpoints.hashes import weights_hash
from gansketching_core.latents.bridge import cross, fit_bridge, identity
from gansketching_core.latents.latent_files import load_bridge, save_bridge
from gansketching_core.latents.sampling import sample_z
from gansketching_core.latents.spaces import Latents, to_w, to_w_plus


def noise(*shape: int, seed: int = 0) -> torch.Tensor:
    return torch.randn(shape, generator=torch.Generator().manual_seed(seed))


def bridge_of(source, target, kind="projected"):
    """w -> 2 w + 1 of models with equally long w."""
    w = noise(64, source.config.w_dim)
    bridge = fit_bridge(w, 2 * w + 1, "ridge")
    hashes = {"source_hash": identity(source, kind), "target_hash": identity(target, kind)}
    return replace(bridge, **hashes, kind=kind)


def test_a_linear_function_is_found_in_noise(monkeypatch):
    """y = 5 + (x - 3) M + noise of 0.1: predictions are about 0.1 sqrt(6 / 200) off."""
    monkeypatch.setattr("gansketching_core.latents.bridge.STEPS", 300)
    matrix, x = noise(6, 4, seed=1), noise(200, 6) + 3
    bridge = fit_bridge(x, 5 + (x - 3) @ matrix + 0.1 * noise(200, 4, seed=3))
    other = noise(50, 6, seed=2) + 3
    torch.testing.assert_close(bridge(other), 5 + (other - 3) @ matrix, rtol=0, atol=0.12)
    assert len(bridge.out) == 0, "noise is nothing that an MLP can learn"


def test_the_ridge_is_that_of_the_normal_equations(monkeypatch):
    """One number, one strength: slope = sum xy / (sum xx + strength * sum xx) of the centred pairs."""
    monkeypatch.setattr("gansketching_core.latents.bridge.STRENGTHS", [0.5])
    x, y = noise(40, 1), noise(40, 1, seed=1)
    centred, of_y = x - x.mean(), y - y.mean()
    slope = (centred * of_y).sum() / (1.5 * centred.square().sum())
    torch.testing.assert_close(fit_bridge(x, y, "ridge").matrix[0, 0], slope)


def test_the_mlp_is_added_where_the_function_bends(monkeypatch):
    monkeypatch.setattr("gansketching_core.latents.bridge.STEPS", 400)
    x, test = noise(400, 4), noise(200, 4, seed=2)
    bent = lambda w: w + w.abs()  # noqa: E731
    errors = {}
    for fit in ("auto", "ridge"):
        bridge = fit_bridge(x, bent(x), fit)
        errors[fit] = float((bridge(test) - bent(test)).square().mean())
        assert (len(bridge.out) > 0) == (fit == "auto")
    assert errors["auto"] < 0.5 * errors["ridge"]
    assert abs(errors["ridge"] - (1 - 2 / torch.pi)) < 0.08  # the variance of |w| about its mean, for w ~ N(0,1)


def test_unusable_pairs_are_refused():
    with pytest.raises(ValueError, match="10 pairs are too few"):
        fit_bridge(noise(10, 3), noise(10, 3))
    with pytest.raises(ValueError, match=r"expected \[N,A\] and \[N,B\]"):
        fit_bridge(noise(20, 3), noise(21, 3))
    broken = noise(20, 3)
    broken[3, 1] = torch.nan
    with pytest.raises(ValueError, match="not finite"):
        fit_bridge(noise(20, 3), broken)


def test_latents_cross_in_every_space():
    source, target = tiny_model(0), tiny_model(1)
    bridge, z = bridge_of(source, target), sample_z(source, 3)
    w = to_w(source, z).data
    for latents in (z, to_w(source, z)):
        crossed = cross(bridge, source, target, latents)
        assert crossed.space == "w"
        torch.testing.assert_close(crossed.data, 2 * w + 1, rtol=1e-2, atol=1e-2)
    styles = Latents("w+", to_w_plus(source, z).data.clone())
    styles.data[:, 4:] *= -1
    crossed = cross(bridge, source, target, styles)
    torch.testing.assert_close(crossed.data, 2 * styles.data + 1, rtol=1e-2, atol=1e-2)
    larger = tiny_model(2, resolution=64, channels=(8, 8, 8, 4, 4))
    with pytest.raises(ValueError, match=r'8 layers of "tiny 0"; "tiny 2" has 10'):
        cross(bridge_of(source, larger), source, larger, styles)


def test_a_bridge_of_another_pair_is_refused():
    source, target, other = tiny_model(0), tiny_model(1), tiny_model(2)
    bridge = replace(bridge_of(source, target), source="apples", target="pears")
    z = sample_z(source, 1)
    with pytest.raises(ValueError, match=r'leads from "apples".*not "tiny 2"; give the models'):
        cross(bridge, other, target, z)
    with pytest.raises(ValueError, match=r'leads to "pears".*not "tiny 0"'):
        cross(bridge, source, source, z)


def test_customised_models_use_the_bridge_of_their_bases():
    """Where pairs are of images, w means the same in all models of one base; where they are of z, it does not."""
    source, target = tiny_model(0), tiny_model(1)
    customised = tiny_model(0)
    customised.generator.mapping.w_shift += 1
    assert customised.base_hash != weights_hash(customised)
    z = sample_z(source, 2)
    crossed = cross(bridge_of(source, target), customised, target, z)
    torch.testing.assert_close(crossed.data, 2 * (to_w(source, z).data + 1) + 1, rtol=1e-2, atol=1e-2)
    bridge = replace(bridge_of(source, target), kind="same z")
    with pytest.raises(ValueError, match="the bridge leads from"):
        cross(bridge, customised, target, z)


def test_bridges_survive_saving_and_damage(tmp_path, monkeypatch):
    monkeypatch.setattr("gansketching_core.latents.bridge.STEPS", 50)
    x = noise(60, 5)
    bridge = replace(fit_bridge(x, x[:, :3].abs(), "mlp"), source="a", target="b", report={"psnr": "20.0"})
    path = tmp_path / "a.safetensors"
    save_bridge(bridge, path, {"source": x})
    loaded = load_bridge(path)
    assert loaded(x).equal(bridge(x)) and loaded.source == "a" and loaded.report["psnr"] == "20.0"
    data = path.read_bytes()
    for seed in range(100):
        path.write_bytes(mutated(data, seed))
        try:
            load_bridge(path)
        except ValueError as error:
            assert str(path) in str(error)
    save_file({"weight": torch.ones(2)}, path)
    with pytest.raises(ValueError, match="holds no latent bridge"):
        load_bridge(path)


def test_w_of_another_length_is_refused(tmp_path):
    bridge = fit_bridge(noise(20, 3), noise(20, 3), "ridge")
    with pytest.raises(ValueError, match="offset has shape"):
        replace(bridge, offset=torch.zeros(2))
    assert Latents("w", bridge(noise(2, 3))).data.shape == (2, 3)
