"""Images in and out, sketch preparation, and what is said of files that can't be used."""

from __future__ import annotations

import io
import json
import struct
import warnings
import zipfile
import zlib

import numpy as np
import pytest
import torch
from PIL import Image
from scipy import ndimage

from gansketching_core import datasets, images
from gansketching_core.datasets import ImageSet, load_images
from gansketching_core.images import from_comfy, to_comfy
from gansketching_core.sketches.prepare import SketchConfig, prepare_sketches


def paper(height=256, width=256, channels=1):
    return torch.ones(height, width, channels)


def ring(size=256, radius=80, stroke=5):
    """A circle drawn in black on white: [size,size,1] in 0..1."""
    at = torch.arange(size) - size / 2 + 0.5
    distance = (at[:, None].square() + at[None].square()).sqrt()
    return 1 - ((distance - radius).abs() < stroke / 2).float()[..., None]


def png(array) -> bytes:
    buffer = io.BytesIO()
    Image.fromarray(np.asarray(array, dtype=np.uint8)).save(buffer, "PNG")
    return buffer.getvalue()


def photo(seed, height=24, width=24):
    return np.random.default_rng(seed).integers(0, 256, (height, width, 3), dtype=np.uint8)


# ---------------------------------------------------------------------------------------------------------- tensors


def test_comfy_round_trip_keeps_the_picture():
    image = torch.rand(2, 5, 7, 3)
    back = to_comfy(from_comfy(image))
    assert back.shape == image.shape and back.dtype == torch.float32
    torch.testing.assert_close(back, image, atol=1e-6, rtol=0)


def test_to_comfy_clips_and_repeats_a_single_channel():
    image = to_comfy(torch.tensor([-3.0, 0.0, 5.0]).view(1, 1, 1, 3))
    assert image.shape == (1, 1, 3, 3)
    assert image[0, 0, :, 1].tolist() == [0.0, 0.5, 1.0]


def test_alpha_lies_on_white():
    image = torch.tensor([[0.2, 0.4, 0.6, 1.0], [0.2, 0.4, 0.6, 0.0]]).view(1, 1, 2, 4)
    torch.testing.assert_close(from_comfy(image)[0, :, 0, 1], torch.ones(3))
    torch.testing.assert_close(from_comfy(image)[0, :, 0, 0], torch.tensor([-0.6, -0.2, 0.2]))


def test_what_a_mask_marks_becomes_black():
    mask = torch.zeros(6, 6)
    mask[2, 2] = 1
    for given in (mask, mask[None]):
        image = from_comfy(given)
        assert image.shape == (1, 3, 6, 6)
        assert image[0, 0, 2, 2] == -1 and image[0, 0, 0, 0] == 1


@pytest.mark.parametrize(
    ("image", "said"),
    [
        (torch.full((1, 4, 4, 3), float("nan")), "NaN"),
        (torch.full((1, 4, 4, 3), float("inf")), "NaN"),
        (torch.zeros(1, 0, 4, 3), "empty"),
        (torch.full((1, 4, 4, 3), 255.0), "255"),
        (torch.zeros(1, 4, 4, 3, dtype=torch.uint8), "255"),
        (torch.zeros(1, 4, 4, 2), "channels"),
    ],
)
def test_unusable_tensors_are_named(image, said):
    with pytest.raises(ValueError, match=said):
        from_comfy(image)


def test_grid_places_images_by_rows():
    x = torch.stack([torch.full((3, 4, 4), v) for v in (-1.0, 0.0, 0.5)])
    sheet = images.grid(x, 2)
    assert sheet.shape == (1, 3, 10, 10)
    assert [sheet[0, 0, r, c].item() for r, c in ((0, 0), (0, 9), (9, 0), (9, 9), (5, 0))] == [-1, 0, 0.5, 1, 1]


def test_png_holds_the_picture(tmp_path):
    image = torch.rand(1, 6, 5, 3)
    images.save_png(image, tmp_path / "new" / "a.png")
    images.save_png(from_comfy(image)[0], tmp_path / "b.png")
    for name in ("new/a.png", "b.png"):
        (loaded,) = load_images(tmp_path / name)
        torch.testing.assert_close(loaded, image[0], atol=0.5 / 255 + 1e-6, rtol=0)


