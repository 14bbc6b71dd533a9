"""The files that nodes list, load and save. A workflow names them as listed, never by paths.

A plain name is a file of ComfyUI's models folder, or a folder or a picture of its input folder; "name [datasets]" is a
folder of its data sets; "name [output]" was saved by this pack; "name [bundled]" comes with it.
"""

import filecmp
import hashlib
import logging
import re
from collections.abc import Callable, Iterable
from pathlib import Path
from typing import Any

from ..gansketching_core.checkpoints.load import load_base, load_customised, load_model
from ..gansketching_core.checkpoints.summary import FileSummary, summarise
from ..gansketching_core.datasets import IMAGE_ENDINGS
from ..gansketching_core.networks.stylegan2 import GanModel
from . import host
from .widgets import Widget, one_of, text

ROOT = Path(__file__).resolve().parent.parent
MODEL_FILES = frozenset({".safetensors", ".pt", ".pth", ".pkl"})
RESULTS, RUNS = "gansketching", "runs"  # output/gansketching/<name>.safetensors and output/gansketching/runs/<key>/
LATENTS, DIRECTIONS, BRIDGES = "latents", "directions", "bridges"  # further folders of output/gansketching
EXPORTS, PAGES = "exports", "pages"  # nothing in them is listed
RESERVED = (RUNS, LATENTS, DIRECTIONS, BRIDGES, EXPORTS, PAGES)
NOTHING = "nothing here yet"  # the only choice of an empty list

host.register_models("stylegan", MODEL_FILES)
host.register_models("photosketch", MODEL_FILES)
host.register_models("ganspace", {".npz", ".safetensors"})


def results_folder() -> Path:
    return host.folder("output") / RESULTS


def runs_folder() -> Path:
    return results_folder() / RUNS


def generators() -> dict[str, Path]:
    """Generators and customised models by listed name."""
    saved = host.files_below(results_folder(), MODEL_FILES, exclude=RESERVED)
    bundled = {name: path for name, path in _bundled_weights().items() if not name.startswith("sketcher")}
    files = host.model_files("stylegan")
    files = {name: path for name, path in files.items() if not path.name.lower().startswith("netd")}  # beside a netG
    return files | _tagged(saved, "output") | _tagged(bundled, "bundled")


def sketchers() -> dict[str, Path]:
    """Photo-to-sketch networks by listed name."""
    bundled = {name: path for name, path in _bundled_weights().items() if name.startswith("sketcher")}
    return _tagged(bundled, "bundled") | host.model_files("photosketch")


def drawings() -> dict[str, Path]:
    """Folders with pictures, and single pictures, by listed name: ComfyUI's, then the bundled samples."""
    return _users_pictures() | _tagged(_picture_folders(ROOT / "samples" / "sketches"), "bundled")


def photos() -> dict[str, Path]:
    """As drawings(), but with the bundled photos, all and one by one."""
    bundled = host.files_below(ROOT / "samples" / "photos", IMAGE_ENDINGS)
    return _users_pictures() | _tagged({"photos": ROOT / "samples" / "photos", **bundled}, "bundled")


def latents() -> dict[str, Path]:
    """Saved latents by listed name."""
    return _tagged(host.files_below(results_folder() / LATENTS, {".safetensors"}), "output")


def directions() -> dict[str, Path]:
    """Directions of w by listed name: those of models/ganspace, then those saved by this pack."""
    saved = host.files_below(results_folder() / DIRECTIONS, {".safetensors"})
    return host.model_files("ganspace") | _tagged(saved, "output")


def bridges() -> dict[str, Path]:
    """Saved latent bridges by listed name."""
    return _tagged(host.files_below(results_folder() / BRIDGES, {".safetensors"}), "output")


def _bundled_weights() -> dict[str, Path]:
    return host.files_below(ROOT / "weights", MODEL_FILES)


def _tagged(files: dict[str, Path], tag: str) -> dict[str, Path]:
    return {f"{name} [{tag}]": path for name, path in files.items()}


def _users_pictures() -> dict[str, Path]:
    """Folders of ComfyUI's input folder and data sets, and the pictures that lie directly in its input folder."""
    found = _picture_folders(host.folder("input"))
    for root in host.dataset_folders():
        found |= _tagged(_picture_folders(root), "datasets")
    pictures = host.files_below(host.folder("input"), IMAGE_ENDINGS)
    return found | {name: path for name, path in pictures.items() if "/" not in name}


def _picture_folders(root: Path) -> dict[str, Path]:
    pictures = host.files_below(root, IMAGE_ENDINGS)
    names = sorted({Path(name).parent.as_posix() for name in pictures} - {"."})
    return {name: root / name for name in names}


def choice(files: Callable[[], Iterable[str]], tooltip: str) -> Callable[[], Widget]:
    """A list widget for `inputs`. Its default is the first name that comes with the pack, else the first of all."""

    def widget() -> Widget:
        names = list(files()) or [NOTHING]
        first = next((name for name in names if name.endswith("[bundled]")), names[0])
        return one_of(names, first, tooltip)

    return widget


def name_widget(default: str) -> Widget:
    """The name of a new file; see new_result."""
    return text(default, "File name; a number is added so that no file is replaced. A / makes a subfolder.")


def pick(files: dict[str, Path], name: str) -> Path:
    """The file or folder listed as `name`."""
    if name not in files:
        known = ", ".join(files) or "the list is empty"
        raise ValueError(f'"{name}" is not in the list any more; choose one of: {known}')
    return files[name]


