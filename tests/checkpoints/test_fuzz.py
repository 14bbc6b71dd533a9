"""Randomly damaged model files either load or end in a ValueError that names the file. Code in them is never run:
that of NVIDIA's pickles, as tests write them, would abort the process."""

from __future__ import annotations

from pathlib import Path

import formats
import pytest
import torch
from formats import small_model
from mutations import mutated

from gansketching_core.checkpoints.describe import describe
from gansketching_core.checkpoints.load import load_customised, load_model, load_photosketch
from gansketching_core.checkpoints.native import save_customised, save_photosketch
from gansketching_core.checkpoints.summary import summarise
from gansketching_core.networks.photosketch import PhotoSketch

COPIES = 60  # of each file


@pytest.fixture(scope="module")
def base():
    return small_model()


@pytest.fixture(scope="module")
def files(tmp_path_factory, base) -> Path:
    folder = tmp_path_factory.mktemp("intact")
    formats.write_every_format(folder, base)
    save_customised(base, folder / "customised.safetensors")
    sketcher = PhotoSketch(width=4, blocks=2)
    save_photosketch(sketcher, folder / "sketcher.safetensors")
    torch.save(sketcher.state_dict(), folder / "photosketch.pth")
    return folder


@pytest.mark.parametrize(
    "name",
    [
        "ours.safetensors",
        "customised.safetensors",
        "sketcher.safetensors",
        "photosketch.pth",
        "gansketching.pth",
        "old.pth",
        "rosinality.pt",
        "nvidia.pkl",
        "tensorflow.pkl",
    ],
)
def test_damaged_files_load_or_are_refused(files, tmp_path, base, name):
    load = load_model
    if name == "customised.safetensors":
        load = lambda path: load_customised(path, base)  # noqa: E731
    if name in ("sketcher.safetensors", "photosketch.pth"):
        load = load_photosketch
    data, path = (files / name).read_bytes(), tmp_path / name
    load(files / name)
    refused = 0
    for seed in range(COPIES):
        path.write_bytes(mutated(data, seed))
        try:
            load(path)
        except ValueError as error:
            refused += 1
            assert str(error).startswith(f"{name}: "), f"seed {seed}"
        except Exception as error:
            raise AssertionError(f"seed {seed}: {type(error).__name__}") from error
        summarise(path)
        describe(path)
    assert refused > COPIES / 3
