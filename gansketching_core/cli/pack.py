"""Where the node pack and its bundled files are, in a checkout and in an installed package."""

from __future__ import annotations

import importlib
import importlib.util
import pkgutil
import sys
from pathlib import Path
from types import ModuleType

CORE = __package__.partition(".")[0]
PACK = "gansketching_pack"  # its name in a wheel; ComfyUI gives the pack a name of its own


def pack_root() -> Path:
    """The folder with nodes/, weights/ and workflows/: the checkout, or the pack next to an installed core."""
    beside = Path(__file__).resolve().parents[2]
    return beside if (beside / "nodes" / "__init__.py").is_file() else beside / PACK


def load_pack() -> ModuleType:
    """The pack as a package, as ComfyUI loads it, but with this core instead of a second copy under its own name."""
    if PACK not in sys.modules:
        _share_core()
        root = pack_root()
        spec = importlib.util.spec_from_file_location(
            PACK, root / "__init__.py", submodule_search_locations=[str(root)]
        )
        sys.modules[PACK] = module = importlib.util.module_from_spec(spec)
        try:
            spec.loader.exec_module(module)
        except BaseException:
            del sys.modules[PACK]
            raise
    return sys.modules[PACK]


def _share_core() -> None:
    """Make every module of the core, but for the command line, known under the name that the pack imports it by."""
    core = Path(__file__).resolve().parents[1]
    names = [CORE]
    for module in pkgutil.walk_packages([str(core)], f"{CORE}."):
        if not module.name.startswith(f"{CORE}.cli"):
            names.append(module.name)
    for name in names:
        sys.modules[f"{PACK}.{name}"] = importlib.import_module(name)


def find_file(name: str, folder: str, suffix: str) -> Path:
    """`name` as a path, else the bundled file of that name: folder/name + suffix."""
    path = Path(name)
    if path.is_file():
        return path
    bundled = pack_root() / folder
    known = sorted(p.stem for p in bundled.glob(f"*{suffix}"))
    if name in known:
        return bundled / f"{name}{suffix}"
    shown = f"bundled: {', '.join(known)}" if known else "nothing of the kind is bundled"
    raise ValueError(f'there is no file "{name}" ({shown})')
