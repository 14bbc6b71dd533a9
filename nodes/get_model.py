"""Downloading models that others offer. Only the node's button starts a download, never a workflow."""

import threading
import time
from pathlib import Path

from ..gansketching_core.checkpoints.load import load_model
from ..gansketching_core.downloads.catalogue import OFFERS
from ..gansketching_core.downloads.fetch import size_of
from ..gansketching_core.downloads.install import install
from . import host, model_files
from . import widgets as ui
from .widgets import MODEL

EVENT, ROUTE = "gansketching.download", "/gansketching/download"
EVERY = 0.5  # seconds between messages
TOOLTIP = "The model to download. The button first shows its address and its licence, and asks."
SHOWN = {  # by the button
    "gansketching_offers": {
        name: {"about": offer.about, "address": offer.address, "licence": offer.licence}
        for name, offer in OFFERS.items()
    }
}

_running: dict[str, threading.Event] = {}  # name of an offer -> set to cancel its download
_lock = threading.Lock()


class _CancelledError(Exception):
    """The user has cancelled the download."""


class GetModel:
    DISPLAY_NAME = "Get StyleGAN Model"
    CATEGORY = "GANSketching/loaders"
    DESCRIPTION = (
        "Lists models that others offer: NVIDIA's StyleGAN2 and the models of the authors of Sketch Your Own GAN. "
        "Nothing is downloaded before you press the button and accept the licence."
    )
    SEARCH_ALIASES = ("download", "pretrained", "ffhq", "cat", "church", "horse", "car", "nvidia", "weights")
    RETURN_TYPES = (MODEL,)
    RETURN_NAMES = ("model",)
    OUTPUT_TOOLTIPS = ("The generator, once it is downloaded. Load StyleGAN lists it as well.",)
    FUNCTION = "load"
    INPUT_TYPES = ui.inputs(offer=(list(OFFERS), {"default": next(iter(OFFERS)), "tooltip": TOOLTIP, **SHOWN}))

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


def _file(offer: str) -> Path:
    return host.folder("models") / (OFFERS[offer].folder or "stylegan") / f"{offer}.safetensors"


def answer(data: object) -> tuple[int, dict]:
    """Answers the button's request -> HTTP status, JSON of the response.

    {"offer": name, "accepted": true} starts a download, {"offer": name, "cancel": true} cancels it, and
    {"offer": name, "size": true} asks the server of the file for its bytes; 0 if it does not say.
    """
    request = data if isinstance(data, dict) else {}
    offer = request.get("offer")
    if not isinstance(offer, str) or offer not in OFFERS:
        return 400, {"error": "choose one of the offers"}
    if request.get("size") is True:
        return 200, {"size": size_of(OFFERS[offer].address, 5)}
    with _lock:
        if request.get("cancel") is True:
            if offer in _running:
                _running[offer].set()
            return 200, {"state": "cancelling"}
        if request.get("accepted") is not True:
            return 403, {"error": "the licence has to be accepted first"}
        is_running = offer in _running
        cancelled = _running.setdefault(offer, threading.Event())
    if not is_running:
        threading.Thread(target=_download, args=(offer, cancelled), daemon=True).start()
    return 200, {"state": "downloading"}


def _download(offer: str, cancelled: threading.Event) -> None:
    """Runs in a thread of its own, even if the browser is closed. Every message carries the whole state."""
    last_sent = 0.0

    def send(state: str, text: str = "", done: int = 0, total: int = 0) -> None:
        host.send(EVENT, {"offer": offer, "state": state, "text": text, "done": done, "total": total})

    def on_bytes(done: int, total: int) -> None:
        nonlocal last_sent
        if time.monotonic() - last_sent > EVERY or done == total:
            last_sent = time.monotonic()
            send("converting" if done == total else "downloading", "", done, total)

    def poll() -> None:
        if cancelled.is_set():
            raise _CancelledError

    try:
        send("downloading")
        written = install(OFFERS[offer], host.folder("models"), on_bytes=on_bytes, poll=poll)
        send("done", ", ".join(path.name for path in written))
    except _CancelledError:
        send("cancelled", "Cancelled; what has arrived is kept for the next time.")
    except Exception as error:  # of any kind: this thread has no caller that could report it
        send("failed", str(error))
    finally:
        with _lock:
            _running.pop(offer, None)


host.on_post(ROUTE, answer)
