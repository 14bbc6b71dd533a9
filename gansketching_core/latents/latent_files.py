"""Files of latents and of GANSpace directions."""

from __future__ import annotations

import zipfile
import zlib
from pathlib import Path

import numpy as np
import torch
from safetensors import SafetensorError, safe_open
from safetensors.torch import save_file
from torch import Tensor

from ..files import atomic_write
from .ganspace import Directions
from .spaces import Latents


def save_latents(latents: Latents, path: str | Path) -> None:
    """Writes a .safetensors file."""
    tensors = {"latents": latents.data, "labels": latents.labels}
    tensors = {name: tensor.cpu().contiguous() for name, tensor in tensors.items() if tensor is not None}
    metadata = {"kind": "gansketching latents", "space": latents.space}
    atomic_write(Path(path), lambda partial: save_file(tensors, partial, metadata=metadata))


def load_latents(path: str | Path) -> Latents:
    """Reads what save_latents wrote; ValueError for anything else."""
    try:
        with safe_open(path, "pt") as file:
            space = (file.metadata() or {}).get("space")
            tensors = {name: file.get_tensor(name) for name in ("latents", "labels") if name in file.keys()}  # noqa: SIM118
    except SafetensorError as error:
        raise ValueError(f"{path} is not a readable safetensors file: {error}") from error
    if "latents" not in tensors or space is None:
        raise ValueError(f"{path} holds no latents; give a file written by saving latents")
    data, labels = tensors["latents"], tensors.get("labels")
    if not data.is_floating_point() or not data.numel() or not bool(data.isfinite().all()):
        raise ValueError(f"{path} is damaged: its latents are empty or not finite numbers")
    try:
        return Latents(space, data.float(), labels)
    except ValueError as error:
        raise ValueError(f"{path} is damaged: {error}") from error


LARGEST_ARRAY = 2**28  # bytes; 4096 components of 512 numbers are 8 MB


def save_directions(directions: Directions, path: str | Path) -> None:
    """Writes a .safetensors file."""
    tensors = {key: getattr(directions, key).cpu().contiguous() for key in ("components", "mean", "stdev")}
    metadata = {"kind": "gansketching directions", "model": directions.name}
    atomic_write(Path(path), lambda partial: save_file(tensors, partial, metadata=metadata))


def load_directions(path: str | Path) -> Directions:
    """Directions from a .safetensors file of save_directions, or from a published GANSpace .npz."""
    path = Path(path)
    arrays, name = _read_npz(path) if path.suffix.lower() == ".npz" else _read_directions(path)
    if not all(tensor.is_floating_point() and bool(tensor.isfinite().all()) for tensor in arrays):
        raise ValueError(f"{path} is damaged: its directions are not finite numbers")
    try:
        directions = Directions(*(tensor.float() for tensor in arrays), name)
    except ValueError as error:
        raise ValueError(f"{path} is damaged: {error}") from error
    gram = directions.components @ directions.components.T
    if not torch.allclose(gram, torch.eye(len(gram)), atol=1e-2):
        raise ValueError(f"{path} is damaged: its directions are not orthonormal")
    return directions


def _read_directions(path: Path) -> tuple[list[Tensor], str]:
    try:
        with safe_open(path, "pt") as file:
            name = (file.metadata() or {}).get("model", "")
            missing = {"components", "mean", "stdev"} - set(file.keys())
            if missing:
                raise ValueError(f"{path} holds no directions ({', '.join(sorted(missing))} missing)")
            return [file.get_tensor(key) for key in ("components", "mean", "stdev")], name
    except SafetensorError as error:
        raise ValueError(f"{path} is not a readable safetensors file: {error}") from error


def _read_npz(path: Path) -> tuple[list[Tensor], str]:
    """lat_comp [K,1,w_dim], lat_mean [1,w_dim] or [1,1,w_dim], lat_stdev [K]."""
    components, mean, stdev = _unpack(path, ("lat_comp", "lat_mean", "lat_stdev"))
    if components.ndim != 3 or components.shape[1] != 1 or mean.size != components.shape[2]:
        raise ValueError(
            f"{path} has directions of shape {components.shape} and mean {mean.shape}; expected [K,1,w_dim] and "
            "[1,w_dim], as GANSpace computes them for the style space of StyleGAN2"
        )
    return [torch.from_numpy(x) for x in (components[:, 0], mean.reshape(-1), stdev)], path.stem


def _unpack(path: Path, keys: tuple[str, ...]) -> list[np.ndarray]:
    """Arrays of an .npz as float32, unless one is pickled, missing or unreasonably large."""
    try:
        with zipfile.ZipFile(path) as archive:
            sizes = {entry.filename: entry.file_size for entry in archive.infolist()}
        for key in keys:
            if f"{key}.npy" not in sizes:
                raise ValueError(f"{key} is missing; give a file that GANSpace computed for a StyleGAN2")
            if sizes[f"{key}.npy"] > LARGEST_ARRAY:
                raise ValueError(f"{key} would take {sizes[f'{key}.npy'] / 2**20:.0f} MiB")
        with np.load(path, allow_pickle=False) as file:
            return [file[key].astype(np.float32, casting="same_kind") for key in keys]
    except (
        zipfile.BadZipFile,
        zlib.error,
        OSError,
        EOFError,
        MemoryError,
        ValueError,
        TypeError,
        SyntaxError,
    ) as error:
        raise ValueError(f"{path} can't be read as GANSpace directions: {error}") from error
