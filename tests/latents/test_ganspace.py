from __future__ import annotations

import io
import os
import zipfile

import numpy as np
import pytest
import torch
from safetensors.torch import save_file

from gansketching_core import random_streams
from gansketching_core.latents.ganspace import Directions, edit, fit_directions, sheet
from gansketching_core.latents.latent_files import load_directions, save_directions
from gansketching_core.latents.sampling import render, sample_z
from gansketching_core.latents.spaces import Latents, to_w, to_w_plus, truncate
from gansketching_core.networks.stylegan2 import GanConfig, GanModel, Generator


def make_model(**changes) -> GanModel:
    config = GanConfig(resolution=32, z_dim=16, w_dim=12, mapping_layers=2, channels=(8, 8, 8, 4), **changes)
    with torch.random.fork_rng():
        torch.manual_seed(0)
        generator = Generator(config).eval().requires_grad_(False)
    return GanModel(generator, None, config, generator.mean_w(), "fruit")


@pytest.fixture(scope="module")
def model() -> GanModel:
    return make_model()


@pytest.fixture(scope="module")
def directions(model) -> Directions:
    return fit_directions(model, components=8, samples=25_000, seed=4)


def test_directions_are_orthonormal_and_those_of_a_plain_pca(model, directions):
    torch.testing.assert_close(directions.components @ directions.components.T, torch.eye(8), rtol=0, atol=1e-6)
    starts = (0, 10_000, 20_000)
    z = [torch.randn(min(10_000, 25_000 - s), 16, generator=random_streams.stream(4, "pca", s)) for s in starts]
    w = to_w(model, Latents("z", torch.cat(z))).data.double().numpy()
    _, values, vectors = np.linalg.svd(w - w.mean(axis=0), full_matrices=False)
    np.testing.assert_allclose(directions.mean, w.mean(axis=0), atol=1e-6)
    np.testing.assert_allclose(directions.stdev, values[:8] / np.sqrt(25_000 - 1), rtol=1e-5)
    np.testing.assert_allclose(np.abs((directions.components.numpy() * vectors[:8]).sum(axis=1)), 1, atol=1e-5)
    assert (directions.components.gather(1, directions.components.abs().argmax(1, keepdim=True)) > 0).all()


def test_fitting_is_checked_reported_and_stopped(model):
    calls = []
    fit_directions(model, components=1, samples=12_000, on_batch=lambda *done: calls.append(done))
    assert calls == [(10_000, 12_000), (12_000, 12_000)]

    def stop(done, total):
        raise KeyboardInterrupt

    with pytest.raises(KeyboardInterrupt):
        fit_directions(model, components=1, samples=12_000, on_batch=stop)
    with pytest.raises(ValueError, match="1 to 12 directions"):
        fit_directions(model, components=13)
    with pytest.raises(ValueError, match="samples is 12"):
        fit_directions(model, components=1, samples=12)
    assert len(fit_directions(make_model(class_count=3), components=2, samples=1000)) == 2


def test_an_edit_moves_some_layers_by_sigmas(model, directions):
    z = sample_z(model, 3)
    edited = edit(model, z, directions, 2, 1.5, first=1, last=4)
    change = edited.data - to_w_plus(model, z).data
    assert not change[:, [0, 5, 6, 7]].any()
    expected = 1.5 * directions.stdev[2] * directions.components[2]
    torch.testing.assert_close(change[:, 1:5], expected.expand(3, 4, -1), rtol=1e-4, atol=1e-6)
    each = edit(model, z[0], directions, 2, torch.tensor([0.0, 1.5]), first=1, last=4)
    torch.testing.assert_close(each.data, torch.cat([to_w_plus(model, z[0]).data, edited.data[:1]]))


def test_truncation_scales_an_edit_made_before_it(model, directions):
    z = sample_z(model, 3)
    plain = to_w_plus(model, truncate(model, z, 0.5)).data
    after = edit(model, z, directions, 0, 2.0, psi=0.5).data - plain
    before = edit(model, z, directions, 0, 2.0, psi=0.5, before_truncation=True).data - plain
    torch.testing.assert_close(before, after / 2, rtol=1e-4, atol=1e-6)


def test_edits_that_do_not_fit_are_refused(model, directions):
    z = sample_z(model, 1)
    with pytest.raises(ValueError, match='layers 3 to 8: the model "fruit" has layers 0 to 7'):
        edit(model, z, directions, 0, 1.0, first=3, last=8)
    with pytest.raises(ValueError, match="there are 8 directions"):
        edit(model, z, directions, 8, 1.0)
    with pytest.raises(ValueError, match="do not fit the model"):
        edit(model, z, Directions(torch.eye(4), torch.zeros(4), torch.ones(4)), 0, 1.0)


