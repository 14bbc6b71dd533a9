"""Images as tensors, and what becomes of image files that are unusual, broken or hostile."""

from __future__ import annotations

import io
import struct
import warnings
import zlib
from pathlib import Path

import numpy as np
import pytest
import torch
from image_files import POSTSCRIPT, broken_animation, encoded, noise
from mutations import mutated
from PIL import EpsImagePlugin, Image

from gansketching_core import images
from gansketching_core.datasets import load_images
from gansketching_core.images import decode_image, from_comfy, to_comfy


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
def test_unusable_tensors_are_refused_with_what_is_wrong(image, said):
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


# ------------------------------------------------------------------------------------------------------------ files


@pytest.mark.parametrize("format", images.FORMATS)
def test_every_allowed_format_is_read(format):
    pixels = np.full((8, 8, 3), 200, dtype=np.uint8)
    assert np.abs(np.asarray(decode_image(encoded(pixels, format), "a")).astype(int) - 200).max() <= 4


def test_sixteen_bit_and_turned_photos(tmp_path):
    Image.fromarray(np.full((4, 4), 32768, dtype=np.uint16)).save(tmp_path / "deep.png")
    assert load_images(tmp_path / "deep.png")[0].mean() == pytest.approx(0.5, abs=0.01)
    exif = Image.Exif()
    exif[0x0112] = 6
    Image.new("RGB", (20, 10)).save(tmp_path / "phone.jpg", exif=exif)
    assert load_images(tmp_path / "phone.jpg")[0].shape == (20, 10, 3)


def test_postscript_called_png_starts_no_program(tmp_path, monkeypatch):
    started = []
    monkeypatch.setattr(EpsImagePlugin, "Ghostscript", lambda *args, **options: started.append(args))
    (tmp_path / "sketch.png").write_bytes(POSTSCRIPT)
    with pytest.raises(ValueError, match=r"sketch\.png is not a readable image; .*PNG, JPEG"):
        load_images(tmp_path)
    assert not started


def test_no_other_code_opens_files_with_pillow():
    root = Path(images.__file__).parents[1]
    files = [*root.glob("gansketching_core/**/*.py"), *root.glob("nodes/**/*.py")]
    assert [file.name for file in files if "Image.open(" in file.read_text("utf-8")] == ["images.py"]


def test_a_broken_animation_is_refused():
    file = io.BytesIO(broken_animation())
    with pytest.raises(ValueError, match=r"a\.png is not a readable image"), images.open_image(file, "a.png") as image:
        image.seek(1)


@pytest.mark.filterwarnings("ignore")  # Pillow's, of damaged metadata
@pytest.mark.parametrize("format", images.FORMATS)
def test_mutated_files_are_read_or_refused(format):
    data = encoded(noise(0, 40, 40), format)
    for seed in range(60):
        try:
            decode_image(mutated(data, seed), "a")
        except ValueError as error:
            assert str(error).startswith("a is "), seed


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
