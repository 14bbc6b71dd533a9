"""Encoded image files for tests."""

from __future__ import annotations

import io

import numpy as np
from PIL import Image

POSTSCRIPT = b"%!PS-Adobe-3.0 EPSF-3.0\n%%BoundingBox: 0 0 8 8\n%%EndComments\nshowpage\n%%EOF\n"


def noise(seed: int, height: int = 24, width: int = 24) -> np.ndarray:
    """Random colours, bytes [height,width,3]."""
    return np.random.default_rng(seed).integers(0, 256, (height, width, 3), dtype=np.uint8)


def encoded(pixels, format: str = "PNG", **options) -> bytes:
    """Bytes [H,W] or [H,W,3] as an image file."""
    buffer = io.BytesIO()
    Image.fromarray(np.asarray(pixels, dtype=np.uint8)).save(buffer, format, **options)
    return buffer.getvalue()


def broken_animation() -> bytes:
    """An animated PNG whose second frame is numbered wrongly, which Pillow reports as a SyntaxError."""
    frames = [Image.fromarray(noise(seed)) for seed in range(2)]
    buffer = io.BytesIO()
    frames[0].save(buffer, "PNG", save_all=True, append_images=frames[1:])
    data = bytearray(buffer.getvalue())
    data[data.index(b"fdAT") + 7] ^= 1
    return bytes(data)