def test_resize_is_antialiased_and_differentiable():
    x = torch.zeros(1, 1, 64, 64)
    x[..., ::2] = 1
    x.requires_grad_()
    small = images.resize(x, 16)
    assert (small - 0.5).abs()[..., 2:-2].max() < 0.05
    small.sum().backward()
    assert torch.isfinite(x.grad).all() and x.grad.abs().sum() > 0


# --------------------------------------------------------------------------------------------------------- sketches


def test_a_plain_drawing_stays_as_it_is():
    drawing = ring()
    sketch = prepare_sketches(drawing[None], 256)
    assert sketch.shape == (1, 1, 256, 256)
    torch.testing.assert_close(sketch[0, 0], drawing[..., 0] * 2 - 1)


@pytest.mark.parametrize("channels", [1, 3])
def test_white_on_black_is_turned(channels):
    drawing = ring().expand(-1, -1, channels)
    torch.testing.assert_close(prepare_sketches([1 - drawing], 64), prepare_sketches([drawing], 64))
    assert prepare_sketches([1 - drawing], 64, SketchConfig(invert="never"))[0, 0, 0, 0] < -0.99
    assert prepare_sketches([drawing], 64, SketchConfig(invert="always"))[0, 0, 0, 0] < -0.99


def test_a_filled_black_shape_on_white_is_not_turned():
    drawing = paper()
    drawing[30:226, 30:226] = 0
    assert prepare_sketches([drawing], 64)[0, 0, 0, 0] == 1


def test_a_dark_frame_around_white_paper_is_not_taken_for_black_paper():
    drawing = ring()
    drawing[:3] = drawing[-3:] = drawing[:, :3] = drawing[:, -3:] = 0
    assert prepare_sketches([drawing], 256)[0, 0, 128, 128] == 1


def test_tall_drawings_are_letterboxed_not_stretched():
    drawing = torch.ones(256, 128, 1)
    drawing[64:192, 32:96] = 0  # 1/2 of the height, 1/4 of the longer side wide
    black = prepare_sketches([drawing], 64)[0, 0] < 0
    rows, columns = black.any(dim=1).nonzero(), black.any(dim=0).nonzero()
    assert (rows.min(), rows.max(), columns.min(), columns.max()) == (16, 47, 24, 39)


@pytest.mark.parametrize("stroke", [1, 2, 3])
def test_thin_lines_survive_shrinking(stroke):
    drawing = ring(stroke=stroke, radius=100)
    sketch = prepare_sketches([drawing], 64)[0, 0]
    at = torch.arange(64) - 31.5
    distance = (at[:, None].square() + at[None].square()).sqrt()
    angle = torch.atan2(at[:, None].expand(64, 64), at[None].expand(64, 64))
    near = (distance - 25).abs() < 1.5
    darkest = [sketch[near & (angle >= a) & (angle < a + 0.2)].min() for a in torch.arange(-3.1, 2.9, 0.2)]
    assert max(darkest) < -0.25  # the outline has no gap all around
    assert sketch[distance < 20].min() > 0.9  # and nothing appears elsewhere


def test_a_single_dot_survives_shrinking():
    drawing = ring()
    drawing[128, 128] = 0
    assert prepare_sketches([drawing], 64)[0, 0, 30:35, 30:35].min() < 0.5


@pytest.mark.parametrize("stroke", [1, 5, 17])
@pytest.mark.parametrize("pen", [0.02, 0.06])
def test_strokes_get_the_asked_width(stroke, pen):
    sketch = prepare_sketches([ring(radius=90, stroke=stroke)], 128, SketchConfig(stroke_width=pen))[0, 0]
    ink = ((1 - sketch) / 2).sum()
    expected = 2 * torch.pi * (90 / 256 * 128) * pen * 128
    assert abs(ink / expected - 1) < 0.15


def test_redrawn_strokes_stay_in_one_piece():
    drawing = torch.minimum(ring(stroke=9), ring(radius=40, stroke=14))
    drawing[126:131, 0:256] = 0
    sketch = prepare_sketches([drawing], 256, SketchConfig(stroke_width=0.01))[0, 0]
    _, count = ndimage.label(sketch.numpy() < 0, structure=np.ones((3, 3)))
    assert count == 1


