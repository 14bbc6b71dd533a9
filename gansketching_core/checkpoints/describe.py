"""What a model file is, for people and for code."""

from __future__ import annotations

from collections.abc import Mapping
from pathlib import Path

from torch import Tensor

from ..networks.stylegan2 import GanConfig
from .load import existing, load_model, load_photosketch, naming_file
from .native import FORMAT, check_own, other_metadata, part, read_safetensors
from .safe_pickle import container
from .third_party import WrongKindError


def describe(path: str | Path) -> dict[str, str]:
    """What a file is, for people. "kind" is "model", "customised model", "PhotoSketch network" or says what else it is.

    Models have their weights' "hash", customised ones the "base hash" they need; "problem" tells why a file can't be
    used. Only a path that leads to no file raises ValueError.
    """
    path = existing(path)
    found = {"kind": "not a usable file", "file size": f"{path.stat().st_size / 1e6:.1f} MB"}
    try:
        return found | _facts(path)
    except ValueError as error:
        kind = {"kind": error.__cause__.kind} if isinstance(error.__cause__, WrongKindError) else {}
        return found | kind | {"problem": str(error)}


def _facts(path: Path) -> dict[str, str]:
    with naming_file(path):
        tensors, metadata = read_safetensors(path) if container(path) == "safetensors" else ({}, {})
    kind = metadata.get("kind") if metadata.get("format") == FORMAT else ""
    if kind == "customised":
        with naming_file(path):
            check_own(metadata, "customised")
            return _customised_facts(tensors, metadata)
    try:
        model = load_model(path)
    except ValueError as error:
        if not (isinstance(error.__cause__, WrongKindError) and "PhotoSketch" in error.__cause__.kind):
            raise
        net = load_photosketch(path)
        facts = {"kind": "PhotoSketch network", "width": str(net.width), "residual blocks": str(net.blocks)}
        return other_metadata(metadata) | facts | {"parameters": _count(net.state_dict())}
    parameters = {"generator": model.generator, "discriminator": model.discriminator}
    return model.metadata | {
        "kind": "model",
        "name": model.name,
        **_config_facts(model.config),
        "parameters": ", ".join(f"{part} {_count(net.state_dict())}" for part, net in parameters.items() if net),
        "hash": model.base_hash,
    }


def _customised_facts(tensors: Mapping[str, Tensor], metadata: Mapping[str, str]) -> dict[str, str]:
    return other_metadata(metadata) | {
        "kind": "customised model",
        "name": metadata.get("name", ""),
        "base": metadata.get("base_name", "unknown"),
        "base hash": metadata.get("base_hash", ""),
        **_config_facts(GanConfig.model_validate_json(metadata.get("config", "{}"))),
        "parameters": f"{_count(part(tensors, 'generator.'))} changed",
    }


def _config_facts(config: GanConfig) -> dict[str, str]:
    return {
        "resolution": f"{config.resolution} px",
        "channels": ", ".join(map(str, config.channels)),
        "mapping network": f"{config.mapping_layers} layers, z {config.z_dim}, w {config.w_dim}",
        "classes": str(config.class_count or "none"),
    }


def _count(tensors: Mapping[str, Tensor]) -> str:
    return f"{sum(t.numel() for name, t in tensors.items() if not name.endswith('noise_const')):,}"
