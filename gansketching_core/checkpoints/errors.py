"""Errors about model files. What reaches the user is a ValueError that begins with the file's name."""

from collections.abc import Iterator
from contextlib import contextmanager
from pathlib import Path

from pydantic import ValidationError

from ..options import explain

_KINDS = {
    "model": ("a StyleGAN2 model", "load it as a model"),
    "generator": ("a StyleGAN2 generator", "load it as a model"),
    "discriminator": ("a StyleGAN2 discriminator", "choose the generator that belongs to it (netG.pth to netD.pth)"),
    "customised": ("a customised model, which holds only what changed", "load its base model, then this file on top"),
    "photosketch": ("a PhotoSketch network, from photo to drawing", "load it as a sketcher"),
    "stylegan3": ("an alias-free StyleGAN3 network", 'choose a StyleGAN2 model (the files called "stylegan2-...")'),
}


class WrongKindError(ValueError):
    """An intact file that is something else than what was asked for. `kind` says what, in words for people."""

    def __init__(self, kind: str, wanted: str):
        self.kind, remedy = _KINDS.get(kind, (kind, "choose another file"))
        super().__init__(f"this is {self.kind}, not {_KINDS[wanted][0].split(',')[0]}; {remedy}")


class UnsupportedError(ValueError):
    """An intact network of an architecture that this package does not have."""


@contextmanager
def name_in_errors(path: str | Path) -> Iterator[Path]:
    """Turn every error about a file's content into a ValueError that begins with the file's name. Yields `path`."""
    path = existing_file(path)
    try:
        yield path
    except ValidationError as error:
        raise ValueError(f"{path.name}: networks of this shape are not supported: {explain(error)}") from None
    except ValueError as error:
        raise ValueError(f"{path.name}: {error}") from error
    except Exception as error:  # readers raise errors of many types on broken files
        reason = (str(error).strip().splitlines() or [type(error).__name__])[0]
        raise ValueError(
            f"{path.name}: the file is damaged or incomplete ({reason}); download or copy it again"
        ) from error


def existing_file(path: str | Path) -> Path:
    """`path`, if it is a file; else ValueError."""
    path = Path(path)
    if path.is_dir():
        raise ValueError(f"{path} is a folder, not a model file")
    if not path.is_file():
        raise ValueError(f"{path} does not exist")
    return path