def test_filled_areas_stay_filled_when_strokes_are_redrawn():
    drawing = ring(radius=100)
    drawing[108:148, 108:148] = 0
    sketch = prepare_sketches([drawing], 256, SketchConfig(stroke_width=0.02))[0, 0]
    assert (sketch[112:144, 112:144] < 0).all()


def test_cropping_fills_the_square_with_the_drawing():
    drawing = paper(400, 600)
    drawing[300:340, 50:130] = 0
    black = prepare_sketches([drawing], 128, SketchConfig(crop=True, margin=0.1))[0, 0] < 0
    columns, rows = black.any(dim=0).nonzero(), black.any(dim=1).nonzero()
    assert 0.78 < len(columns) / 128 < 0.88
    assert abs(len(columns) / len(rows) - 2) < 0.1
    assert abs(rows.float().mean() - 63.5) < 1


def test_grey_stays_grey_and_grey_paper_becomes_white():
    drawing = paper() * 0.8
    drawing[60:200, 60:80] = 0.1
    drawing[60:200, 160:180] = 0.45
    sketch = prepare_sketches([drawing], 256)[0, 0]
    assert sketch[10, 10] == 1
    assert sketch[100, 70] == pytest.approx(-1, abs=0.02)
    assert sketch[100, 170] == pytest.approx(0, abs=0.03)
    assert prepare_sketches([drawing], 256, SketchConfig(levels=False))[0, 0, 10, 10] == pytest.approx(0.6, abs=1e-3)


def test_a_photo_of_paper_in_uneven_light_becomes_white():
    light = torch.linspace(0.95, 0.55, 256)[None, :, None] * torch.linspace(1, 0.85, 256)[:, None, None]
    sketch = prepare_sketches([ring() * light * 0.9 + 0.05], 128)
    clean = prepare_sketches([ring()], 128)
    assert sketch[clean == 1].min() > 0.8
    assert sketch[clean < -0.9].max() < -0.2


@pytest.mark.parametrize("levels", [True, False])
def test_faint_drawings_can_be_cropped(levels):
    drawing = 1 - 0.12 * (1 - ring(radius=40))
    black = prepare_sketches([drawing], 64, SketchConfig(crop=True, levels=levels))[0, 0] < 0.95
    assert black.any(dim=0).sum() > 48


@pytest.mark.parametrize("pen", [0.0, 1.0])
def test_transparent_drawings(pen):
    """Black or white strokes on nothing, whatever colour lies below the transparent part."""
    ink = 1 - ring()
    drawing = torch.cat([torch.full((256, 256, 3), pen), ink], dim=2)
    torch.testing.assert_close(prepare_sketches([drawing], 64), prepare_sketches([ring()], 64), atol=1e-5, rtol=0)


def test_masks_are_drawings_of_what_they_mark():
    mask = (1 - ring())[..., 0]
    expected = prepare_sketches([ring()], 64)
    for given in (mask, mask[None], [mask], [mask[None]]):
        torch.testing.assert_close(prepare_sketches(given, 64), expected)


def test_drawings_of_different_sizes_in_one_list():
    given = [ring()[None].expand(2, -1, -1, 3), ring(100, 30), (1 - ring(64, 20))[..., 0]]
    assert prepare_sketches(given, 32).shape == (4, 1, 32, 32)


@pytest.mark.parametrize(
    ("given", "said"),
    [
        ([], "no sketches"),
        (torch.ones(0, 64, 64, 3), "no sketches"),
        ([ring(), torch.ones(64, 64, 3)], "sketch 1 is blank"),
        ([ring(), ring(), torch.zeros(64, 64)], "sketch 2 is blank"),
        ([torch.full((64, 64, 3), float("nan"))], "sketch 0 contains"),
        ([ring(), torch.ones(0, 5, 1)], "sketch 1 is empty"),
        ([ring() * 255], "0 to 1"),
        ([torch.ones(5)], "expected"),
    ],
)
def test_unusable_sketches_are_named(given, said):
    with pytest.raises(ValueError, match=said):
        prepare_sketches(given, 64)


