"""The files that nodes list: generators, sketchers and folders of drawings. Names come from these lists, never paths.

A plain name is a file of ComfyUI's models folder (or a folder of its input); "name [output]" was saved by this pack;
"name [bundled]" comes with it.
"""

from __future__ import annotations

import hashlib
import re
from collections.abc import Callable, Iterable
from pathlib import Path

from ..gansketching_core.checkpoints.describe import describe
from ..gansketching_core.checkpoints.load import load_customised, load_model
from ..gansketching_core.datasets import IMAGE_ENDINGS
from ..gansketching_core.networks.stylegan2 import GanModel
from . import host

ROOT = Path(__file__).resolve().parent.parent
MODEL_FILES = frozenset({".safetensors", ".pt", ".pth", ".pkl"})
RESULTS, RUNS = "gansketching", "runs"  # output/gansketching/<name>.safetensors and output/gansketching/runs/<key>/
LATENTS, DIRECTIONS = "latents", "directions"  # further folders of output/gansketching
RESERVED = (RUNS, LATENTS, DIRECTIONS)

host.register_models("stylegan", MODEL_FILES)
host.register_models("photosketch", MODEL_FILES)
host.register_models("ganspace", {".npz", ".safetensors"})

_descriptions: dict[str, dict[str, str]] = {}


def results_folder() -> Path:
    return host.folder("output") / RESULTS


def runs_folder() -> Path:
    return results_folder() / RUNS


# ------------------------------------------------------------------------------------------------------------- lists


def generators() -> dict[str, Path]:
    """Generators and customised models by listed name."""
    saved = host.files_below(results_folder(), MODEL_FILES, exclude=RESERVED)
    bundled = {name: path for name, path in _bundled_weights().items() if not name.startswith("sketcher")}
    return host.model_files("stylegan") | _tagged(saved, "output") | _tagged(bundled, "bundled")


def sketchers() -> dict[str, Path]:
    """PhotoSketch networks by listed name."""
    bundled = {name: path for name, path in _bundled_weights().items() if name.startswith("sketcher")}
    return _tagged(bundled, "bundled") | host.model_files("photosketch")


def drawings() -> dict[str, Path]:
    """Folders that contain pictures, by listed name: those of ComfyUI's input, then the bundled samples."""
    return _picture_folders(host.folder("input")) | _tagged(_picture_folders(ROOT / "samples" / "sketches"), "bundled")


def photos() -> dict[str, Path]:
    """Folders of photos, as in drawings(), then the bundled photos one by one."""
    bundled = host.files_below(ROOT / "samples" / "photos", IMAGE_ENDINGS)
    folders = _picture_folders(host.folder("input"))
    return folders | _tagged({"photos": ROOT / "samples" / "photos", **bundled}, "bundled")


def latents() -> dict[str, Path]:
    """Saved latents by listed name."""
    return _tagged(host.files_below(results_folder() / LATENTS, {".safetensors"}), "output")


def directions() -> dict[str, Path]:
    """Directions of w by listed name: those of models/ganspace, then those saved by this pack."""
    saved = host.files_below(results_folder() / DIRECTIONS, {".safetensors"})
    return host.model_files("ganspace") | _tagged(saved, "output")


def _bundled_weights() -> dict[str, Path]:
    return host.files_below(ROOT / "weights", MODEL_FILES)


def _tagged(files: dict[str, Path], tag: str) -> dict[str, Path]:
    return {f"{name} [{tag}]": path for name, path in files.items()}


def _picture_folders(root: Path) -> dict[str, Path]:
    pictures = host.files_below(root, IMAGE_ENDINGS)
    names = sorted({str(Path(name).parent.as_posix()) for name in pictures} - {"."})
    return {name: root / name for name in names}


def pick(files: dict[str, Path], name: str) -> Path:
    """The file or folder listed as `name`."""
    if name not in files:
        known = ", ".join(files) or "the list is empty"
        raise ValueError(f'"{name}" is not in the list any more; choose one of: {known}')
    return files[name]


