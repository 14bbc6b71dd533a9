"""Images in and out: ComfyUI's IMAGE and MASK, files, folders and zips, and the preparation of sketches.

Inside this project images are [B,C,H,W] in -1..1. ComfyUI's IMAGE is [B,H,W,C] in 0..1; its MASK is [B,H,W] in 0..1, 1
where something is drawn. Sketches have one channel, +1 is white paper.
"""

from __future__ import annotations

import hashlib
import io
import json
import math
import zipfile
from collections import defaultdict
from collections.abc import Iterable, Iterator, Sequence
from pathlib import Path, PurePosixPath
from typing import Literal

import numpy as np
import torch
import torch.nn.functional as F
from PIL import Image, ImageOps
from pydantic import BaseModel, ConfigDict, Field
from scipy import ndimage
from torch import Tensor

from .strokes import redraw

IMAGE_ENDINGS = (".png", ".jpg", ".jpeg", ".webp", ".bmp", ".gif", ".tif", ".tiff")
MAX_PIXELS = 80_000_000  # of one image
MAX_FILE_BYTES = 256 * 2**20  # of one image file, or one entry of a zip once unpacked
LUMINANCE = (0.299, 0.587, 0.114)
WORKING_SIDE = 1024  # strokes are measured and redrawn at this many pixels at most


# -------------------------------------------------------------------------------------------------- tensors of ComfyUI


def to_comfy(x: Tensor) -> Tensor:
    """[B,3 or 1,H,W] in -1..1 -> IMAGE [B,H,W,3] in 0..1, float32 on the CPU, clipped."""
    if x.ndim != 4 or x.shape[1] not in (1, 3):
        raise ValueError(f"images have shape {tuple(x.shape)}, expected [B,3,H,W] or [B,1,H,W]")
    x = x.detach().float().cpu().expand(-1, 3, -1, -1)
    return ((x + 1) / 2).clamp(0, 1).permute(0, 2, 3, 1).contiguous()


def from_comfy(image: Tensor) -> Tensor:
    """IMAGE [B,H,W,1 or 3 or 4] or MASK [B,H,W] or [H,W], in 0..1 -> [B,3,H,W] in -1..1.

    Transparent parts become white. What a mask marks (1) becomes black on white, as if drawn with a pen.
    """
    if image.ndim in (2, 3):
        image = 1 - image.reshape(-1, *image.shape[-2:], 1)
    _check_image(image, "the image")
    image = image.float().clamp(0, 1)
    if image.shape[3] == 4:
        image = _over(image, 1.0)
    return image.expand(-1, -1, -1, 3).permute(0, 3, 1, 2).contiguous() * 2 - 1


def _check_image(image: Tensor, name: str) -> None:
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


def _over(image: Tensor, background: float) -> Tensor:
    """[...,4] over a plain background -> [...,3]."""
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
    rows = math.ceil(len(x) / columns)
    x = torch.cat([x, x.new_ones(rows * columns - len(x), *x.shape[1:])])
    x = x.reshape(rows, columns, *x.shape[1:]).permute(2, 0, 3, 1, 4).flatten(3).flatten(1, 2)
    return x[None, :, : x.shape[1] - gap, : x.shape[2] - gap].contiguous()


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


# ------------------------------------------------------------------------------------------------------------ sketches


class SketchConfig(BaseModel):
    """How drawings become the white square sketches that a model is customised with."""

    model_config = ConfigDict(frozen=True, extra="forbid")

    invert: Literal["auto", "never", "always"] = Field(
        "auto",
        description="White lines on black are turned to black on white: auto when the border of the picture is dark.",
    )
    levels: bool = Field(
        True, description="Make the paper pure white, also where a photo of it is in shade, and the darkest line black."
    )
    crop: bool = Field(False, description="Crop to what is drawn, so that the drawing fills the square.")
    margin: float = Field(0.1, ge=0, le=1, description="White margin around a cropped drawing, as a share of its side.")
    stroke_width: float = Field(
        0.0,
        ge=0,
        le=0.2,
        description="Redraw all strokes with a pen of this width, as a share of the side (0.02 suits the bundled "
        "sketcher); 0 keeps them as drawn.",
    )


