"""This package's own .safetensors files: whole models, customised models, sketchers."""

from __future__ import annotations

import json
from collections.abc import Mapping
from pathlib import Path
from typing import Literal

import torch
from safetensors import SafetensorError, safe_open
from safetensors.torch import save as safetensors_bytes
from torch import Tensor

from ..files import atomic_write
from ..networks.photosketch import PhotoSketch
from ..networks.stylegan2 import GanModel
from .hashes import tensors_hash
from .third_party import WrongKindError

FORMAT, FORMAT_VERSION = "gansketching", "1"
OWN_KEYS = {"format", "format_version", "kind", "config", "name", "weights_hash", "base_hash"}


def cast(tensors: Mapping[str, Tensor], dtype: torch.dtype) -> dict[str, Tensor]:
    """Contiguous copies on the CPU; floating point ones as dtype."""
    found = {}
    for name, tensor in tensors.items():
        kind = dtype if tensor.is_floating_point() else tensor.dtype
        found[name] = tensor.detach().to("cpu", kind, copy=True).contiguous()
        if tensor.is_floating_point() and not bool(found[name].isfinite().all()):
            raise ValueError(f"{name} holds NaN or values beyond {dtype}; save as float32, or repeat the training")
    return found


def _write(path: str | Path, kind: str, tensors: dict[str, Tensor], metadata: Mapping[str, str]) -> None:
    """A safetensors file whose bytes depend on its content alone (the library writes metadata in random order)."""
    metadata = {"format": FORMAT, "format_version": FORMAT_VERSION, "kind": kind, **metadata}
    data = safetensors_bytes(tensors, metadata=metadata)
    start = 8 + int.from_bytes(data[:8], "little")
    header = json.loads(data[8:start])
    header["__metadata__"] = dict(sorted(header["__metadata__"].items()))
    text = json.dumps(header, separators=(",", ":"), ensure_ascii=False).encode()
    text += b" " * (-len(text) % 8)

    def write(temporary: Path) -> None:
        with temporary.open("wb") as file:
            file.write(len(text).to_bytes(8, "little") + text)
            file.write(memoryview(data)[start:])

    atomic_write(path, write)


def _extra(*sources: Mapping[str, str]) -> dict[str, str]:
    """The caller's metadata, as strings; this format's own keys are refused."""
    merged = {str(k): str(v) for source in sources for k, v in source.items()}
    if taken := OWN_KEYS & merged.keys():
        raise ValueError(f"metadata {sorted(taken)} are written by the format itself; use other names")
    return merged


def save_model(
    model: GanModel, path: str | Path, *, dtype: torch.dtype = torch.float32, metadata: Mapping[str, str] | None = None
) -> None:
    """Write generator, discriminator (where there is one) and w_mean as safetensors.

    dtype: torch.float16 halves the file, which is loaded as float32 again but is another model to customised files.
    metadata: strings kept with the model's own, such as a licence.
    """
    weights = cast(model.generator.state_dict(), dtype)
    tensors = {f"generator.{name}": tensor for name, tensor in weights.items()}
    if model.discriminator is not None:
        found = cast(model.discriminator.state_dict(), dtype)
        tensors |= {f"discriminator.{name}": tensor for name, tensor in found.items()}
    tensors |= cast({"w_mean": model.w_mean}, torch.float32)
    own = {"config": model.config.model_dump_json(), "name": model.name, "weights_hash": tensors_hash(weights)}
    if model.base_hash:
        own["base_hash"] = model.base_hash
    _write(path, "model", tensors, _extra(model.metadata, metadata or {}) | own)


def save_customised(
    model: GanModel,
    path: str | Path,
    *,
    trainable: Literal["mapping", "w_shift"] = "mapping",
    settings: Mapping[str, object] | None = None,
) -> None:
    """Write what customising changed: the mapping network, or the shift of w alone, and w_mean.

    model.base_hash says which weights it belongs to. With trainable="w_shift" the whole mapping network is written all the
    same if it differs from the base model's, so that the file always restores the model. settings: the training
    configuration, kept as JSON in the metadata.
    """
    if trainable not in ("mapping", "w_shift"):
        raise ValueError(f'trainable "{trainable}" is unknown; use "mapping" or "w_shift"')
    if not model.base_hash:
        raise ValueError(f'"{model.name}" has no base_hash, so it is not known what it was made from; use save_model')
    weights = model.generator.state_dict()
    shift = "mapping.w_shift"
    if trainable == "w_shift" and tensors_hash(weights | {shift: torch.zeros_like(weights[shift])}) == model.base_hash:
        moved = {shift: weights[shift]}
    else:
        trainable, moved = "mapping", {name: value for name, value in weights.items() if name.startswith("mapping.")}
    tensors = {f"generator.{name}": tensor for name, tensor in moved.items()} | {"w_mean": model.w_mean}
    own = {
        "config": model.config.model_dump_json(),
        "name": model.name,
        "base_hash": model.base_hash,
        "trainable": trainable,
        "settings": json.dumps(settings or {}, sort_keys=True, default=str),
    }
    _write(path, "customised", cast(tensors, torch.float32), _extra(model.metadata) | own)


def save_photosketch(
    net: PhotoSketch,
    path: str | Path,
    *,
    dtype: torch.dtype = torch.float32,
    metadata: Mapping[str, str] | None = None,
) -> None:
    """Write a photo-to-sketch network as safetensors under its published names."""
    _write(path, "photosketch", cast(net.state_dict(), dtype), _extra(metadata or {}))


def read_safetensors(path: Path) -> tuple[dict[str, Tensor], dict[str, str]]:
    """Tensors, which may be views of the file until they are copied, and metadata."""
    try:
        with safe_open(path, framework="pt", device="cpu") as file:
            return {name: file.get_tensor(name) for name in file.keys()}, file.metadata() or {}  # noqa: SIM118
    except SafetensorError as error:
        raise ValueError(f"the file is damaged or incomplete ({error}); download or save it again") from None


def check_own(metadata: Mapping[str, str], wanted: str) -> None:
    """Is this file of ours, and of the wanted kind? Says what it is where it is not."""
    version, kind = metadata.get("format_version", ""), metadata.get("kind", "")
    if version != FORMAT_VERSION:
        raise ValueError(f'the file has format version "{version}"; this software reads "{FORMAT_VERSION}", update it')
    if kind != wanted:
        raise WrongKindError(kind, wanted)


def part(tensors: Mapping[str, Tensor], prefix: str) -> dict[str, Tensor]:
    return {name.removeprefix(prefix): value for name, value in tensors.items() if name.startswith(prefix)}


def other_metadata(metadata: Mapping[str, str]) -> dict[str, str]:
    return {name: value for name, value in metadata.items() if name not in OWN_KEYS}
