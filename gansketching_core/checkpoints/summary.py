"""What code needs to know of a model file, from as little of the file as possible."""

from __future__ import annotations

from dataclasses import dataclass
from pathlib import Path
from typing import Literal

from .errors import WrongKindError, existing_file, name_in_errors
from .key_maps import state_dict_kind
from .native import Kind, native_kind, read_header
from .safe_pickle import container, load_torch
from .third_party import content_kind

_LOADABLE: dict[str, Kind] = {"model": "model", "generator": "model", "photosketch": "photosketch"}


@dataclass(frozen=True)
class FileSummary:
    kind: Kind | Literal["other"]
    hash: str = ""  # of a model's weights, if the file notes it
    base_name: str = ""  # of the model that a customised one was made from
    base_hash: str = ""
    source: str = ""  # the address it was downloaded from
    problem: str = ""  # why the file can't be used


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
        case "safetensors":
            shapes, metadata = read_header(path)
            if kind := native_kind(metadata):
                return FileSummary(
                    kind,
                    hash=metadata.get("weights_hash", ""),
                    base_name=metadata.get("base_name", "unknown"),
                    base_hash=metadata.get("base_hash", ""),
                    source=metadata.get("source", ""),
                )
            kind = state_dict_kind(shapes)
        case "torch":
            kind = content_kind(load_torch(path))
        case "nvidia":
            kind = "model"
    if kind not in _LOADABLE:
        raise WrongKindError(kind, "model")
    return FileSummary(_LOADABLE[kind])
