"""What code needs to know of a model file, from as little of the file as possible."""

from dataclasses import dataclass
from pathlib import Path
from typing import Literal, cast

from .errors import WrongKindError, existing_file, name_in_errors
from .native import Kind
from .third_party import read_content

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

    PyTorch's files are read as a whole; NVIDIA's pickles are taken for models unread. ValueError if `path` is no file.
    """
    path = existing_file(path)
    try:
        with name_in_errors(path):
            kind, _, metadata = read_content(path, only_header=True)
            if metadata is None and kind not in _LOADABLE:
                raise WrongKindError(kind, "model")
    except ValueError as error:
        return FileSummary("other", problem=str(error))
    if metadata is None:
        return FileSummary(_LOADABLE[kind])
    return FileSummary(
        cast(Kind, kind),
        hash=metadata.get("weights_hash", ""),
        base_name=metadata.get("base_name", "unknown"),
        base_hash=metadata.get("base_hash", ""),
        source=metadata.get("source", ""),
    )


def kind_of(path: str | Path) -> Kind | Literal["other"]:
    """Which loader a file is for: "model", "customised" or "photosketch"; "other" for none. See summarise."""
    return summarise(path).kind
