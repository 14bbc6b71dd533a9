"""Sets of pictures: folders and zips, names and classes, what is held out for evaluation."""

from __future__ import annotations

import hashlib
import json
import zipfile
from collections import defaultdict
from collections.abc import Iterable, Iterator, Sequence
from pathlib import Path, PurePosixPath

import numpy as np
import torch
from PIL import Image, ImageOps
from torch import Tensor

from .images import decode_image, from_comfy, resize

IMAGE_ENDINGS = (".png", ".jpg", ".jpeg", ".webp", ".bmp", ".gif", ".tif", ".tiff")
MAX_FILE_BYTES = 256 * 2**20  # of one image file, or one entry of a zip once unpacked


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
            yield name, decode_image(_read_file(path / name), str(path / name))
    elif zipfile.is_zipfile(path):
        with zipfile.ZipFile(path) as archive:
            for name in names:
                yield name, decode_image(_read_entry(archive, name, f"{path}/{name}"), f"{path}/{name}")
    else:
        for name in names:
            yield name, decode_image(_read_file(path), str(path))


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
