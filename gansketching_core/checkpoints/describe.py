"""What a model file is: for code, from as little of the file as possible, and for people."""

from __future__ import annotations

import math
from collections.abc import Iterable, Mapping, Sequence
from contextlib import suppress
from dataclasses import dataclass
from pathlib import Path
from typing import Literal

from torch import nn

from ..networks.stylegan2 import GanConfig, GanModel
from .errors import WrongKindError, existing_file, name_in_errors
from .key_maps import photosketch_size, state_dict_kind
from .load import load_model, load_photosketch
from .native import Kind, is_native, native_kind, read_header, user_metadata
from .safe_pickle import container, load_torch
from .third_party import content_kind

_LOADABLE: dict[str, Kind] = {"model": "model", "generator": "model", "photosketch": "photosketch"}


@dataclass(frozen=True)
class FileSummary:
    """What code needs to know of a model file.

    hash: of a model's weights, as the file notes it; "" if it doesn't. base_name, base_hash: of the model that a
    customised one was made from. source: the address it was downloaded from. problem: why the file can't be used.
    """

    kind: Kind | Literal["other"]
    hash: str = ""
    base_name: str = ""
    base_hash: str = ""
    source: str = ""
    problem: str = ""


def summarise(path: str | Path) -> FileSummary:
    """The summary of a file, without its weights: of .safetensors, only the header is read.

    PyTorch's files have to be read as a whole, and NVIDIA's pickles are taken for models unread. ValueError only if
    `path` is no file.
    """
    path = existing_file(path)
    try:
        with name_in_errors(path):
            return _summary(path)
    except ValueError as error:
        return FileSummary("other", problem=str(error))


def kind_of(path: str | Path) -> Kind | Literal["other"]:
    """Which loader a file is for: "model", "customised" or "photosketch"; "other" for none. See summarise."""
    return summarise(path).kind


def _summary(path: Path) -> FileSummary:
    match container(path):
        case "nvidia":
            return FileSummary("model")
        case "torch":
            return FileSummary(_loadable(content_kind(load_torch(path))))
    shapes, metadata = read_header(path)
    if not is_native(metadata):
        return FileSummary(_loadable(state_dict_kind(shapes)))
    return FileSummary(
        native_kind(metadata),
        hash=metadata.get("weights_hash", ""),
        base_name=metadata.get("base_name", "unknown"),
        base_hash=metadata.get("base_hash", ""),
        source=metadata.get("source", ""),
    )


def _loadable(kind: str) -> Kind:
    if kind not in _LOADABLE:
        raise WrongKindError(kind, "model")
    return _LOADABLE[kind]


def load_base(customised: FileSummary, candidates: Iterable[Path]) -> GanModel | None:
    """The model that a customised one was made from, if it is in one of the files `candidates`.

    Files that do not note their hash are tried last, because they have to be loaded, and the base's namesakes first.
    """
    without_hash = []
    for path in sorted(candidates, key=lambda path: path.stem != customised.base_name):
        summary = summarise(path) if path.suffix.lower() == ".safetensors" else FileSummary("model")
        if summary.kind == "model" and summary.hash == customised.base_hash:
            return load_model(path)
        if summary.kind == "model" and not summary.hash:
            without_hash.append(path)
    for path in without_hash:
        with suppress(ValueError):  # not a model after all
            model = load_model(path)
            if model.base_hash == customised.base_hash:
                return model
    return None


# -------------------------------------------------------------------------------------------------------- for people


def describe(path: str | Path) -> dict[str, str]:
    """What a file is, for people. "kind" is "model", "customised model", "PhotoSketch network" or says what else it is.

    Models have their weights' "hash", customised ones the "base hash" they need; "problem" tells why a file can't be
    used. This package's files are described by their headers, others are loaded. ValueError only if `path` is no file.
    """
    path = existing_file(path)
    facts = {"kind": "not a usable file", "file size": f"{path.stat().st_size / 1e6:.1f} MB"}
    try:
        with name_in_errors(path):
            native_facts = _native_facts(path)
        return facts | (native_facts or _foreign_facts(path))
    except ValueError as error:
        if isinstance(error.__cause__, WrongKindError):
            facts["kind"] = error.__cause__.kind
        return facts | {"problem": str(error)}


def _native_facts(path: Path) -> dict[str, str]:
    """Facts from the header of a file of this package; empty for other files."""
    if container(path) != "safetensors":
        return {}
    shapes, metadata = read_header(path)
    if not is_native(metadata):
        return {}
    kind = native_kind(metadata)
    if kind == "photosketch":
        return user_metadata(metadata) | _photosketch_facts(shapes)
    config = GanConfig.model_validate_json(metadata.get("config", "{}"))
    facts = user_metadata(metadata) | {"name": metadata.get("name", ""), **_config_facts(config)}
    if kind == "model":
        return facts | _model_facts(shapes, metadata.get("weights_hash", "unknown"))
    return facts | {
        "kind": "customised model",
        "base": metadata.get("base_name", "unknown"),
        "base hash": metadata.get("base_hash", ""),
        "parameters": f"{_count(shapes, 'generator.')} changed",
    }


def _foreign_facts(path: Path) -> dict[str, str]:
    if kind_of(path) == "photosketch":
        return _photosketch_facts(_shapes(load_photosketch(path)))
    model = load_model(path)
    shapes = _shapes(model.generator, "generator.")
    if model.discriminator is not None:
        shapes |= _shapes(model.discriminator, "discriminator.")
    facts = model.metadata | {"name": model.name, **_config_facts(model.config)}
    return facts | _model_facts(shapes, model.base_hash)


def _model_facts(shapes: Mapping[str, Sequence[int]], weights_hash: str) -> dict[str, str]:
    parameters = f"generator {_count(shapes, 'generator.')}"
    if any(name.startswith("discriminator.") for name in shapes):
        parameters += f", discriminator {_count(shapes, 'discriminator.')}"
    return {"kind": "model", "parameters": parameters, "hash": weights_hash}


def _config_facts(config: GanConfig) -> dict[str, str]:
    return {
        "resolution": f"{config.resolution} px",
        "channels": ", ".join(map(str, config.channels)),
        "mapping network": f"{config.mapping_layers} layers, z {config.z_dim}, w {config.w_dim}",
        "classes": str(config.class_count or "none"),
    }


def _photosketch_facts(shapes: Mapping[str, Sequence[int]]) -> dict[str, str]:
    width, blocks = photosketch_size(shapes)
    sizes = {"width": str(width), "residual blocks": str(blocks)}
    return {"kind": "PhotoSketch network", **sizes, "parameters": _count(shapes)}


def _shapes(network: nn.Module, prefix: str = "") -> dict[str, Sequence[int]]:
    return {f"{prefix}{name}": value.shape for name, value in network.state_dict().items()}


def _count(shapes: Mapping[str, Sequence[int]], prefix: str = "") -> str:
    names = [name for name in shapes if name.startswith(prefix) and not name.endswith("noise_const")]
    return f"{sum(math.prod(shapes[name]) for name in names):,}"
