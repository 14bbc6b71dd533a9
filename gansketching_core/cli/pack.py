"""Where the node pack and its bundled files are, in a checkout and in an installed package."""

import importlib
import importlib.util
import pkgutil
import sys
from pathlib import Path
from types import ModuleType

CORE = "gansketching_core"
PACK = "gansketching_pack"  # its name in a wheel; ComfyUI names the pack after its folder


def pack_root() -> Path:
    """The folder with nodes/, weights/ and workflows/: the checkout, or the pack next to an installed core."""
    parent = Path(__file__).resolve().parents[2]
    return parent if (parent / "nodes" / "__init__.py").is_file() else parent / PACK


def load_pack() -> ModuleType:
    """Import the node pack by its path, as ComfyUI does.

    The nodes import the core relatively, because ComfyUI chooses the name of the pack; here that is
    gansketching_pack.gansketching_core. Every module of the core is registered under that name first: a second copy
    would have classes of its own, and a model that one copy has loaded would fail isinstance() in the other.
    """
    if PACK not in sys.modules:
        core = importlib.import_module(CORE)
        sys.modules[f"{PACK}.{CORE}"] = core
        for module in pkgutil.walk_packages(core.__path__, f"{CORE}."):
            if not module.name.startswith(f"{CORE}.cli"):  # no node imports the command line
                sys.modules[f"{PACK}.{module.name}"] = importlib.import_module(module.name)
        root = pack_root()
        spec = importlib.util.spec_from_file_location(
            PACK, root / "__init__.py", submodule_search_locations=[str(root)]
        )
        assert spec and spec.loader
        sys.modules[PACK] = importlib.util.module_from_spec(spec)
        spec.loader.exec_module(sys.modules[PACK])
    return sys.modules[PACK]


def find_file(name: str, folder: str, suffix: str) -> Path:
    """The file at the path `name`, or else the bundled file folder/name + suffix."""
    path = Path(name)
    if path.is_file():
        return path
    bundled = pack_root() / folder
    known = sorted(p.stem for p in bundled.glob(f"*{suffix}"))
    if name in known:
        return bundled / f"{name}{suffix}"
    shown = f"bundled: {', '.join(known)}" if known else "no such file is bundled"
    raise ValueError(f'there is no file "{name}" ({shown})')
