"""Files of latents, of GANSpace directions and of latent bridges."""

from collections.abc import Callable
from pathlib import Path
from typing import Any

import numpy as np
import torch
from safetensors import SafetensorError, safe_open
from torch import Tensor

from ..checkpoints.native import write_safetensors
from .bridge import LatentBridge
from .ganspace import Directions
from .spaces import Latents

BRIDGE = ("origin", "offset", "matrix", "hidden", "hidden_bias", "out")
BRIDGE_TEXTS = ("kind", "source", "target", "source_hash", "target_hash")
STATE = "state."  # before the names of tensors of an unfinished fit
DIRECTIONS = ("components", "mean", "stdev")
GANSPACE_ARRAYS = ("lat_comp", "lat_mean", "lat_stdev")  # the same in GANSpace's .npz
LARGEST_ARRAY = 2**28  # bytes; 4096 components of 512 numbers are 8 MB


def save_latents(latents: Latents, path: str | Path) -> None:
    """Writes a .safetensors file."""
    tensors = {"latents": latents.data}
    if latents.labels is not None:
        tensors["labels"] = latents.labels
    _write(path, tensors, {"kind": "gansketching latents", "space": latents.space})


def load_latents(path: str | Path) -> Latents:
    """Reads a file of save_latents. Raises ValueError for any other file."""
    tensors, metadata = _read(path, ("latents", "labels").__contains__)
    space: Any = metadata.get("space")  # which Latents checks
    if "latents" not in tensors or space is None:
        raise ValueError(f"{path} holds no latents; give a file written by saving latents")
    try:
        return Latents(space, _finite(tensors["latents"]), tensors.get("labels"))
    except ValueError as error:
        raise ValueError(f"{path} is damaged: {error}") from error


def save_directions(directions: Directions, path: str | Path) -> None:
    """Writes a .safetensors file."""
    tensors = {name: getattr(directions, name) for name in DIRECTIONS}
    _write(path, tensors, {"kind": "gansketching directions", "model": directions.name})


def load_directions(path: str | Path) -> Directions:
    """Reads a .safetensors file of save_directions, or a published GANSpace .npz. Raises ValueError for other files."""
    path = Path(path)
    if path.suffix.lower() == ".npz":
        tensors, name = _read_npz(path), path.stem
    else:
        tensors, metadata = _read(path, DIRECTIONS.__contains__)
        name = metadata.get("model", "")
        missing = [key for key in DIRECTIONS if key not in tensors]
        if missing:
            raise ValueError(f"{path} holds no directions ({', '.join(missing)} missing)")
    try:
        directions = Directions(**{key: _finite(tensor) for key, tensor in tensors.items()}, name=name)
    except ValueError as error:
        raise ValueError(f"{path} is damaged: {error}") from error
    gram = directions.components @ directions.components.T
    if not torch.allclose(gram, torch.eye(len(gram)), atol=1e-2):
        raise ValueError(f"{path} is damaged: its directions are not orthonormal")
    return directions


def save_bridge(bridge: LatentBridge, path: str | Path, state: dict[str, Tensor] | None = None) -> None:
    """Writes a .safetensors file. state: what a later fit can go on from; see load_fit."""
    tensors = {name: getattr(bridge, name) for name in BRIDGE} | {
        f"{STATE}{name}": tensor for name, tensor in (state or {}).items()
    }
    texts = {f"bridge_{name}": getattr(bridge, name) for name in BRIDGE_TEXTS} | dict(bridge.report)
    _write(path, tensors, {"kind": "gansketching bridge", **texts})


def load_bridge(path: str | Path) -> LatentBridge:
    """Reads a file of save_bridge. Raises ValueError for any other file."""
    tensors, metadata = _read(path, BRIDGE.__contains__)
    missing = [name for name in BRIDGE if name not in tensors]
    missing += [name for name in BRIDGE_TEXTS if f"bridge_{name}" not in metadata]
    if missing:
        raise ValueError(f"{path} holds no latent bridge ({', '.join(missing)} missing); give a file of one")
    texts: Any = {name: metadata[f"bridge_{name}"] for name in BRIDGE_TEXTS}
    report = {name: text for name, text in metadata.items() if name != "kind" and not name.startswith("bridge_")}
    try:
        for name, tensor in tensors.items():
            if not tensor.is_floating_point() or not bool(tensor.float().isfinite().all()):
                raise ValueError(f"{name} holds values that are not finite numbers")
        floats = {name: tensor.float() for name, tensor in tensors.items()}
        return LatentBridge(**floats, **texts, report=report)
    except ValueError as error:
        raise ValueError(f"{path} is damaged: {error}") from error


def load_fit(path: str | Path) -> tuple[dict[str, Tensor], dict[str, str]]:
    """The state in a file of save_bridge, {} if it has none, and the texts of the file."""
    tensors, metadata = _read(path, lambda name: name.startswith(STATE))
    return {name.removeprefix(STATE): tensor for name, tensor in tensors.items()}, metadata


def _finite(tensor: Tensor) -> Tensor:
    """The tensor as float32."""
    if not tensor.is_floating_point() or not tensor.numel() or not bool(tensor.float().isfinite().all()):
        raise ValueError("its tensors are empty or not finite numbers")
    return tensor.float()


def _write(path: str | Path, tensors: dict[str, Tensor], metadata: dict[str, str]) -> None:
    tensors = {name: tensor.cpu().contiguous() for name, tensor in tensors.items()}
    write_safetensors(tensors, metadata, path)


def _read(path: str | Path, wanted: Callable[[str], bool]) -> tuple[dict[str, Tensor], dict[str, str]]:
    """Those tensors of a .safetensors file whose names are wanted, and its metadata."""
    try:
        with safe_open(path, "pt") as file:
            return {name: file.get_tensor(name) for name in filter(wanted, file.keys())}, file.metadata() or {}
    except SafetensorError as error:
        raise ValueError(f"{path} is not a readable safetensors file: {error}") from error


def _read_npz(path: Path) -> dict[str, Tensor]:
    """lat_comp [K,1,w_dim], lat_mean [1,w_dim] or [1,1,w_dim] and lat_stdev [K] of GANSpace, as Directions has them."""
    try:
        with np.load(path, allow_pickle=False) as file:
            for name in GANSPACE_ARRAYS:
                if name not in file:
                    raise ValueError(f"{name} is missing; give a file that GANSpace computed for a StyleGAN2")
                size = file.zip.getinfo(f"{name}.npy").file_size
                if size > LARGEST_ARRAY:
                    raise ValueError(f"{name} would take {size / 2**20:.0f} MiB")
            arrays = [file[f"{name}.npy"].astype(np.float32, casting="same_kind") for name in GANSPACE_ARRAYS]
    except Exception as error:  # zipfile and numpy raise errors of many types for damaged files
        raise ValueError(f"{path} can't be read as GANSpace directions: {error}") from error
    components, mean, stdev = arrays
    if components.ndim != 3 or components.shape[1] != 1 or mean.size != components.shape[2]:
        raise ValueError(
            f"{path} has directions of shape {components.shape} and mean {mean.shape}; expected [K,1,w_dim] and "
            "[1,w_dim], as GANSpace computes them for the style space of StyleGAN2"
        )
    return dict(zip(DIRECTIONS, map(torch.from_numpy, (components[:, 0], mean.reshape(-1), stdev))))
