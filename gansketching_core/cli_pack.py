"""Where the node pack and its bundled files are, in a checkout and in an installed package."""

from __future__ import annotations

import importlib.util
import sys
from pathlib import Path
from types import ModuleType

PACK = "gansketching_pack"  # its name in a wheel; ComfyUI gives the pack a name of its own


def pack_root() -> Path:
    """The folder with nodes/, weights/ and workflows/: the checkout, or the pack next to an installed core."""
    beside = Path(__file__).resolve().parent.parent
    return beside if (beside / "nodes" / "headless.py").is_file() else beside / PACK


def load_pack() -> ModuleType:
    """The pack as a package, as ComfyUI loads it. It brings a copy of the core of its own: hand it plain values."""
    if PACK not in sys.modules:
        root, core = pack_root(), Path(__file__).resolve().parent
        spec = importlib.util.spec_from_file_location(
            PACK, root / "__init__.py", submodule_search_locations=[str(root), str(core.parent)]
        )
        sys.modules[PACK] = module = importlib.util.module_from_spec(spec)
        try:
            spec.loader.exec_module(module)
        except BaseException:
            del sys.modules[PACK]
            raise
    return sys.modules[PACK]


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
