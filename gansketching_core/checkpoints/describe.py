"""What a model file is, for people."""

import math
from collections.abc import Mapping, Sequence
from pathlib import Path

from ..networks.stylegan2 import GanConfig
from .errors import WrongKindError, existing_file, name_in_errors
from .key_maps import photosketch_size
from .load import load_model, load_photosketch
from .native import user_metadata
from .third_party import read_content

Shapes = Mapping[str, Sequence[int]]


def describe(path: str | Path) -> dict[str, str]:
    """What a file is, for people. "kind" is "model", "customised model", "PhotoSketch network" or says what else it is.

    Models have their weights' "hash", customised ones the "base hash" they need; "problem" tells why a file can't be
    used. This package's files are described by their headers, others are loaded. ValueError only if `path` is no file.
    """
    path = existing_file(path)
    facts = {"kind": "not a usable file", "file size": f"{path.stat().st_size / 1e6:.1f} MB"}
    try:
        shapes, metadata = _header(path)
        with name_in_errors(path):
            return facts | user_metadata(metadata) | _facts(shapes, metadata)
    except ValueError as error:
        if isinstance(error.__cause__, WrongKindError):
            facts["kind"] = error.__cause__.kind
        return facts | {"problem": str(error)}


def _header(path: Path) -> tuple[Shapes, dict[str, str]]:
    """The tensors' shapes and the metadata, of other projects' files as save_model would write them."""
    with name_in_errors(path):
        kind, shapes, metadata = read_content(path, only_header=True)
    if metadata is not None:
        return shapes, metadata
    if kind == "photosketch":
        networks, metadata = {"": load_photosketch(path)}, {"kind": "photosketch"}
    else:
        model = load_model(path)
        networks = {"generator.": model.generator, "discriminator.": model.discriminator}
        metadata = {"kind": "model", "config": model.config.model_dump_json(), "weights_hash": model.base_hash}
        metadata |= {**model.metadata, "name": model.name}
    shapes = {}
    for prefix, network in networks.items():
        state = network.state_dict() if network else {}
        shapes |= {f"{prefix}{name}": value.shape for name, value in state.items()}
    return shapes, metadata


def _facts(shapes: Shapes, metadata: Mapping[str, str]) -> dict[str, str]:
    if metadata["kind"] == "photosketch":
        width, blocks = photosketch_size(shapes)
        sizes = {"width": str(width), "residual blocks": str(blocks)}
        return {"kind": "PhotoSketch network", **sizes, "parameters": _count(shapes)}
    config = GanConfig.model_validate_json(metadata.get("config", "{}"))
    facts = {
        "name": metadata.get("name", ""),
        "resolution": f"{config.resolution} px",
        "channels": ", ".join(map(str, config.channels)),
        "mapping network": f"{config.mapping_layers} layers, z {config.z_dim}, w {config.w_dim}",
        "classes": str(config.class_count or "none"),
    }
    if metadata["kind"] == "customised":
        base = {"base": metadata.get("base_name", "unknown"), "base hash": metadata.get("base_hash", "")}
        return {**facts, "kind": "customised model", **base, "parameters": f"{_count(shapes, 'generator.')} changed"}
    counts = {name: _count(shapes, name) for name in ("generator", "discriminator")}
    parameters = ", ".join(f"{name} {count}" for name, count in counts.items() if count != "0")
    return {**facts, "kind": "model", "parameters": parameters, "hash": metadata.get("weights_hash", "unknown")}


def _count(shapes: Shapes, prefix: str = "") -> str:
    names = [name for name in shapes if name.startswith(prefix) and not name.endswith("noise_const")]
    return f"{sum(math.prod(shapes[name]) for name in names):,}"