def listed(
    files: dict[str, Path], name: str | None, remedy: str, problem: Callable[[Path], str] = lambda path: ""
) -> bool | str:
    """For VALIDATE_INPUTS: True, or a sentence about what is wrong with a name or its file.

    Args:
        files: the list.
        name: None if it is linked and so not known yet.
        remedy: what to do about a name that is not in the list.
        problem: what is wrong with a file, "" if nothing is.
    """
    if name is None:
        return True
    if name == NOTHING:
        return remedy
    if name not in files:
        return f'"{name}" does not exist. {remedy}'
    return problem(files[name]) or True


def pictures_listed(files: dict[str, Path], name: str | None, what: str) -> bool | str:
    """`listed` for folders and pictures; what: the pictures, in a word."""
    root = host.folder("input")
    if name not in files and name in {path.relative_to(root).as_posix() for path in root.rglob("*") if path.is_dir()}:
        endings = ", ".join(IMAGE_ENDINGS)
        return f'The folder "{name}" holds no pictures: put {what} into it ({endings}) and refresh the node list (R).'
    return listed(files, name, f"Put {what} into a folder inside ComfyUI's input folder and refresh the node list (R).")


def changes_of(files: Callable[[], dict[str, Path]], widget: str) -> staticmethod:
    """An IS_CHANGED: the fingerprint of what the widget names; "" for a name that is not listed, or linked."""

    def is_changed(**inputs: Any) -> str:
        path = files().get(inputs.get(widget) or "")
        return fingerprint(path) if path else ""

    return staticmethod(is_changed)


def fingerprint(path: Path) -> str:
    """A hash (hex) that changes when the file, or any file in the folder, changes."""
    files = sorted(path.rglob("*")) if path.is_dir() else [path]
    digest = hashlib.sha256()
    for file in filter(Path.is_file, files):
        stat = file.stat()
        digest.update(f"{file.relative_to(path)} {stat.st_size} {stat.st_mtime_ns}\n".encode())
    return digest.hexdigest()


def load_generator(path: Path) -> GanModel:
    """A model from its file; a customised one with its base, which has to be among the listed files."""
    summary = _summary(path)
    if summary is None or summary.kind != "customised":
        return load_model(path)
    base = load_base(summary, _others(path))
    if base is None:
        raise ValueError(_missing_base(path, summary))
    return load_customised(path, base)


def file_problem(path: Path) -> str:
    """Why a .safetensors file can't be loaded: it is damaged, or a customised model whose base is not listed; else "".

    Pickles are not read, which would take long: neither the file itself nor those that could be the base.
    """
    summary = _summary(path)
    if summary is None or summary.kind != "customised":
        return summary.problem if summary else ""
    for other in map(_summary, _others(path)):
        if other is None or (other.kind == "model" and other.hash in ("", summary.base_hash)):  # "": hash not noted
            return ""
    return _missing_base(path, summary)


def _summary(path: Path) -> FileSummary | None:
    """The summary of a .safetensors file; None for a pickle."""
    return summarise(path) if path.suffix.lower() == ".safetensors" else None


def _others(path: Path) -> list[Path]:
    return [other for other in generators().values() if other != path]


def _missing_base(customised: Path, summary: FileSummary) -> str:
    return (
        f'{customised.name} was customised from the model "{summary.base_name}" (hash {summary.base_hash[:12]}), which '
        "is not among the listed models. Put that model into models/stylegan and run again."
    )


def new_result(name: str, kind: str = "", end: str = ".safetensors") -> Path:
    """A file in output/gansketching that does not exist yet: name_00001.safetensors, name_00002.safetensors ...

    Args:
        name: may have folders. Characters that some file system refuses become "_"; no name leads out of the folder.
        kind: LATENTS, DIRECTIONS, EXPORTS or PAGES for their own folder, "" for a model.
        end: of the file's name, instead of ".safetensors"; "" for a folder.
    """
    parts = [_plain(part) for part in re.split(r"[/\\]", name)]
    *folders, stem = [part for part in parts if part] or [kind or "customised"]
    if not kind:
        folders = [f"{part}_" if part.lower() in RESERVED else part for part in folders]
    folder = (results_folder() / kind).joinpath(*folders)
    number = host.free_number(folder, rf"{re.escape(stem)}_(\d+){re.escape(end)}$")
    return folder / f"{stem}_{number:05}{end}"


def save(name: str, kind: str, write: Callable[[Path], object], contents: str) -> dict:
    """Writes a new file, unless an earlier number of it has the same content: nothing is saved twice.

    Args:
        name, kind: see new_result.
        write: writes the file at the given path.
        contents: what it holds, in words.

    Returns what the node returns: a line of text for the editor. The line is logged, too.
    """
    path = new_result(name, kind)
    write(path)
    stem = path.stem.rpartition("_")[0]
    others = [
        other for other in path.parent.glob("*.safetensors") if re.fullmatch(rf"{re.escape(stem)}_\d+", other.stem)
    ]
    twins = [other for other in sorted(others) if other != path and filecmp.cmp(other, path, shallow=False)]
    text = f"Saved {path.relative_to(results_folder())}, {contents}."
    if twins:
        path.unlink()
        text = f"Already saved as {twins[0].relative_to(results_folder())}, {contents}."
    logging.getLogger(__name__).info(text)
    return {"ui": {"text": [text]}}


def _plain(part: str) -> str:
    return re.sub(r'[<>:"|?*\x00-\x1f%]', "_", part).strip(". ")[:100]
