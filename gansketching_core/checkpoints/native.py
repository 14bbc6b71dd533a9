"""This package's own .safetensors files: whole models, customised models, sketchers."""

import json
from collections.abc import Mapping
from pathlib import Path
from typing import Any, Literal, cast, get_args

import torch
from safetensors import safe_open
from safetensors.torch import save as safetensors_bytes
from torch import Tensor

from ..files import atomic_write
from ..networks.photosketch import PhotoSketch
from ..networks.stylegan2 import GanModel
from .hashes import tensors_hash

FORMAT = "gansketching"
FORMAT_VERSION = "1"
Kind = Literal["model", "customised", "photosketch"]
_FORMAT_KEYS = {"format", "format_version", "kind", "config", "name", "weights_hash", "base_hash", "shape_layers"}


def finite_copies(tensors: Mapping[str, Tensor], dtype: torch.dtype) -> dict[str, Tensor]:
    """Contiguous copies on the CPU, floating point ones as `dtype`. Raises ValueError for NaN and infinity."""
    copies = {}
    for name, tensor in tensors.items():
        target = dtype if tensor.is_floating_point() else tensor.dtype
        copies[name] = tensor.detach().to("cpu", target, copy=True).contiguous()
        if not copies[name].isfinite().all():
            raise ValueError(f"{name} holds NaN or values beyond {dtype}; save as float32, or repeat the training")
    return copies


def save_model(
    model: GanModel, path: str | Path, *, dtype: torch.dtype = torch.float32, metadata: Mapping[str, str] | None = None
) -> None:
    """Write generator, discriminator (if the model has one) and w_mean.

    dtype: torch.float16 halves the file, which is loaded as float32 again but is another model to customised files.
    metadata: strings kept with the model's own, such as a licence.
    """
    model.check_one_w()
    weights = finite_copies(model.generator.state_dict(), dtype)
    tensors = {f"generator.{name}": tensor for name, tensor in weights.items()}
    if model.discriminator is not None:
        discriminator = finite_copies(model.discriminator.state_dict(), dtype)
        tensors |= {f"discriminator.{name}": tensor for name, tensor in discriminator.items()}
    tensors |= finite_copies({"w_mean": model.w_mean}, torch.float32)
    own = {"config": model.config.model_dump_json(), "name": model.name, "weights_hash": tensors_hash(weights)}
    if model.base_hash:
        own["base_hash"] = model.base_hash
    _write(path, "model", tensors, own, {**model.metadata, **(metadata or {})})


def save_customised(
    model: GanModel,
    path: str | Path,
    *,
    trainable: Literal["mapping", "w_shift"] = "mapping",
    settings: Mapping[str, object] | None = None,
) -> None:
    """Write what customising changed: the mapping network, or the shift of w alone, and w_mean.

    With trainable="w_shift" the whole mapping network is written all the same if it differs from the base model's, so
    that the file always restores the model. settings: the training configuration, kept as JSON in the metadata.
    """
    if trainable not in ("mapping", "w_shift"):
        raise ValueError(f'trainable "{trainable}" is unknown; use "mapping" or "w_shift"')
    if not model.base_hash:
        raise ValueError(f'"{model.name}" has no base_hash, so it is not known what it was made from; use save_model')
    model.check_single_mapping()
    weights = model.generator.state_dict()
    unshifted = {**weights, "mapping.w_shift": torch.zeros_like(weights["mapping.w_shift"])}
    if trainable == "w_shift" and tensors_hash(unshifted) != model.base_hash:
        trainable = "mapping"
    prefix = "mapping." if trainable == "mapping" else "mapping.w_shift"
    changed = {f"generator.{name}": value for name, value in weights.items() if name.startswith(prefix)}
    own = {"config": model.config.model_dump_json(), "name": model.name, "base_hash": model.base_hash}
    if model.details is not None:
        own["shape_layers"] = str(model.details.first)
    training = {"trainable": trainable, "settings": json.dumps(settings or {}, sort_keys=True, default=str)}
    tensors = finite_copies({**changed, "w_mean": model.w_mean}, torch.float32)
    _write(path, "customised", tensors, own, {**model.metadata, **training})


def save_photosketch(
    net: PhotoSketch, path: str | Path, *, dtype: torch.dtype = torch.float32, metadata: Mapping[str, str] | None = None
) -> None:
    """Write a photo-to-sketch network under its published tensor names."""
    _write(path, "photosketch", finite_copies(net.state_dict(), dtype), {}, metadata or {})


def _write(
    path: str | Path, kind: Kind, tensors: dict[str, Tensor], own: Mapping[str, str], metadata: Mapping[str, object]
) -> None:
    """Write a file of this format. own: metadata under its keys; `metadata` may not use these."""
    if reserved := _FORMAT_KEYS & metadata.keys():
        raise ValueError(f"metadata {sorted(reserved)} are written by the format itself; use other names")
    strings = {str(key): str(value) for key, value in metadata.items()}
    strings |= {"format": FORMAT, "format_version": FORMAT_VERSION, "kind": kind, **own}
    write_safetensors(tensors, strings, path)


def write_safetensors(tensors: dict[str, Tensor], strings: dict[str, str], path: str | Path) -> None:
    """Write tensors and metadata; the bytes depend on these alone, while the library's metadata are in random order."""
    data = safetensors_bytes(tensors, metadata=strings)
    start = 8 + int.from_bytes(data[:8], "little")
    header = json.loads(data[8:start]) | {"__metadata__": dict(sorted(strings.items()))}
    text = json.dumps(header, separators=(",", ":"), ensure_ascii=False).encode()
    text += b" " * (-len(text) % 8)

    def write(temporary: Path) -> None:
        with temporary.open("wb") as file:
            file.write(len(text).to_bytes(8, "little") + text)
            file.write(memoryview(data)[start:])

    atomic_write(path, write)


def read_safetensors(path: Path, *, only_header: bool) -> tuple[dict[str, Any], dict[str, str]]:
    """The tensors, which may be views of the file until they are copied, or only their shapes; and the metadata."""
    with safe_open(path, framework="pt", device="cpu") as file:
        read = (lambda name: tuple(file.get_slice(name).get_shape())) if only_header else file.get_tensor
        return {name: read(name) for name in file.keys()}, file.metadata() or {}  # noqa: SIM118


def native_kind(metadata: Mapping[str, str]) -> Kind | None:
    """What a file of this package holds; None for other files. ValueError for an unknown format version or kind."""
    if metadata.get("format") != FORMAT:
        return None
    version, kind = metadata.get("format_version", ""), metadata.get("kind", "")
    if version != FORMAT_VERSION:
        raise ValueError(f'the file has format version "{version}"; this software reads "{FORMAT_VERSION}", update it')
    if kind not in get_args(Kind):
        raise ValueError(f'the file holds "{kind}", which this software does not know; update it')
    return cast(Kind, kind)


def user_metadata(metadata: Mapping[str, str]) -> dict[str, str]:
    """The metadata under keys that are not the format's own: licence, source, settings of a training ..."""
    return {name: value for name, value in metadata.items() if name not in _FORMAT_KEYS}
