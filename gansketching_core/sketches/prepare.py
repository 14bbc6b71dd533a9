"""Drawings of any kind and size become the square sketches that a model is customised with."""

import math
from collections.abc import Iterator, Sequence
from typing import Literal

import numpy as np
import torch
import torch.nn.functional as F
from einops import rearrange
from scipy import ndimage
from torch import Tensor

from ..images import check_image, composite_over, resize
from ..options import Options, option
from .strokes import redraw, stroke_width

WORKING_SIDE = 1024  # strokes are measured and redrawn at this many pixels at most
PHOTO_SIDE = 128  # pixels at which colours are looked at
PHOTO_CHROMA = 0.08  # difference in colour from the paper
PHOTO_PEN = 0.1  # width of the widest pen, as a share of the side
PHOTO_AREA = 0.06  # share of a picture that may have other colours than the paper, in areas wider than that pen
MIN_CONTRAST = 0.08  # of the darkest line with the paper, and of a line with the grain of the paper


class SketchConfig(Options):
    """How drawings become square sketches, black on white, that a model is customised with."""

    invert: Literal["auto", "never", "always"] = option(
        "auto",
        "Turn white lines on black into black on white. auto: if the border of the picture is dark.",
        advanced=True,
    )
    levels: bool = option(
        True,
        "Make the paper pure white, also where a photo of it is in shade, and the darkest line black.",
        advanced=True,
    )
    crop: bool = option(False, "Crop to the drawing, so that it fills the square.")
    margin: float = option(
        0.1, "White margin around a cropped drawing, as a share of its side.", ge=0, le=1, advanced=True
    )
    strokes: Literal["match", "redraw", "keep"] = option(
        "match",
        "Width of the strokes. match: redrawn as wide as the photo-to-sketch network draws samples of the model, so "
        "that only shapes differ. redraw: redrawn with stroke_width. keep: as drawn.",
    )
    stroke_width: float = option(
        0.02, "Width of the pen for redraw, as a share of the side of the sketch.", gt=0, le=0.2, advanced=True
    )


def prepare_sketches(
    images: Tensor | Sequence[Tensor], size: int, config: SketchConfig | None = None, *, reference: Tensor | None = None
) -> Tensor:
    """Turns drawings of any size and shape into sketches [B,1,size,size] in -1..1, paper +1.

    Drawings are letterboxed, not stretched. Strokes thinner than a pixel of the result are drawn one pixel wide, so
    that shrinking does not wash them out.

    Args:
        images: IMAGE [B,H,W,1 or 3 or 4] or MASK [B,H,W] in 0..1, or a list of these or of single images [H,W,C] or
            masks [H,W]; a 3-dimensional tensor with 1, 3 or 4 as its last size is a single image.
        config: by default `SketchConfig()`, which needs `reference`.
        reference: [N,1,R,R] in -1..1, line drawings of a model's samples (`latents.sampling.sample_drawings`), whose
            stroke width the sketches get with `strokes="match"`.
    """
    config = config or SketchConfig()
    if not 8 <= size <= 4096:
        raise ValueError(f"sketch size {size} is outside 8 to 4096")
    drawings = list(_single_images(images))
    if not drawings:
        raise ValueError("no sketches given; draw or load at least one")
    pen_width = 0.0  # keep the strokes
    if config.strokes == "redraw":
        pen_width = config.stroke_width
    elif config.strokes == "match":
        if reference is None:
            raise ValueError(
                'strokes "match" needs line drawings of the model\'s samples: give a model and a photo-to-sketch '
                'network (in Python: reference=sample_drawings(model, photosketch)), or choose "redraw" or "keep"'
            )
        pen_width = min(stroke_width(reference), 0.2)
    return torch.stack([_prepare(d, size, config, pen_width, f"sketch {k}") for k, d in enumerate(drawings, 1)])


def _single_images(images: Tensor | Sequence[Tensor]) -> Iterator[Tensor]:
    """Yields [H,W,C]; masks become black on white."""
    if not isinstance(images, Tensor):
        for image in images:
            yield from _single_images(image)
    elif images.ndim == 4:
        yield from images
    elif images.ndim == 3 and images.shape[2] in (1, 3, 4):
        yield images
    elif images.ndim in (2, 3):
        yield from rearrange(1 - images, "... h w -> (...) h w 1")
    else:
        raise ValueError(f"a sketch has shape {tuple(images.shape)}, expected [B,H,W,C], [H,W,C], [B,H,W] or [H,W]")


def _prepare(image: Tensor, size: int, config: SketchConfig, pen_width: float, name: str) -> Tensor:
    """One drawing [H,W,C] in 0..1 -> [1,size,size] in -1..1."""
    check_image(image[None], name)
    image = image.detach().float().cpu().clamp(0, 1)
    if _has_coloured_areas(image):
        raise ValueError(
            f"{name} looks like a photo or a coloured picture, not like a line drawing: turn it into one first, with "
            "PhotoSketch (on the command line, gansketching sketch), or draw its outlines"
        )
    ink = _ink(image, config, name)
    if config.crop:
        ink = _crop(ink, config.margin)
    ink = _letterbox(ink)
    limit = max(WORKING_SIDE, size)
    working = min(max(4 * size, 256), limit) if pen_width else min(len(ink), limit)
    if len(ink) > working:  # strokes are widened first, so that they stay as dark
        ink = ndimage.maximum_filter(ink, size=math.ceil(len(ink) / working))
    ink = _resize(ink, working)
    pixel = working / size  # of the result
    if pen_width:
        ink = redraw(ink, max(pen_width * working, pixel))
    elif pixel > 1:
        ink = np.maximum(ink, redraw(ink, pixel))
    return 1 - 2 * torch.from_numpy(_resize(ink, size))[None]


