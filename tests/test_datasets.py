"""Folders and zips of images: names, classes, hold-out, and files that can't be used."""

from __future__ import annotations

import io
import json
import zipfile

import numpy as np
import pytest
import torch
from image_files import encoded, noise
from mutations import mutated
from PIL import Image

from gansketching_core import datasets
from gansketching_core.datasets import ImageSet, load_images


def write_set(tmp_path, kind):
    """The same four photos, two of them in subfolders, beside files that are not photos."""
    files = {
        "b/0001.png": encoded(noise(1)),
        "a/x/0000.PNG": encoded(noise(0)),
        "2.png": encoded(noise(2, 30, 20)),
        "3.png": encoded(noise(3)[..., 0]),
        "notes.txt": b"no image",
        ".hidden.png": b"broken",
        "__MACOSX/2.png": b"broken",
    }
    if kind == "zip":
        path = tmp_path / "set.zip"
        with zipfile.ZipFile(path, "w") as archive:
            for name, data in files.items():
                archive.writestr(name, data)
        return path
    for name, data in files.items():
        (tmp_path / name).parent.mkdir(parents=True, exist_ok=True)
        (tmp_path / name).write_bytes(data)
    return tmp_path


@pytest.mark.parametrize("kind", ["folder", "zip"])
def test_folders_and_zips(tmp_path, kind):
    path = write_set(tmp_path, kind)
    assert datasets.image_names(path) == ["2.png", "3.png", "a/x/0000.PNG", "b/0001.png"]
    loaded = load_images(path)
    assert [tuple(image.shape) for image in loaded] == [(30, 20, 3), (24, 24, 1), (24, 24, 3), (24, 24, 3)]
    np.testing.assert_array_equal((loaded[2] * 255).round().numpy(), noise(0))
    photos = ImageSet(path, 24)
    assert len(photos) == 4 and photos.classes == ["", "", "x", "b"]
    torch.testing.assert_close(photos.batch([3])[0], torch.from_numpy(noise(1)).permute(2, 0, 1) / 127.5 - 1)
    assert photos.batch(torch.tensor([0, 2, 0])).shape == (3, 3, 24, 24)


def test_content_hash_follows_the_pixels(tmp_path):
    path = write_set(tmp_path, "zip")
    first = ImageSet(path, 16).content_hash()
    assert first == ImageSet(path, 16).content_hash()
    assert first != ImageSet(path, 32).content_hash()
    assert first != ImageSet(path, 16, names=datasets.image_names(path)[1:]).content_hash()


def test_image_set_from_a_tensor_is_cropped_about_the_centre():
    image = torch.zeros(2, 20, 40, 3)
    image[:, :, 10:30] = 1
    photos = ImageSet(image, 8)
    assert len(photos) == 2 and photos.batch([0, 1]).min() == 1


def test_transparent_photos_lie_on_white(tmp_path):
    Image.new("RGBA", (9, 9), (10, 20, 30, 0)).save(tmp_path / "a.png")
    assert ImageSet(tmp_path, 8).batch([0]).min() == 1
    assert load_images(tmp_path)[0].shape == (9, 9, 4)


def test_nvidia_data_set_zip(tmp_path):
    path = tmp_path / "nvidia.zip"
    labels = [["00000/img00000000.png", 3], ["00000/img00000001.png", 0]]
    with zipfile.ZipFile(path, "w") as archive:
        for k, (name, _) in enumerate(labels):
            archive.writestr(name, encoded(noise(k)))
        archive.writestr("dataset.json", json.dumps({"labels": labels}))
    assert ImageSet(path, 16).classes == ["3", "0"]
    with zipfile.ZipFile(path, "w") as archive:
        archive.writestr("00000/img00000000.png", encoded(noise(0)))
        archive.writestr("dataset.json", json.dumps({"labels": None}))
    assert ImageSet(path, 16).classes == ["00000"]


def test_every_tenth_of_each_folder_is_held_out():
    names = [f"{folder}/{k:03d}.png" for folder in "ba" for k in range(25)]
    training, held_out = datasets.hold_out(names)
    assert held_out == ["a/009.png", "a/019.png", "b/009.png", "b/019.png"]
    assert sorted(training + held_out) == sorted(names)


