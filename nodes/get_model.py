"""Getting models that others offer: downloads start only from the node's own button, never by running a workflow."""

from __future__ import annotations

import threading
import time

from ..gansketching_core.checkpoints.load import load_model
from ..gansketching_core.downloads.catalogue import OFFERS
from ..gansketching_core.downloads.fetch import Rules, size_of
from ..gansketching_core.downloads.install import install
from . import host, model_files

EVENT, ROUTE = "gansketching.download", "/gansketching/download"
EVERY = 0.5  # seconds between messages

_running: dict[str, threading.Event] = {}  # offer -> set to cancel it
_lock = threading.Lock()


class _CancelledError(Exception):
    pass


class GetModel:
    DISPLAY_NAME = "Get Model"
    CATEGORY = "GANSketching/loaders"
    DESCRIPTION = (
        "Lists models that others offer: NVIDIA's StyleGAN2 and the models of the authors of Sketch Your Own GAN. "
        "Nothing is downloaded before you press the button and accept the licence."
    )
    SEARCH_ALIASES = ("download", "pretrained", "ffhq", "cat", "church", "horse", "car", "nvidia", "weights")
    RETURN_TYPES = ("GANSKETCHING_MODEL",)
    RETURN_NAMES = ("model",)
    OUTPUT_TOOLTIPS = ("The generator, once it is downloaded. Load StyleGAN lists it, too.",)
    FUNCTION = "load"

    @classmethod
    def INPUT_TYPES(cls):
        tooltip = "What to get. The button tells where it comes from and under what licence, before anything happens."
        facts = {o.name: {"about": o.about, "address": o.address, "licence": o.licence} for o in OFFERS.values()}
        return {
            "required": {
                "offer": (
                    list(OFFERS),
                    {"default": next(iter(OFFERS)), "tooltip": tooltip, "gansketching_offers": facts},
                )
            }
        }

    @classmethod
    def VALIDATE_INPUTS(cls, offer):
        if offer not in OFFERS:
            return f'"{offer}" is not offered; choose one of {", ".join(OFFERS)}'
        if not OFFERS[offer].folder:
            return f"{offer} is a collection: press Download, then choose one of its models in Load StyleGAN"
        if not _file(offer).is_file():
            return f"{offer} is not downloaded yet: press Download in the node. Licence: {OFFERS[offer].licence}"
        return True

    @classmethod
    def IS_CHANGED(cls, offer):
        return model_files.fingerprint(_file(offer)) if _file(offer).is_file() else ""

    def load(self, offer):
        with host.training_mode():
            return (load_model(_file(offer)),)


def _file(name: str):
    return host.folder("models") / (OFFERS[name].folder or "stylegan") / f"{name}.safetensors"


def answer(data: object) -> tuple[int, dict]:
    """Answer to the button: {"offer": name, "accepted": true} starts, {"offer": name, "cancel": true} ends, and
    {"offer": name, "size": true} asks the server that has the file for its bytes (0: it doesn't say)."""
    name = data.get("offer") if isinstance(data, dict) else None
    if not isinstance(name, str) or name not in OFFERS:
        return 400, {"error": "choose one of the offers"}
    if data.get("size") is True:
        return 200, {"size": size_of(OFFERS[name].address, Rules(timeout=5))}
    with _lock:
        if data.get("cancel") is True:
            if name in _running:
                _running[name].set()
            return 200, {"state": "cancelling"}
        if data.get("accepted") is not True:
            return 403, {"error": "the licence has to be accepted first"}
        cancelled = None if name in _running else _running.setdefault(name, threading.Event())
    if cancelled:
        threading.Thread(target=_download, args=(name, cancelled), daemon=True).start()
    return 200, {"state": "downloading"}


def _download(name: str, cancelled: threading.Event) -> None:
    """Runs in its own thread, also when the browser is closed. Every message tells the whole state."""
    told = 0.0

    def tell(state: str, text: str = "", done: int = 0, total: int = 0) -> None:
        host.send(EVENT, {"offer": name, "state": state, "text": text, "done": done, "total": total})

    def on_bytes(done: int, total: int) -> None:
        nonlocal told
        if time.monotonic() - told > EVERY or done == total:
            told = time.monotonic()
            tell("converting" if done == total else "downloading", "", done, total)

    def poll() -> None:
        if cancelled.is_set():
            raise _CancelledError

    try:
        tell("downloading")
        written = install(OFFERS[name], host.folder("models"), on_bytes=on_bytes, poll=poll)
        tell("done", ", ".join(path.name for path in written))
    except _CancelledError:
        tell("cancelled", "Cancelled; what has arrived is kept for the next time.")
    except Exception as error:  # of whatever kind: it must reach the user, there is nobody else to raise to
        tell("failed", str(error))
    finally:
        with _lock:
            _running.pop(name, None)


host.on_post(ROUTE, answer)
