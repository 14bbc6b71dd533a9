"""Installing a download: unpacked, converted to .safetensors, written where nodes list it. No code of a file is run."""

import logging
import shutil
import zipfile
from collections.abc import Iterator
from pathlib import Path

from ..checkpoints.load import load_model, load_photosketch
from ..checkpoints.native import save_model, save_photosketch
from ..checkpoints.summary import kind_of, summarise
from .catalogue import Offer
from .fetch import Poll, Report, check_size, discard, fetch

logger = logging.getLogger(__name__)

_FOLDERS = {"model": "stylegan", "photosketch": "photosketch"}
MODEL_ENDINGS = {".pth", ".pt", ".pkl"}
DOWNLOADS = ".gansketching"  # in the models folder: unfinished downloads, apart from what the user keeps there


def install(
    offer: Offer, models: Path, *, keep: bool = False, on_bytes: Report | None = None, poll: Poll = lambda: None
) -> list[Path]:
    """Download an offer and write its models as .safetensors below `models`, the models folder; returns the files.

    They name their source, licence and the SHA-256 of the download. If `poll` interrupts the download by raising, the
    next call resumes it. ValueError for a file of the same name that came from elsewhere: it is never replaced.
    keep: keep the file as downloaded, too.
    """
    folder = models / (offer.folder or "stylegan")
    kept = folder / offer.file
    target = folder / f"{offer.name}.safetensors"
    if keep and kept.exists():
        raise ValueError(f"{kept} exists already; rename it first, or leave out --keep")
    if offer.folder:
        _check_replaceable(target, offer)
    download = models / DOWNLOADS / offer.file
    digest = fetch(offer.address, download, on_bytes=on_bytes, poll=poll)
    metadata = {"source": offer.address, "source_sha256": digest, "licence": offer.licence}
    written = [target]
    try:
        if offer.folder:
            _convert(download, offer.folder, target, metadata)
        else:
            written = _install_zip(download, offer, models, metadata, poll)
    except ValueError:  # it is not the file it should be: the next call downloads it anew
        discard(download)
        raise
    if keep:
        folder.mkdir(parents=True, exist_ok=True)
        download.replace(kept)
    discard(download)
    return written


def _check_replaceable(target: Path, offer: Offer) -> None:
    if target.exists() and summarise(target).source != offer.address:
        raise ValueError(f"{target} exists already and did not come from {offer.address}; rename it first")


def _convert(source: Path, folder: str, target: Path, metadata: dict[str, str]) -> None:
    """Write a generator or a PhotoSketch network, whichever `folder` is for, as .safetensors."""
    if folder == "photosketch":
        save_photosketch(load_photosketch(source), target, metadata=metadata)
    else:
        save_model(load_model(source), target, metadata=metadata)


def _install_zip(download: Path, offer: Offer, models: Path, metadata: dict[str, str], poll: Poll) -> list[Path]:
    """Write the models of a zip to folders named like the offer. All are unpacked first, because the loader looks for a
    discriminator beside its generator."""
    written = []
    unpacked = download.with_suffix("")
    try:
        for _ in _unpack(download, unpacked, offer):
            poll()
        for file in sorted(path for path in unpacked.rglob("*") if path.suffix.lower() in MODEL_ENDINGS):
            poll()
            folder = _FOLDERS.get(kind_of(file))
            if not folder:  # a discriminator, or something that is no network
                continue
            name = file.parent.name if file.stem == "netG" else file.stem
            target = models / folder / offer.name / f"{name}.safetensors"
            if target in written:
                target = target.with_name(f"{file.parent.name}-{name}.safetensors")
            _check_replaceable(target, offer)
            try:
                _convert(file, folder, target, metadata)
            except ValueError as error:
                logger.warning("%s: left out %s", offer.file, error)
            else:
                written.append(target)
    finally:
        shutil.rmtree(unpacked, ignore_errors=True)
    if not written:
        raise ValueError(f"{offer.address} holds no model that this pack reads")
    return written


def _unpack(download: Path, folder: Path, offer: Offer) -> Iterator[None]:
    """Unpack the model files of a zip, none outside `folder`; yields after each. ValueError for a broken zip."""
    try:
        with zipfile.ZipFile(download) as archive:
            entries = [entry for entry in archive.infolist() if _is_model(folder / entry.filename, folder)]
            check_size(sum(entry.file_size for entry in entries), download)
            for entry in entries:
                file = folder / entry.filename
                file.parent.mkdir(parents=True, exist_ok=True)
                with archive.open(entry) as packed, file.open("wb") as unpacked:
                    shutil.copyfileobj(packed, unpacked)
                yield
    except ValueError:
        raise
    except Exception as error:  # zipfile and its decompressors raise errors of many types, as do odd file names
        raise ValueError(f"{offer.address} is not a readable zip ({error}); download it again") from error


def _is_model(file: Path, folder: Path) -> bool:
    is_inside = file.resolve().is_relative_to(folder.resolve())
    return is_inside and file.suffix.lower() in MODEL_ENDINGS and not file.name.startswith(".")