@pytest.mark.parametrize("kind", ["folder", "zip"])
@pytest.mark.parametrize("data", [b"not an image", b"", encoded(noise(5))[:200]])
def test_broken_files_are_named(tmp_path, kind, data):
    if kind == "folder":
        path = tmp_path / "set"
        path.mkdir()
        (path / "good.png").write_bytes(encoded(noise(0)))
        (path / "broken.png").write_bytes(data)
    else:
        path = tmp_path / "set.zip"
        with zipfile.ZipFile(path, "w") as archive:
            archive.writestr("good.png", encoded(noise(0)))
            archive.writestr("broken.png", data)
    for use in (load_images, lambda path: ImageSet(path, 16)):
        with pytest.raises(ValueError, match=r"broken\.png"):
            use(path)


def test_zip_bombs_are_refused_unread(tmp_path, monkeypatch):
    path = tmp_path / "bomb.zip"
    with zipfile.ZipFile(path, "w", zipfile.ZIP_DEFLATED) as archive:
        archive.writestr("bomb.png", b"\0" * 2**20)
    monkeypatch.setattr(datasets, "MAX_FILE_BYTES", 2**19)
    with pytest.raises(ValueError, match=r"bomb\.png is 1 MiB"):
        load_images(path)


def test_damaged_zip_entries_are_named(tmp_path):
    path = tmp_path / "damaged.zip"
    with zipfile.ZipFile(path, "w", zipfile.ZIP_STORED) as archive:
        archive.writestr("a.png", encoded(noise(0)))
    data = bytearray(path.read_bytes())
    data[100] ^= 0xFF
    path.write_bytes(bytes(data))
    with pytest.raises(ValueError, match=r"a\.png"):
        load_images(path)


def test_paths_without_images(tmp_path):
    with pytest.raises(ValueError, match="does not exist"):
        load_images(tmp_path / "missing")
    (tmp_path / "notes.txt").write_text("no image")
    with pytest.raises(ValueError, match="holds no images"):
        load_images(tmp_path)
    with zipfile.ZipFile(tmp_path / "none.zip", "w") as archive:
        archive.writestr("notes.txt", "no image")
    with pytest.raises(ValueError, match="holds no images"):
        ImageSet(tmp_path / "none.zip", 16)


def test_kind_is_the_folders_name_up_to_the_first_underscore():
    assert (
        datasets.kind_of("fruits/apple_golden_1/0000.webp") == "apple" and datasets.kind_of("banana/1.png") == "banana"
    )


@pytest.mark.parametrize("method", [zipfile.ZIP_STORED, zipfile.ZIP_DEFLATED, zipfile.ZIP_BZIP2, zipfile.ZIP_LZMA])
def test_mutated_zips_are_read_or_refused(tmp_path, method):
    buffer = io.BytesIO()
    with zipfile.ZipFile(buffer, "w", method) as archive:
        archive.writestr("b/0.png", encoded(noise(0)))
        archive.writestr("a.bmp", encoded(np.zeros((24, 24, 3)), "BMP"))
        archive.writestr("dataset.json", json.dumps({"labels": [["a.bmp", 3], ["b/0.png", 0]]}))
    path = tmp_path / "set.zip"
    for seed in range(150):
        path.write_bytes(mutated(buffer.getvalue(), seed))
        try:
            ImageSet(path, 8)
        except ValueError as error:
            assert "set.zip" in str(error), seed


@pytest.mark.parametrize(("offset", "value", "said"), [(6, 1, "password"), (8, 99, "not supported")])
def test_encrypted_and_unsupported_entries_are_named(tmp_path, offset, value, said):
    path = tmp_path / "set.zip"
    with zipfile.ZipFile(path, "w") as archive:
        archive.writestr("a.png", encoded(noise(0)))
    data = bytearray(path.read_bytes())
    data[offset] = value  # flags and method, in the entry's header
    data[data.index(b"PK\1\2") + offset + 2] = value  # and in the table of contents
    path.write_bytes(bytes(data))
    with pytest.raises(ValueError, match=rf"a\.png cannot be unpacked.*{said}"):
        load_images(path)


def test_a_deeply_nested_dataset_json_is_refused(tmp_path):
    (tmp_path / "a.png").write_bytes(encoded(noise(0)))
    (tmp_path / "dataset.json").write_text("[" * 100_000)
    with pytest.raises(ValueError, match=r"dataset\.json .* is not in NVIDIA's layout"):
        ImageSet(tmp_path, 8)