# ------------------------------------------------------------------------------------------------------------ files


def write_set(tmp_path, kind):
    """The same four photos, two of them in subfolders, beside things that are no photos."""
    files = {
        "b/0001.png": png(photo(1)),
        "a/x/0000.PNG": png(photo(0)),
        "2.png": png(photo(2, 30, 20)),
        "3.png": png(photo(3)[..., 0]),
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
    np.testing.assert_array_equal((loaded[2] * 255).round().numpy(), photo(0))
    photos = ImageSet(path, 24)
    assert len(photos) == 4 and photos.classes == ["", "", "x", "b"]
    torch.testing.assert_close(photos.batch([3])[0], torch.from_numpy(photo(1)).permute(2, 0, 1) / 127.5 - 1)
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


def test_sixteen_bit_and_turned_photos(tmp_path):
    Image.fromarray(np.full((4, 4), 32768, dtype=np.uint16)).save(tmp_path / "deep.png")
    assert load_images(tmp_path / "deep.png")[0].mean() == pytest.approx(0.5, abs=0.01)
    exif = Image.Exif()
    exif[0x0112] = 6
    Image.new("RGB", (20, 10)).save(tmp_path / "phone.jpg", exif=exif)
    assert load_images(tmp_path / "phone.jpg")[0].shape == (20, 10, 3)


def test_nvidia_data_set_zip(tmp_path):
    path = tmp_path / "nvidia.zip"
    labels = [["00000/img00000000.png", 3], ["00000/img00000001.png", 0]]
    with zipfile.ZipFile(path, "w") as archive:
        for k, (name, _) in enumerate(labels):
            archive.writestr(name, png(photo(k)))
        archive.writestr("dataset.json", json.dumps({"labels": labels}))
    assert ImageSet(path, 16).classes == ["3", "0"]
    with zipfile.ZipFile(path, "w") as archive:
        archive.writestr("00000/img00000000.png", png(photo(0)))
        archive.writestr("dataset.json", json.dumps({"labels": None}))
    assert ImageSet(path, 16).classes == ["00000"]


def test_every_tenth_of_each_folder_is_held_out():
    names = [f"{folder}/{k:03d}.png" for folder in "ba" for k in range(25)]
    training, held_out = datasets.hold_out(names)
    assert held_out == ["a/009.png", "a/019.png", "b/009.png", "b/019.png"]
    assert sorted(training + held_out) == sorted(names)


@pytest.mark.parametrize("kind", ["folder", "zip"])
@pytest.mark.parametrize("data", [b"not an image", b"", png(photo(5))[:200]])
def test_broken_files_are_named(tmp_path, kind, data):
    if kind == "folder":
        path = tmp_path / "set"
        path.mkdir()
        (path / "good.png").write_bytes(png(photo(0)))
        (path / "broken.png").write_bytes(data)
    else:
        path = tmp_path / "set.zip"
        with zipfile.ZipFile(path, "w") as archive:
            archive.writestr("good.png", png(photo(0)))
            archive.writestr("broken.png", data)
    for use in (load_images, lambda path: ImageSet(path, 16)):
        with pytest.raises(ValueError, match=r"broken\.png"):
            use(path)


def huge_png(width, height):
    """A valid header that claims an enormous picture, in 100 bytes."""
    chunks = [(b"IHDR", struct.pack(">IIBBBBB", width, height, 8, 0, 0, 0, 0)), (b"IDAT", zlib.compress(b"\0" * 9))]
    data = b"\x89PNG\r\n\x1a\n"
    for name, body in [*chunks, (b"IEND", b"")]:
        data += struct.pack(">I", len(body)) + name + body + struct.pack(">I", zlib.crc32(name + body))
    return data


@pytest.mark.parametrize("side", [10_000, 30_000])
def test_decompression_bombs_are_refused(tmp_path, side):
    (tmp_path / "bomb.png").write_bytes(huge_png(side, side))
    with warnings.catch_warnings():
        warnings.simplefilter("ignore", Image.DecompressionBombWarning)
        with pytest.raises(ValueError, match=rf"bomb\.png is too large.*({side} x {side}|{side * side})"):
            load_images(tmp_path)


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
        archive.writestr("a.png", png(photo(0)))
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
