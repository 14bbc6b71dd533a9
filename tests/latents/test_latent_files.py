from __future__ import annotations

import io
import math
import os
import zipfile

import numpy as np
import pytest
import torch
from mutations import mutated
from safetensors.torch import save_file

from gansketching_core.latents.ganspace import Directions
from gansketching_core.latents.latent_files import load_directions, load_latents, save_directions, save_latents
from gansketching_core.latents.spaces import Latents, to_w, to_w_plus


@pytest.fixture
def directions() -> Directions:
    rng = torch.Generator().manual_seed(0)
    orthonormal, _ = torch.linalg.qr(torch.randn(12, 8, generator=rng))
    return Directions(orthonormal.T, torch.randn(12, generator=rng), torch.rand(8, generator=rng), "fruit")


def write_npz(path, **changes):
    arrays = {"lat_comp": np.eye(3)[:, None], "lat_mean": np.zeros((1, 3)), "lat_stdev": np.ones(3)} | changes
    np.savez(path, **{key: value for key, value in arrays.items() if value is not None})


# ----------------------------------------------------------------------------------------------------------- latents


def test_latents_survive_saving(model, z, tmp_path):
    for latents in (z, to_w(model, z), to_w_plus(model, z), Latents("z", z.data, torch.arange(5))):
        save_latents(latents, tmp_path / "a.safetensors")
        loaded = load_latents(tmp_path / "a.safetensors")
        assert loaded.space == latents.space and loaded.data.equal(latents.data)
        if latents.labels is None:
            assert loaded.labels is None
        else:
            assert loaded.labels.equal(latents.labels)


@pytest.mark.parametrize(
    ("tensors", "metadata", "message"),
    [
        ({"weight": torch.ones(2)}, {"space": "z"}, "holds no latents"),
        ({"latents": torch.ones(2, 3)}, None, "holds no latents"),
        ({"latents": torch.ones(2, 3)}, {"space": "y"}, '"y" is unknown'),
        ({"latents": torch.ones(2)}, {"space": "w"}, "damaged"),
        ({"latents": torch.full((2, 3), math.nan)}, {"space": "w"}, "not finite"),
        ({"latents": torch.full((2, 3), math.nan).to(torch.float8_e4m3fn)}, {"space": "w"}, "not finite"),
        ({"latents": torch.ones(2, 3, dtype=torch.bool)}, {"space": "w"}, "not finite"),
        ({"latents": torch.ones(0, 3)}, {"space": "w"}, "empty"),
        ({"latents": torch.ones(2, 3), "labels": torch.ones(3)}, {"space": "z"}, "3 labels"),
        ({"latents": torch.ones(2, 3), "labels": torch.tensor(1)}, {"space": "z"}, "labels have shape"),
    ],
)
def test_files_of_other_tensors_are_refused(tmp_path, tensors, metadata, message):
    save_file(tensors, tmp_path / "a.safetensors", metadata)
    with pytest.raises(ValueError, match=f"a.safetensors.*{message}"):
        load_latents(tmp_path / "a.safetensors")


# -------------------------------------------------------------------------------------------------------- directions


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
def test_unusable_npz_is_refused_and_no_code_runs(tmp_path, monkeypatch, changes, message):
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


def test_files_without_directions_are_refused(tmp_path):
    save_file({"weight": torch.ones(2)}, tmp_path / "a.safetensors")
    with pytest.raises(ValueError, match="components, mean, stdev missing"):
        load_directions(tmp_path / "a.safetensors")


# ----------------------------------------------------------------------------------------------------- damaged files


def refusals(path, data: bytes, load, count: int = 400) -> int:
    """How many of `count` damaged copies of a file are refused; every refusal must be a ValueError that names it."""
    refused = 0
    for seed in range(count):
        path.write_bytes(mutated(data, seed))
        try:
            load(path)
        except ValueError as error:
            assert str(path) in str(error)
            refused += 1
    return refused


def test_damaged_latents_are_refused(z, tmp_path):
    save_latents(Latents("z", z.data, torch.arange(5)), tmp_path / "a.safetensors")
    assert refusals(tmp_path / "a.safetensors", (tmp_path / "a.safetensors").read_bytes(), load_latents) > 200


def test_damaged_directions_are_refused(directions, tmp_path):
    save_directions(directions, tmp_path / "a.safetensors")
    assert refusals(tmp_path / "a.safetensors", (tmp_path / "a.safetensors").read_bytes(), load_directions) > 200


@pytest.mark.parametrize("save", [np.savez, np.savez_compressed])
def test_damaged_npz_is_refused(tmp_path, save):
    save(tmp_path / "a.npz", lat_comp=np.eye(3)[:, None], lat_mean=np.zeros((1, 3)), lat_stdev=np.ones(3))
    assert refusals(tmp_path / "a.npz", (tmp_path / "a.npz").read_bytes(), load_directions) > 200


@pytest.mark.parametrize("header", [b"{'descr': (((", b"{'descr': '<f8', 'fortran_order'", b"\xff" * 20])
def test_npz_with_a_damaged_array_header_is_refused(tmp_path, header):
    write_npz(tmp_path / "a.npz", lat_mean=None)
    with zipfile.ZipFile(tmp_path / "a.npz", "a") as archive:
        archive.writestr("lat_mean.npy", b"\x93NUMPY\1\0" + len(header).to_bytes(2, "little") + header)
    with pytest.raises(ValueError, match="can't be read as GANSpace directions"):
        load_directions(tmp_path / "a.npz")
