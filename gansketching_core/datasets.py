"""Sets of images: folders and zips, names and classes, and which images are held out for evaluation."""

import hashlib
import json
import re
import zipfile
from collections import Counter
from collections.abc import Iterable, Iterator, Sequence
from pathlib import Path, PurePosixPath

import numpy as np
import torch
from einops import rearrange
from PIL import Image, ImageOps
from torch import Tensor

from .images import decode_image, from_comfy, resize

IMAGE_ENDINGS = (".png", ".jpg", ".jpeg", ".webp", ".bmp", ".gif", ".tif", ".tiff")
MIN_SIDE = 16  # pixels, of an IMAGE
MAX_FILE_BYTES = 256 * 2**20  # of one image file, or one entry of a zip once unpacked


def image_names(path: str | Path) -> list[str]:
    """Sorted names of the images in a folder or zip, subfolders included ("banana/0001.png"), or of a single file."""
    path = Path(path)
    if not path.exists():
        raise ValueError(f"{path} does not exist")
    if path.is_dir():
        names = [file.relative_to(path).as_posix() for file in path.rglob("*") if file.is_file()]
    elif zipfile.is_zipfile(path):
        with _open_zip(path) as archive:
            names = archive.namelist()
    else:
        return [path.name]
    hidden = re.compile(r"(^|/)(\.[^/]|__MACOSX)")
    names = sorted(name for name in names if name.lower().endswith(IMAGE_ENDINGS) and not hidden.search(name))
    if not names:
        raise ValueError(f"{path} holds no images; supported are {', '.join(IMAGE_ENDINGS)}")
    return names


def hold_out(names: Iterable[str]) -> tuple[list[str], list[str]]:
    """Splits names into those for training and those for evaluation: in order of name, every tenth of each folder."""
    training, held_out = [], []
    counts = Counter()
    for name in sorted(names):
        folder = PurePosixPath(name).parent
        counts[folder] += 1
        (training if counts[folder] % 10 else held_out).append(name)
    return training, held_out


def kind_of(name: str) -> str:
    """The kind that an image shows, by its folder's name up to the first "_": apple of apple_red/0001.png."""
    return PurePosixPath(name).parent.name.split("_")[0]


def open_images(path: str | Path, names: Iterable[str] | None = None) -> Iterator[tuple[str, Image.Image]]:
    """Yields (name, Pillow image of mode L, RGB or RGBA) of the given image_names(path), by default all of them."""
    names = image_names(path) if names is None else list(names)
    for name, (label, data) in zip(names, _read_files(Path(path), names)):
        yield name, decode_image(data, label)


def _read_files(path: Path, names: Iterable[str]) -> Iterator[tuple[str, bytes]]:
    """Yields (what messages call it, bytes) of each file in a folder or zip; of `path` itself if it is neither."""
    if not zipfile.is_zipfile(path):
        for name in names:
            file = path / name if path.is_dir() else path
            _check_bytes(file.stat().st_size, file)
            yield str(file), file.read_bytes()
        return
    with _open_zip(path) as archive:
        for name in names:
            label = f"{path}/{name}"
            _check_bytes(archive.getinfo(name).file_size, label)
            try:
                with archive.open(name) as file:
                    data = file.read(MAX_FILE_BYTES)
            except Exception as error:  # zipfile and its decompressors raise errors of many types on broken files
                raise ValueError(
                    f"{label} cannot be unpacked ({error}); make the zip again, without a password"
                ) from error
            yield label, data


def _open_zip(path: Path) -> zipfile.ZipFile:
    try:
        return zipfile.ZipFile(path)
    except Exception as error:  # of many types, too
        raise ValueError(f"{path} is a damaged zip ({error}); make it again") from error


def _check_bytes(count: int, name: str | Path) -> None:
    if count > MAX_FILE_BYTES:
        raise ValueError(f"{name} is {count / 2**20:.0f} MiB, more than the {MAX_FILE_BYTES // 2**20} MiB allowed")


def load_images(path: str | Path, names: Iterable[str] | None = None) -> list[Tensor]:
    """A file, folder or zip -> list of [H,W,C] in 0..1, C = 1 (grey), 3 or 4 (with alpha). For large sets: ImageSet."""
    arrays = [np.atleast_3d(np.array(image)) for _, image in open_images(path, names)]
    return [torch.from_numpy(array).float() / 255 for array in arrays]


class ImageSet:
    """Photos in memory as bytes, square at one resolution: cropped about the centre, transparent parts white.

    source: a folder, zip (NVIDIA's data set zips too) or file, or an IMAGE [B,H,W,C] in 0..1, or several of these in a
    list. The photos are in `data` [N,3,R,R], bytes; `classes` has their N labels in dataset.json, else the names of
    their folders.
    """

    def __init__(
        self, source: str | Path | Tensor | Sequence[Tensor], resolution: int, *, names: Sequence[str] | None = None
    ):
        if not isinstance(source, (str, Path)):
            batches = [source] if isinstance(source, Tensor) else source
            self.data = torch.cat([_square_bytes(batch, resolution) for batch in batches])
            self.names = [f"image {k}" for k in range(1, len(self.data) + 1)]
            self.classes = [""] * len(self.data)
            return
        self.names = image_names(source) if names is None else list(names)
        if not self.names:
            raise ValueError(f"no images of {source} were selected")
        self.data = torch.empty(len(self.names), 3, resolution, resolution, dtype=torch.uint8)
        for k, (_, image) in enumerate(open_images(source, self.names)):
            pixels = torch.from_numpy(np.array(_square(image, resolution)))
            self.data[k] = rearrange(pixels, "h w c -> c h w")
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


def _square_bytes(images: Tensor, resolution: int) -> Tensor:
    """IMAGE [B,H,W,C] -> bytes [B,3,R,R], cropped about the centre."""
    photos = (from_comfy(images) + 1) / 2
    height, width = photos.shape[2:]
    side = min(height, width)
    if side < MIN_SIDE:
        raise ValueError(f"an image is {width} x {height} px: give images of at least {MIN_SIDE} px a side")
    top, left = (height - side) // 2, (width - side) // 2
    photos = resize(photos[:, :, top : top + side, left : left + side], resolution)
    return (photos.clamp(0, 1) * 255).round().byte().cpu()


def _square(image: Image.Image, resolution: int) -> Image.Image:
    if image.mode == "RGBA":
        image = Image.alpha_composite(Image.new("RGBA", image.size, "white"), image)
    return ImageOps.fit(image.convert("RGB"), (resolution, resolution), Image.Resampling.LANCZOS)


def _dataset_labels(path: Path) -> dict[str, str]:
    """{name: label} of a data set in NVIDIA's layout, whose dataset.json holds {"labels": [[name, class], ...]}."""
    if not path.is_dir() and not zipfile.is_zipfile(path):
        return {}
    try:
        ((_, text),) = _read_files(path, ["dataset.json"])
        return {str(name): str(label) for name, label in json.loads(text).get("labels") or []}
    except (KeyError, FileNotFoundError):
        return {}
    except (ValueError, TypeError, AttributeError, RecursionError) as error:
        raise ValueError(f"dataset.json of {path} is not in NVIDIA's layout ({error})") from error