def prepare_sketches(images: Tensor | Sequence[Tensor], size: int, config: SketchConfig | None = None) -> Tensor:
    """Drawings of any size and shape -> sketches [B,1,size,size] in -1..1, paper +1.

    images: IMAGE [B,H,W,1 or 3 or 4] or MASK [B,H,W] in 0..1, or a list of such or of single images [H,W,C] or masks
    [H,W]; a 3-dimensional tensor with 1, 3 or 4 at its end is a single image. Drawings are letterboxed, not stretched.
    Strokes thinner than a pixel of the result are drawn one pixel wide, so that shrinking does not wash them out.
    """
    config = config or SketchConfig()
    if not 8 <= size <= 4096:
        raise ValueError(f"sketch size {size} is outside 8 to 4096")
    drawings = list(_single_images(images))
    if not drawings:
        raise ValueError("no sketches given; draw or load at least one")
    return torch.stack([_prepare(drawing, size, config, f"sketch {k}") for k, drawing in enumerate(drawings)])


def _single_images(images: Tensor | Sequence[Tensor]) -> Iterator[Tensor]:
    """Yields [H,W,C]; masks become black on white."""
    if not isinstance(images, Tensor):
        for image in images:
            yield from _single_images(image)
    elif images.ndim == 4:
        yield from images
    elif images.ndim == 3 and images.shape[2] in (1, 3, 4):
        yield images
    elif images.ndim == 3:
        yield from (1 - images)[..., None]
    elif images.ndim == 2:
        yield (1 - images)[..., None]
    else:
        raise ValueError(f"a sketch has shape {tuple(images.shape)}, expected [B,H,W,C], [H,W,C], [B,H,W] or [H,W]")


def _prepare(image: Tensor, size: int, config: SketchConfig, name: str) -> Tensor:
    """One drawing [H,W,C] in 0..1 -> [1,size,size] in -1..1."""
    _check_image(image[None], name)
    image = image.detach().float().cpu().clamp(0, 1)
    ink = _ink(image, config, name)
    if config.crop:
        ink = _crop(ink, config.margin)
    side = max(ink.shape)
    top, left = (side - ink.shape[0]) // 2, (side - ink.shape[1]) // 2
    ink = np.pad(ink, ((top, side - ink.shape[0] - top), (left, side - ink.shape[1] - left)))
    limit = max(WORKING_SIDE, size)
    working = min(max(4 * size, 256), limit) if config.stroke_width else min(side, limit)
    ink = _scale(ink, working)
    pixel = working / size  # of the result
    if config.stroke_width:
        ink = redraw(ink, max(config.stroke_width * working, pixel))
    elif pixel > 1:
        ink = np.maximum(ink, redraw(ink, pixel))
    ink = resize(torch.from_numpy(np.ascontiguousarray(ink, dtype=np.float32))[None, None], size)
    return 1 - 2 * ink[0].clamp(0, 1)


def _ink(image: Tensor, config: SketchConfig, name: str) -> np.ndarray:
    """[H,W,C] -> [H,W], 0 where there is paper, up to 1 where there is ink."""
    backgrounds = (1.0, 0.0) if image.shape[2] == 4 and config.invert == "auto" else (1.0,)
    for background in backgrounds:  # white lines on a transparent ground show on black only
        colours = _over(image, background) if image.shape[2] == 4 else image
        grey = (colours * colours.new_tensor(LUMINANCE)).sum(dim=2) if colours.shape[2] == 3 else colours[..., 0]
        grey = grey.numpy()
        if config.invert == "always" or (config.invert == "auto" and _has_dark_ground(grey)):
            grey = 1 - grey
        paper = float(grey.max()) if _has_dark_ground(grey) else float(np.median(_border(grey)))
        contrast = paper - float(grey.min())
        if contrast >= 0.08:
            break
    else:
        raise ValueError(f"{name} is blank: no line on it differs from the paper; draw something or leave it out")
    if not config.levels:
        return 1 - grey
    ink = (_local_paper(grey, paper) - grey) / contrast
    return np.where(ink < 0.08, 0, ink.clip(0, 1))  # without the paper's grain


def _border(grey: np.ndarray) -> np.ndarray:
    """Values along the border, 6% of the side wide, so that a thin frame around the paper is outvoted."""
    width = max(1, round(0.06 * min(grey.shape)))
    inner = np.zeros(grey.shape, dtype=bool)
    inner[width:-width, width:-width] = True
    return grey[~inner]


def _has_dark_ground(grey: np.ndarray) -> bool:
    level = float(np.median(_border(grey)))
    return bool(level < 0.5 and grey.max() - level > level - grey.min())


def _local_paper(grey: np.ndarray, paper: float) -> np.ndarray | float:
    """Brightness of the paper at every pixel [H,W], where a photo of it is lit unevenly; else `paper`."""
    low, high = np.percentile(_border(grey), (25, 75))
    if high - low < 0.03:
        return paper
    coarse = F.interpolate(torch.from_numpy(grey)[None, None], size=(64, 64), mode="area")[0, 0].numpy()
    light = ndimage.percentile_filter(coarse, 80, size=17, mode="nearest")
    light = ndimage.gaussian_filter(light, 4, mode="nearest").clip(0.5 * paper)  # a large black area is no paper
    return F.interpolate(torch.from_numpy(light)[None, None], size=grey.shape, mode="bilinear")[0, 0].numpy()