def _has_coloured_areas(image: Tensor) -> bool:
    """Whether [H,W,C] in 0..1 has areas, wider than a pen's strokes, in another colour than the paper."""
    if image.shape[2] == 1:
        return False
    colours = composite_over(image, 1.0) if image.shape[2] == 4 else image
    every = max(1, max(colours.shape[:2]) // PHOTO_SIDE)
    colours = colours[::every, ::every]
    chroma = (colours - colours.mean(dim=2, keepdim=True)).numpy()
    paper = np.median(_border(chroma), axis=0)
    other = np.abs(chroma - paper).max(axis=2) > PHOTO_CHROMA
    areas = ndimage.binary_erosion(other, iterations=max(1, round(PHOTO_PEN / 2 * max(other.shape))))
    return float(areas.mean()) > PHOTO_AREA


def _ink(image: Tensor, config: SketchConfig, name: str) -> np.ndarray:
    """[H,W,C] -> [H,W], from 0 for paper to 1 for ink."""
    for background in (1.0, 0.0):  # white lines on a transparent ground show only on black
        grey = _grey(image, background)
        if config.invert == "always" or (config.invert == "auto" and _has_dark_ground(grey)):
            grey = 1 - grey
        paper = float(grey.max()) if _has_dark_ground(grey) else float(np.median(_border(grey)))
        contrast = paper - float(grey.min())
        if contrast >= MIN_CONTRAST:
            break
    else:
        raise ValueError(
            f"{name} is blank: no line on it differs from the paper; draw something or leave it out. If it comes from "
            "a picture with a transparent background, give its MASK instead of the IMAGE"
        )
    if not config.levels:
        return 1 - grey
    ink = (_local_paper(grey, paper) - grey) / contrast
    return np.where(ink < MIN_CONTRAST, 0, ink.clip(0, 1))  # without the grain of the paper


def _grey(image: Tensor, background: float) -> np.ndarray:
    """[H,W,C] -> brightness [H,W]; transparent parts show the background."""
    from kornia.color import rgb_to_grayscale

    colours = composite_over(image, background) if image.shape[2] == 4 else image
    if colours.shape[2] == 1:
        return colours[..., 0].numpy()
    return rgb_to_grayscale(rearrange(colours, "h w c -> c h w"))[0].numpy()


def _border(grey: np.ndarray) -> np.ndarray:
    """Values [N] or [N,C] along the border of [H,W] or [H,W,C].

    The border is 6% of the side wide, so that a thin frame around the paper is a minority of it.
    """
    width = max(1, round(0.06 * min(grey.shape[:2])))
    inner = np.zeros(grey.shape[:2], dtype=bool)
    inner[width:-width, width:-width] = True
    return grey[~inner]


def _has_dark_ground(grey: np.ndarray) -> bool:
    level = float(np.median(_border(grey)))
    return bool(level < 0.5 and grey.max() - level > level - grey.min())


def _local_paper(grey: np.ndarray, paper: float) -> np.ndarray | float:
    """Brightness of the paper at each pixel [H,W] if a photo of it is lit unevenly; else `paper`."""
    low, high = np.percentile(_border(grey), (25, 75))
    if high - low < 0.03:
        return paper
    coarse = F.interpolate(torch.from_numpy(grey)[None, None], size=(64, 64), mode="area")[0, 0].numpy()
    light = ndimage.percentile_filter(coarse, 80, size=17, mode="nearest")
    light = ndimage.gaussian_filter(light, 4, mode="nearest").clip(0.5 * paper)  # a large black area is not paper
    return F.interpolate(torch.from_numpy(light)[None, None], size=grey.shape, mode="bilinear")[0, 0].numpy()


def _crop(ink: np.ndarray, margin: float) -> np.ndarray:
    """The inked part of [H,W] with a margin around it, a share of the longer side."""
    is_ink = ink > 0.25 * ink.max()
    rows, columns = np.flatnonzero(is_ink.any(axis=1)), np.flatnonzero(is_ink.any(axis=0))
    ink = ink[rows[0] : rows[-1] + 1, columns[0] : columns[-1] + 1]
    return np.pad(ink, round(margin * max(ink.shape)))


def _letterbox(ink: np.ndarray) -> np.ndarray:
    """[H,W] in the middle of a blank square."""
    height, width = ink.shape
    side = max(height, width)
    top, left = (side - height) // 2, (side - width) // 2
    return np.pad(ink, ((top, side - height - top), (left, side - width - left)))


def _resize(ink: np.ndarray, side: int) -> np.ndarray:
    ink = np.ascontiguousarray(ink, dtype=np.float32)
    return resize(torch.from_numpy(ink)[None, None], side)[0, 0].clamp(0, 1).numpy()
