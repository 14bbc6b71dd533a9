"""Randomly damaged downloads give models or end in a ValueError; nothing is written outside the models folder."""

from __future__ import annotations

import io
import zipfile

import pytest
import torch
from formats import rosinality_training, small_model
from mutations import mutated

from gansketching_core.downloads import install as install_module
from gansketching_core.downloads.catalogue import Offer
from gansketching_core.downloads.install import install

COPIES = 60  # of each zip
OFFER = Offer("tiny", "a test", "https://example.org/models.zip", "MIT", "")


def packed(compression: int) -> bytes:
    model, archive = io.BytesIO(), io.BytesIO()
    torch.save(rosinality_training(small_model()), model)
    with zipfile.ZipFile(archive, "w", compression) as file:
        file.writestr("weights/readme.txt", "hello")
        file.writestr("weights/cat/netG.pth", model.getvalue())
        file.writestr("weights/broken.pth", b"not a model")
    return archive.getvalue()


def download(monkeypatch, data: bytes) -> None:
    """Make `data` what the next install receives."""

    def fetch(address, target, **_):
        target.parent.mkdir(parents=True, exist_ok=True)
        target.write_bytes(data)
        return "0" * 64

    monkeypatch.setattr(install_module, "fetch", fetch)


@pytest.mark.parametrize("compression", [zipfile.ZIP_STORED, zipfile.ZIP_DEFLATED, zipfile.ZIP_BZIP2, zipfile.ZIP_LZMA])
def test_damaged_zips_are_installed_or_refused(tmp_path, monkeypatch, compression):
    data = packed(compression)
    refused = 0
    for seed in range(COPIES):
        download(monkeypatch, mutated(data, seed))
        try:
            install(OFFER, tmp_path / "models")
        except ValueError:
            refused += 1
        except Exception as error:
            raise AssertionError(f"seed {seed}: {type(error).__name__}") from error
        assert [path.name for path in tmp_path.iterdir()] in ([], ["models"]), f"seed {seed}"
        assert not (tmp_path / "models" / ".gansketching").exists(), f"seed {seed}"
    assert refused > COPIES / 3
