"""Installing a download: unpacked, turned into .safetensors, put where nodes list it. No code of a file is run."""

from __future__ import annotations

import shutil
import zipfile
from collections.abc import Callable
from pathlib import Path, PurePosixPath

from ..checkpoints.describe import kind_of, summarise
from ..checkpoints.load import load_model, load_photosketch
from ..checkpoints.native import save_model, save_photosketch
from .catalogue import Offer
from .fetch import Report, Rules, check_size, discard, fetch

_FOLDERS = {"model": "stylegan", "photosketch": "photosketch"}
MODEL_ENDINGS = {".pth", ".pt", ".pkl"}
PLACE = ".gansketching"  # of the models folder: downloads under way, apart from what the user keeps there


def install(
    offer: Offer,
    models: Path,
    *,
    keep: bool = False,
    rules: Rules = Rules(),  # noqa: B008 (frozen)
    on_bytes: Report | None = None,
    poll: Callable[[], None] = lambda: None,
) -> list[Path]:
    """Download an offer and write its models as .safetensors below `models` -> the files written.

    keep: keep what was downloaded, too, beside them. The files name their source, licence and the SHA-256 of the
    download. Interrupted by `poll`, the next call goes on. What the user has in the folder is never replaced:
    ValueError for a file of the same name that came from elsewhere.
    """
    folder = models / (offer.folder or "stylegan")
    kept, target = folder / offer.file, folder / f"{offer.name}.safetensors"
    if keep and kept.exists():
        raise ValueError(f"{kept} exists already; rename it first, or leave out --keep")
    if offer.folder:
        _check_free(target, offer)
    download = models / PLACE / offer.file
    digest = fetch(offer.address, download, rules=rules, on_bytes=on_bytes, poll=poll)
    about = {"source": offer.address, "source_sha256": digest, "licence": offer.licence}
    try:
        written = (
            [_convert(download, offer.folder, target, about)]
            if offer.folder
            else _unpack(download, offer, models, about, poll)
        )
    except ValueError:  # not the file it should be: the next call fetches it anew
        discard(download)
        raise
    if keep:
        folder.mkdir(parents=True, exist_ok=True)
        download.replace(kept)
    discard(download)
    return written


def _check_free(target: Path, offer: Offer) -> None:
    if target.exists() and summarise(target).source != offer.address:
        raise ValueError(f"{target} exists already and did not come from {offer.address}; rename it first")


def _convert(source: Path, folder: str, target: Path, about: dict[str, str]) -> Path:
    """A generator or a sketcher, whichever the folder is for."""
    sketcher = folder == "photosketch"
    network = load_photosketch(source) if sketcher else load_model(source)
    target.parent.mkdir(parents=True, exist_ok=True)
    (save_photosketch if sketcher else save_model)(network, target, metadata=about)
    return target


def _unpack(download: Path, offer: Offer, models: Path, about: dict[str, str], poll) -> list[Path]:
    """The models of a zip, in a folder named like the offer. Files of one folder come out together, as a discriminator
    is looked for beside."""
    written, place = [], download.with_suffix("")
    try:
        try:
            _extract(download, place, poll)
        except (zipfile.BadZipFile, RuntimeError) as error:
            raise ValueError(f"{offer.address} is not a readable zip; download it again") from error
        for file in sorted(path for path in place.rglob("*") if path.suffix.lower() in MODEL_ENDINGS):
            poll()
            folder = _FOLDERS.get(kind_of(file))
            if not folder:
                continue  # a discriminator, or something that is no network
            name = file.stem if file.stem != "netG" else file.parent.name
            target = models / folder / offer.name / f"{name}.safetensors"
            if target in written:
                target = target.with_name(f"{file.parent.name}-{name}.safetensors")
            _check_free(target, offer)
            written.append(_convert(file, folder, target, about))
    finally:
        shutil.rmtree(place, ignore_errors=True)
    if not written:
        raise ValueError(f"{offer.address} holds no model that this pack reads")
    return written


def _extract(download: Path, place: Path, poll) -> None:
    """The model files of a zip, none of them outside `place`."""
    with zipfile.ZipFile(download) as archive:
        wanted = [
            entry
            for entry in archive.infolist()
            if PurePosixPath(entry.filename).suffix.lower() in MODEL_ENDINGS
            and not PurePosixPath(entry.filename).name.startswith(".")
            and (place / entry.filename).resolve().is_relative_to(place.resolve())
        ]
        check_size(sum(entry.file_size for entry in wanted), download)
        for entry in wanted:
            file = place / entry.filename
            file.parent.mkdir(parents=True, exist_ok=True)
            with archive.open(entry) as packed, file.open("wb") as unpacked:
                while block := packed.read(1 << 20):
                    unpacked.write(block)
                    poll()