def _crop(ink: np.ndarray, margin: float) -> np.ndarray:
    """The drawn part of [H,W] with a margin around it, a share of the longer side."""
    rows, columns = (np.flatnonzero((ink > 0.25 * ink.max()).any(axis=axis)) for axis in (1, 0))
    ink = ink[rows[0] : rows[-1] + 1, columns[0] : columns[-1] + 1]
    return np.pad(ink, round(margin * max(ink.shape)))


def _scale(ink: np.ndarray, side: int) -> np.ndarray:
    """Square ink to side x side; when shrinking, strokes are widened first so that they stay as dark."""
    factor = len(ink) / side
    if factor > 1:
        ink = ndimage.maximum_filter(ink, size=math.ceil(factor))
    ink = resize(torch.from_numpy(np.ascontiguousarray(ink, dtype=np.float32))[None, None], side)
    return ink[0, 0].clamp(0, 1).numpy()


# --------------------------------------------------------------------------------------------------------------- files


def image_names(path: str | Path) -> list[str]:
    """Sorted names of the images in a folder or zip, subfolders included ("banana/0001.png"), or of one file."""
    path = Path(path)
    if path.is_dir():
        names = [file.relative_to(path).as_posix() for file in path.rglob("*") if file.is_file()]
    elif not path.is_file():
        raise ValueError(f"{path} does not exist")
    elif zipfile.is_zipfile(path):
        with zipfile.ZipFile(path) as archive:
            names = archive.namelist()
    else:
        return [path.name]
    found = sorted(n for n in names if n.lower().endswith(IMAGE_ENDINGS) and not _is_hidden(n))
    if not found:
        raise ValueError(f"{path} holds no images; supported are {', '.join(IMAGE_ENDINGS)}")
    return found


def _is_hidden(name: str) -> bool:
    return any(part.startswith((".", "__MACOSX")) for part in PurePosixPath(name).parts)


def hold_out(names: Iterable[str]) -> tuple[list[str], list[str]]:
    """Names for training and names for evaluation: every tenth of each folder, in order of name, is held out."""
    folders: dict[str, list[str]] = defaultdict(list)
    for name in sorted(names):
        folders[name.rpartition("/")[0]].append(name)
    training = [n for members in folders.values() for k, n in enumerate(members) if k % 10 != 9]
    held_out = [n for members in folders.values() for k, n in enumerate(members) if k % 10 == 9]
    return training, held_out


def kind_of(name: str) -> str:
    """The kind of a picture, as apple of apple_red/0001.png: its folder's name up to the first _."""
    return PurePosixPath(name).parent.name.split("_")[0]


def open_images(path: str | Path, names: Iterable[str] | None = None) -> Iterator[tuple[str, Image.Image]]:
    """Yields (name, decoded Pillow image of mode L, RGB or RGBA) of a file, folder or zip; nothing is unpacked to disk.

    names: some of image_names(path), in the wanted order; all of them by default.
    """
    path = Path(path)
    names = image_names(path) if names is None else names
    if path.is_dir():
        for name in names:
            yield name, _decode(_read_file(path / name), str(path / name))
    elif zipfile.is_zipfile(path):
        with zipfile.ZipFile(path) as archive:
            for name in names:
                yield name, _decode(_read_entry(archive, name, f"{path}/{name}"), f"{path}/{name}")
    else:
        for name in names:
            yield name, _decode(_read_file(path), str(path))


def _read_file(path: Path) -> bytes:
    _check_bytes(path.stat().st_size, str(path))
    return path.read_bytes()


def _read_entry(archive: zipfile.ZipFile, name: str, label: str) -> bytes:
    _check_bytes(archive.getinfo(name).file_size, label)
    try:
        with archive.open(name) as file:
            return file.read(MAX_FILE_BYTES)
    except (zipfile.BadZipFile, RuntimeError, NotImplementedError, OSError, EOFError) as error:
        raise ValueError(f"{label} cannot be unpacked ({error}); make the zip again, without a password") from error


def _check_bytes(count: int, label: str) -> None:
    if count > MAX_FILE_BYTES:
        raise ValueError(f"{label} is {count / 2**20:.0f} MiB, more than the {MAX_FILE_BYTES // 2**20} MiB allowed")


