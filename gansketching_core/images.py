"""Images as tensors: ComfyUI's IMAGE and MASK, resizing, grids, and reading and writing single files.

Inside this project images are [B,C,H,W] in -1..1. ComfyUI's IMAGE is [B,H,W,C] in 0..1; its MASK is [B,H,W] in 0..1,
1 where something is marked. Sketches have one channel, +1 is white paper.
"""

import io
from collections.abc import Iterator
from contextlib import contextmanager
from pathlib import Path
from typing import BinaryIO

import numpy as np
import torch
import torch.nn.functional as F
from einops import rearrange
from PIL import Image, ImageOps, UnidentifiedImageError
from torch import Tensor

FORMATS = ("PNG", "JPEG", "WEBP", "GIF", "BMP", "TIFF")  # Pillow knows more, some of which start other programs
MAX_PIXELS = 80_000_000  # of one image


def to_comfy(x: Tensor) -> Tensor:
    """[B,3 or 1,H,W] in -1..1 -> IMAGE [B,H,W,3] in 0..1, float32 on the CPU, clipped."""
    if x.ndim != 4 or x.shape[1] not in (1, 3):
        raise ValueError(f"images have shape {tuple(x.shape)}, expected [B,3,H,W] or [B,1,H,W]")
    x = x.detach().float().cpu().expand(-1, 3, -1, -1)
    return rearrange(((x + 1) / 2).clamp(0, 1), "b c h w -> b h w c").contiguous()


def from_comfy(image: Tensor) -> Tensor:
    """IMAGE [B,H,W,1 or 3 or 4] or MASK [B,H,W] or [H,W], in 0..1 -> [B,3,H,W] in -1..1.

    Transparent parts become white. What a mask marks (1) becomes black on white, as if drawn with a pen.
    """
    if image.ndim in (2, 3):
        image = 1 - rearrange(image, "... h w -> (...) h w 1")
    check_image(image, "the image")
    image = image.float().clamp(0, 1)
    if image.shape[3] == 4:
        image = composite_over(image, 1.0)
    return rearrange(image.expand(-1, -1, -1, 3), "b h w c -> b c h w").contiguous() * 2 - 1


def check_image(image: Tensor, name: str) -> None:
    """Raises ValueError unless `image` is an IMAGE [B,H,W,1 or 3 or 4] of numbers in about 0..1."""
    if image.ndim != 4 or image.shape[3] not in (1, 3, 4):
        raise ValueError(f"{name} has shape {tuple(image.shape)}, expected [B,H,W,C] with 1, 3 or 4 channels")
    if 0 in image.shape:
        raise ValueError(f"{name} is empty: its shape is {tuple(image.shape)}")
    if not image.is_floating_point():
        raise ValueError(f"{name} holds {image.dtype} values; give floats from 0 to 1 (divide bytes by 255)")
    if not torch.isfinite(image).all():
        raise ValueError(f"{name} contains values that are not numbers (NaN or infinity)")
    if image.max() > 2 or image.min() < -1:
        low, high = float(image.min()), float(image.max())
        raise ValueError(f"{name} has values from {low:g} to {high:g}, expected 0 to 1 (divide bytes by 255)")


def composite_over(image: Tensor, background: float) -> Tensor:
    """[...,4] (colour and opacity) on a background of one brightness -> [...,3]."""
    alpha = image[..., 3:]
    return image[..., :3] * alpha + background * (1 - alpha)


def resize(x: Tensor, size: int) -> Tensor:
    """[B,C,H,W] -> [B,C,size,size], bicubic with antialiasing (not clipped), differentiable."""
    if x.shape[2:] == (size, size):
        return x
    return F.interpolate(x, size=(size, size), mode="bicubic", antialias=True, align_corners=False)


def grid(x: Tensor, columns: int, *, gap: int = 2) -> Tensor:
    """Images [B,1 or 3,H,W] in -1..1 side by side on white -> [1,3,h,w]."""
    if len(x) == 0 or columns < 1:
        raise ValueError(f"a grid needs images and columns; got {len(x)} images and {columns} columns")
    x = F.pad(x.detach().float().cpu().expand(-1, 3, -1, -1), (0, gap, 0, gap), value=1.0)
    columns = min(columns, len(x))
    empty = -len(x) % columns  # tiles of the last row
    x = torch.cat([x, x.new_ones(empty, *x.shape[1:])])
    x = rearrange(x, "(rows columns) c h w -> 1 c (rows h) (columns w)", columns=columns)
    return x[:, :, : x.shape[2] - gap, : x.shape[3] - gap].contiguous()


def save_png(x: Tensor, path: str | Path) -> None:
    """Writes one image, [3 or 1,H,W] or [1,3 or 1,H,W] in -1..1, or an IMAGE [1,H,W,3] in 0..1, as a PNG file."""
    if x.ndim == 3:
        x = x[None]
    if len(x) != 1:
        raise ValueError(f"{len(x)} images given for one file; use grid() to put them side by side")
    image = x.float().clamp(0, 1) if x.shape[1] not in (1, 3) else to_comfy(x)
    path = Path(path)
    path.parent.mkdir(parents=True, exist_ok=True)
    Image.fromarray((image[0] * 255).round().byte().cpu().numpy()).save(path, format="PNG")


@contextmanager
def open_image(file: str | Path | BinaryIO, name: str) -> Iterator[Image.Image]:
    """Opens an image file of one of FORMATS with Pillow. `name` is what messages call it.

    Raises ValueError if it has too many pixels, and for anything that Pillow raises inside the with-block.
    """
    try:
        with Image.open(file, formats=FORMATS) as image:
            if image.width * image.height > MAX_PIXELS:
                raise Image.DecompressionBombError(f"{image.width} x {image.height} px")
            yield image
    except Image.DecompressionBombError as error:
        limit = f"{MAX_PIXELS // 10**6} megapixels"
        raise ValueError(f"{name} is too large ({error}); scale it to at most {limit}") from error
    except Exception as error:  # Pillow's decoders raise errors of many types on broken files
        kinds = ", ".join(FORMATS)
        reason = "" if isinstance(error, UnidentifiedImageError) else f" ({error})"  # which names a Python object
        raise ValueError(f"{name} is not a readable image{reason}; use an intact file ({kinds})") from error


def decode_image(data: bytes, name: str) -> Image.Image:
    """The image of an encoded file, upright and of mode L, RGB or RGBA. `name` is what messages call it."""
    with open_image(io.BytesIO(data), name) as image:
        return _plain_mode(ImageOps.exif_transpose(image))


def _plain_mode(image: Image.Image) -> Image.Image:
    if image.mode.startswith(("I", "F")):  # 16 bits per pixel, or floats from 0 to 1
        values = np.asarray(image, dtype=np.float64) / (65535 if image.mode.startswith("I") else 1)
        return Image.fromarray((values.clip(0, 1) * 255).round().astype(np.uint8))
    if image.mode in ("L", "1"):
        return image.convert("L")
    if "transparency" in image.info or image.mode in ("LA", "PA", "RGBA", "La", "RGBa"):
        return image.convert("RGBA")
    return image.convert("RGB")