def test_the_sheet_has_a_row_for_each_component(model, directions):
    z = sample_z(model, 1)
    images = sheet(model, z, directions, components=3, strengths=(-2.0, 0.0, 2.0))
    torch.testing.assert_close(images[1::3], render(model, z).expand(3, -1, -1, -1), rtol=1e-4, atol=1e-5)
    torch.testing.assert_close(images[5], render(model, edit(model, z, directions, 1, 2.0))[0], rtol=1e-4, atol=1e-5)
    with pytest.raises(ValueError, match="shows one latent"):
        sheet(model, sample_z(model, 2), directions, components=8)


# ------------------------------------------------------------------------------------------------------------- files


def test_directions_survive_saving(directions, tmp_path):
    save_directions(directions, tmp_path / "a.safetensors")
    loaded = load_directions(tmp_path / "a.safetensors")
    assert loaded.components.equal(directions.components) and loaded.stdev.equal(directions.stdev)
    assert loaded.mean.equal(directions.mean) and loaded.name == "fruit"


@pytest.mark.parametrize("mean_shape", [(1, 12), (1, 1, 12)])
def test_published_npz(directions, tmp_path, mean_shape):
    arrays = {
        "act_comp": np.ones((8, 1, 4, 2, 2), np.float32),
        "lat_comp": directions.components.numpy().astype(np.float64)[:, None],
        "lat_mean": directions.mean.numpy().reshape(mean_shape),
        "lat_stdev": directions.stdev.numpy(),
    }
    np.savez_compressed(tmp_path / "stylegan2-car_style_ipca_c80.npz", **arrays)
    loaded = load_directions(tmp_path / "stylegan2-car_style_ipca_c80.npz")
    assert loaded.components.equal(directions.components) and loaded.mean.equal(directions.mean)
    assert loaded.stdev.equal(directions.stdev) and loaded.name == "stylegan2-car_style_ipca_c80"


class Payload:
    def __reduce__(self):
        return os.mkdir, ("pwned",)


def write_npz(path, **changes):
    arrays = {"lat_comp": np.eye(3)[:, None], "lat_mean": np.zeros((1, 3)), "lat_stdev": np.ones(3)} | changes
    np.savez(path, **{key: value for key, value in arrays.items() if value is not None})


@pytest.mark.parametrize(
    ("changes", "message"),
    [
        ({"lat_stdev": np.array([Payload()], dtype=object)}, "allow_pickle=False"),
        ({"lat_stdev": None}, "lat_stdev is missing"),
        ({"lat_comp": np.eye(3)}, r"expected \[K,1,w_dim\]"),
        ({"lat_mean": np.zeros((1, 4))}, r"expected \[K,1,w_dim\]"),
        ({"lat_stdev": np.ones(2)}, "damaged"),
        ({"lat_stdev": np.full(3, np.nan)}, "not finite"),
        ({"lat_stdev": np.array(["a", "b", "c"])}, "can't be read"),
        ({"lat_comp": np.ones((3, 1, 3))}, "not orthonormal"),
    ],
)
def test_hostile_npz_is_refused(tmp_path, monkeypatch, changes, message):
    monkeypatch.chdir(tmp_path)
    write_npz(tmp_path / "a.npz", **changes)
    with pytest.raises(ValueError, match=message):
        load_directions(tmp_path / "a.npz")
    assert not (tmp_path / "pwned").exists()


def test_npz_that_claims_to_be_huge_is_refused(tmp_path):
    path = tmp_path / "a.npz"
    header = io.BytesIO()
    np.lib.format.write_array_header_1_0(header, {"descr": "<f8", "fortran_order": False, "shape": (10**12,)})
    write_npz(path, lat_stdev=None)
    with zipfile.ZipFile(path, "a", zipfile.ZIP_DEFLATED) as archive:
        archive.writestr("lat_stdev.npy", header.getvalue())
    with pytest.raises(ValueError, match="can't be read as GANSpace"):
        load_directions(path)
    write_npz(path, lat_stdev=None)
    with zipfile.ZipFile(path, "a", zipfile.ZIP_DEFLATED) as archive:
        archive.writestr("lat_stdev.npy", header.getvalue() + bytes(2**28))
    with pytest.raises(ValueError, match="would take 256 MiB"):
        load_directions(path)


def test_other_files_are_refused(tmp_path):
    for name in ("a.npz", "a.safetensors"):
        (tmp_path / name).write_bytes(b"\xff" * 50)
        with pytest.raises(ValueError, match=f"{name}.*read"):
            load_directions(tmp_path / name)
    save_file({"weight": torch.ones(2)}, tmp_path / "a.safetensors")
    with pytest.raises(ValueError, match="components, mean, stdev missing"):
        load_directions(tmp_path / "a.safetensors")