def _decode(data: bytes, label: str) -> Image.Image:
    try:
        with Image.open(io.BytesIO(data)) as image:
            width, height = image.size
            if width * height <= MAX_PIXELS:
                image = ImageOps.exif_transpose(image)
                return _plain_mode(image)
    except Image.DecompressionBombError as error:
        raise ValueError(f"{label} is too large ({error}); scale it down") from error
    except Exception as error:  # Pillow's decoders raise anything on broken files
        raise ValueError(f"{label} is not a readable image ({error}); it may be truncated or corrupt") from error
    raise ValueError(
        f"{label} is too large, {width} x {height} px; scale it to at most {MAX_PIXELS // 10**6} megapixels"
    )


def _plain_mode(image: Image.Image) -> Image.Image:
    if image.mode.startswith(("I", "F")):  # 16 bits a pixel, or floats from 0 to 1
        values = np.asarray(image, dtype=np.float64) / (65535 if image.mode.startswith("I") else 1)
        return Image.fromarray((values.clip(0, 1) * 255).round().astype(np.uint8))
    if image.mode in ("L", "1"):
        return image.convert("L")
    if "transparency" in image.info or image.mode in ("LA", "PA", "RGBA", "La", "RGBa"):
        return image.convert("RGBA")
    return image.convert("RGB")


def load_images(path: str | Path, names: Iterable[str] | None = None) -> list[Tensor]:
    """A file, folder or zip -> list of [H,W,C] in 0..1, C = 1 (grey), 3 or 4 (with alpha). For large sets: ImageSet."""
    arrays = (np.array(image) for _, image in open_images(path, names))
    return [torch.from_numpy(a.reshape(*a.shape[:2], -1)).float() / 255 for a in arrays]


class ImageSet:
    """Photos in memory as bytes, square at one resolution: cropped about the centre, transparent parts white.

    source: a folder, zip (NVIDIA's data set zips too) or file, or an IMAGE [B,H,W,C] in 0..1.
    names [N]: of the files; `names` as an argument selects some. classes [N]: the label from a zip's dataset.json,
    else the name of the folder.
    """

    def __init__(self, source: str | Path | Tensor, resolution: int, *, names: Sequence[str] | None = None):
        if isinstance(source, Tensor):
            photos = (from_comfy(source) + 1) / 2
            side = min(photos.shape[2:])
            top, left = ((length - side) // 2 for length in photos.shape[2:])
            photos = resize(photos[:, :, top : top + side, left : left + side], resolution)
            self.data = (photos.clamp(0, 1) * 255).round().byte().cpu()
            self.names, self.classes = [f"image {k}" for k in range(len(photos))], [""] * len(photos)
            return
        self.names = image_names(source) if names is None else list(names)
        if not self.names:
            raise ValueError(f"no images of {source} were selected")
        self.data = torch.empty(len(self.names), 3, resolution, resolution, dtype=torch.uint8)
        for k, (_, image) in enumerate(open_images(source, self.names)):
            self.data[k] = torch.from_numpy(np.array(_square(image, resolution))).permute(2, 0, 1)
        labels = _dataset_labels(Path(source))
        self.classes = [labels.get(name, PurePosixPath(name).parent.name) for name in self.names]

    def __len__(self) -> int:
        return len(self.data)

    def batch(self, indices: Tensor | Sequence[int]) -> Tensor:
        """-> [B,3,R,R] in -1..1."""
        return self.data[torch.as_tensor(indices, dtype=torch.long)].float() / 127.5 - 1

    def content_hash(self) -> str:
        """SHA-256 of the pixels and their shape, hexadecimal."""
        return hashlib.sha256(str(tuple(self.data.shape)).encode() + self.data.numpy().tobytes()).hexdigest()


def _square(image: Image.Image, resolution: int) -> Image.Image:
    if image.mode == "RGBA":
        image = Image.alpha_composite(Image.new("RGBA", image.size, "white"), image)
    return ImageOps.fit(image.convert("RGB"), (resolution, resolution), Image.Resampling.LANCZOS)


def _dataset_labels(path: Path) -> dict[str, str]:
    """{name: label} of a data set in NVIDIA's layout, whose dataset.json holds {"labels": [[name, class], ...]}."""
    text = None
    if path.is_dir() and (path / "dataset.json").is_file():
        text = _read_file(path / "dataset.json")
    elif path.is_file() and zipfile.is_zipfile(path):
        with zipfile.ZipFile(path) as archive:
            if "dataset.json" in archive.namelist():
                text = _read_entry(archive, "dataset.json", f"{path}/dataset.json")
    if text is None:
        return {}
    try:
        return {str(name): str(label) for name, label in json.loads(text).get("labels") or []}
    except (ValueError, TypeError, AttributeError) as error:
        raise ValueError(f"dataset.json of {path} is not in NVIDIA's layout ({error})") from error
