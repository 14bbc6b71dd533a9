"""What a model file is, for people."""

from __future__ import annotations

import math
from collections.abc import Mapping, Sequence
from pathlib import Path

from torch import nn

from ..networks.stylegan2 import GanConfig
from .errors import WrongKindError, existing_file, name_in_errors
from .key_maps import photosketch_size
from .load import load_model, load_photosketch
from .native import is_native, native_kind, read_header, user_metadata
from .safe_pickle import container
from .summary import kind_of


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