def listed(
    files: dict[str, Path], name: str | None, remedy: str, problem: Callable[[Path], str] = lambda path: ""
) -> bool | str:
    """For VALIDATE_INPUTS: True, or what to do about a name that is not listed, or the problem with its file. None: the
    name comes by a link."""
    if name is None:
        return True
    return problem(files[name]) or True if name in files else f'"{name}" was not found. {remedy}'


def version(files: dict[str, Path], name: str | None) -> str:
    """For IS_CHANGED: the fingerprint of what is listed as `name`; "" where the name comes by a link."""
    return fingerprint(files[name]) if name in files else ""


def fingerprint(path: Path) -> str:
    """Changes when a file, or any file in a folder, changes."""
    files = sorted(file for file in path.rglob("*") if file.is_file()) if path.is_dir() else [path]
    stats = [(str(file.relative_to(path)), file.stat()) for file in files]
    return hashlib.sha256(repr([(n, s.st_size, s.st_mtime_ns) for n, s in stats]).encode()).hexdigest()


# ----------------------------------------------------------------------------------------------------------- loading


def load_generator(path: Path) -> GanModel:
    """A model from its file; a customised one together with the base it was made from, searched among those listed."""
    if path.suffix.lower() == ".safetensors":
        about = _described(path)
        if about["kind"] == "customised model":
            return load_customised(path, load_model(_find_base(path, about)))
    return load_model(path)


def file_problem(path: Path) -> str:
    """The problem with a .safetensors, a customised model without its listed base among them; "" when all is well, or
    when only reading a pickle, which takes long, could tell."""
    if path.suffix.lower() != ".safetensors":
        return ""
    about = _described(path)
    if about["kind"] != "customised model":
        return about.get("problem", "")
    others = [other for other in generators().values() if other != path]
    if any(other.suffix.lower() != ".safetensors" for other in others):
        return ""
    try:
        _find_base(path, about)
    except ValueError as error:
        return str(error)
    return ""


def _find_base(delta: Path, about: dict[str, str]) -> Path:
    """The listed model whose weights have the hash that a customised model names. Its namesakes are tried first."""
    candidates = [path for path in generators().values() if path != delta]
    for path in sorted(candidates, key=lambda path: path.stem != about["base"]):
        if _described(path).get("hash") == about["base hash"]:
            return path
    raise ValueError(
        f'{delta.name} was customised from the model "{about["base"]}" (hash {about["base hash"][:12]}), which is not '
        "among the listed models. Put that model into models/stylegan and run again."
    )


def _described(path: Path) -> dict[str, str]:
    """checkpoints.describe, remembered while the file stays the same."""
    key = f"{path}:{fingerprint(path)}"
    if key not in _descriptions:
        _descriptions[key] = describe(path)
    return _descriptions[key]


# ------------------------------------------------------------------------------------------------------------ saving


def new_result(name: str, kind: str = "") -> Path:
    """A file in output/gansketching that does not exist yet: name_00001.safetensors ... `kind`: LATENTS or DIRECTIONS,
    for their own folder; "" for a model.

    name: may have folders. Characters that some file system refuses become "_", and no name leads out of the folder.
    """
    parts = [_plain(part) for part in re.split(r"[/\\]", name)]
    parts = [part for part in parts if part] or [kind or "customised"]
    if not kind:
        parts[:-1] = [f"{part}_" if part.lower() in RESERVED else part for part in parts[:-1]]
    folder = (results_folder() / kind).joinpath(*parts[:-1])
    taken = re.compile(rf"{re.escape(parts[-1])}_(\d+)\.safetensors", re.IGNORECASE)
    files: Iterable[Path] = folder.iterdir() if folder.is_dir() else ()
    count = max((int(found[1]) for file in files if (found := taken.fullmatch(file.name))), default=0)
    return folder / f"{parts[-1]}_{count + 1:05}.safetensors"


def _plain(part: str) -> str:
    return re.sub(r'[<>:"|?*\x00-\x1f%]', "_", part).strip(". ")[:100]
