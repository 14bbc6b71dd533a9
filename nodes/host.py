"""What the nodes need from the program that runs them. The only module that knows ComfyUI.

Inside ComfyUI (its `folder_paths` is already imported when packs load) folders, device, progress, previews and
cancelling are ComfyUI's. Anywhere else the same calls have plain fallbacks, which a runner sets up:

    host.set_folders(input="drawings", output="results", temp="/tmp/x", models="models")   # any of them
    host.set_hooks(progress=lambda value, total, preview: ..., poll=lambda: ...)

`progress` gets whole numbers and a PIL image or None; `poll` is called often and cancels by raising. Without
`set_folders`, a folder comes from GANSKETCHING_INPUT, _OUTPUT, _TEMP or _MODELS, else it is input, output, temp or
models in the working directory. Folders are looked up at every call, so they can be set at any time.
"""

from __future__ import annotations

import asyncio
import contextlib
import copy
import dataclasses
import os
import sys
from collections.abc import Callable, Iterable, Iterator
from pathlib import Path
from typing import Any

import torch
from PIL import Image
from torch import nn

from ..gansketching_core.networks.stylegan2 import GanModel

IN_COMFYUI = "folder_paths" in sys.modules and "comfy.model_management" in sys.modules

if IN_COMFYUI:
    import comfy.model_management
    import comfy.utils
    import folder_paths
    import server
    from aiohttp import web
    from comfy_execution.graph_utils import ExecutionBlocker

PREVIEW_SIZE = 512  # longest side of a live preview, in pixels

_folders: dict[str, Path] = {}
_extensions: dict[str, frozenset[str]] = {}
_hooks: dict[str, Callable[..., None]] = {}


def set_folders(**folders: str | os.PathLike | None) -> None:
    """Choose the folders called input, output, temp and models. Outside ComfyUI only; None leaves one as it is."""
    unknown = set(folders) - {"input", "output", "temp", "models"}
    if unknown:
        raise ValueError(f"unknown folder {', '.join(sorted(unknown))}: use input, output, temp or models")
    _folders.update({name: Path(path).absolute() for name, path in folders.items() if path is not None})


def set_hooks(
    *,
    progress: Callable[[int, int, Image.Image | None], None] | None = None,
    poll: Callable[[], None] | None = None,
) -> None:
    """Receive progress and previews, and cancel by raising from `poll`. Outside ComfyUI only; None removes a hook."""
    _hooks.clear()
    _hooks.update({name: hook for name, hook in (("progress", progress), ("poll", poll)) if hook is not None})


def folder(name: str) -> Path:
    """The folder called "input", "output", "temp" or "models". It may not exist yet."""
    if IN_COMFYUI:
        return Path(folder_paths.models_dir if name == "models" else folder_paths.get_directory_by_type(name))
    fallback = os.environ.get(f"GANSKETCHING_{name.upper()}") or name
    return _folders.get(name) or Path(fallback).absolute()


def register_models(name: str, extensions: Iterable[str]) -> None:
    """Make models/`name` known, next to the folders the user's extra_model_paths gives for it."""
    _extensions[name] = frozenset(extensions)
    if IN_COMFYUI:
        folder_paths.add_model_folder_path(name, os.path.join(folder_paths.models_dir, name))
        paths, known = folder_paths.folder_names_and_paths[name]
        folder_paths.folder_names_and_paths[name] = (paths, set(known) | _extensions[name])


def model_files(name: str) -> dict[str, Path]:
    """Files of a registered model folder: name as listed (relative path) -> full path."""
    if IN_COMFYUI:
        names = [n for n in folder_paths.get_filename_list(name) if Path(n).suffix.lower() in _extensions[name]]
        return {n: Path(path) for n in names if (path := folder_paths.get_full_path(name, n))}
    return files_below(folder("models") / name, _extensions[name])


def files_below(root: Path, extensions: Iterable[str], exclude: Iterable[str] = ()) -> dict[str, Path]:
    """Files with one of these extensions under `root`: relative name with forward slashes -> full path, sorted."""
    skipped, found = set(exclude), {}
    for where, folders, files in os.walk(root, followlinks=True):
        folders[:] = sorted(f for f in folders if f not in skipped and not f.startswith("."))
        for file in files:
            path = Path(where, file)
            if path.suffix.lower() in extensions:
                found[path.relative_to(root).as_posix()] = path
    return dict(sorted(found.items()))


# ---------------------------------------------------------------------------------------------- device and progress


def device() -> torch.device:
    """Where to compute."""
    if IN_COMFYUI:
        return comfy.model_management.get_torch_device()
    return torch.device("cuda" if torch.cuda.is_available() else "cpu")


@contextlib.contextmanager
def borrowed_device(gigabytes: float) -> Iterator[torch.device]:
    """The compute device with about this much memory made free on it; what was used is handed back at the end."""
    chosen = device()
    if IN_COMFYUI and chosen.type != "cpu":
        comfy.model_management.free_memory(gigabytes * 2**30, chosen)
    try:
        yield chosen
    finally:
        if IN_COMFYUI:
            comfy.model_management.soft_empty_cache()
        elif chosen.type == "cuda":
            torch.cuda.empty_cache()


def on_device(network: nn.Module, where: torch.device) -> nn.Module:
    """The network itself if it is there, else a copy: what other nodes hold stays where it is."""
    here = next(network.parameters(), None)
    return network if here is None or here.device == where else copy.deepcopy(network).to(where)


def model_on_device(model: GanModel, where: torch.device) -> GanModel:
    discriminator = None if model.discriminator is None else on_device(model.discriminator, where)
    moved = {"generator": on_device(model.generator, where), "discriminator": discriminator}
    return dataclasses.replace(model, **moved, w_mean=model.w_mean.to(where))


@contextlib.contextmanager
def training_mode() -> Iterator[None]:
    """Gradients on. ComfyUI runs nodes in inference mode, whose tensors can't enter autograd: clone them inside."""
    with torch.inference_mode(False), torch.enable_grad():
        yield


def poll() -> None:
    """Raise if the user has cancelled. Cheap: call it often."""
    if IN_COMFYUI:
        comfy.model_management.throw_exception_if_processing_interrupted()
    elif "poll" in _hooks:
        _hooks["poll"]()


def cancelled(kind: type[BaseException]) -> bool:
    """Whether an exception of this kind is the user's wish to end, not a failure."""
    if IN_COMFYUI and issubclass(kind, comfy.model_management.InterruptProcessingException):
        return True
    return issubclass(kind, KeyboardInterrupt)


def execution_blocker() -> object | None:
    """An output upon which ComfyUI leaves out, without an error, what depends on it. None outside ComfyUI."""
    return ExecutionBlocker(None) if IN_COMFYUI else None


def send(event: str, data: dict[str, Any]) -> None:
    """A message to every open editor. Nothing outside ComfyUI."""
    if IN_COMFYUI:
        server.PromptServer.instance.send_sync(event, data)


def on_post(path: str, answer: Callable[[object], tuple[int, dict]]) -> None:
    """Let `answer` respond, in a thread, to what editors post to `path`: parsed JSON -> status and JSON. Nothing
    outside ComfyUI."""
    if not IN_COMFYUI:
        return

    @server.PromptServer.instance.routes.post(path)
    async def respond(request: web.Request) -> web.Response:
        try:
            data = await request.json()
        except ValueError:
            return web.json_response({"error": "send JSON"}, status=400)
        status, body = await asyncio.to_thread(answer, data)
        return web.json_response(body, status=status)


class Progress:
    """Progress bar of the running node, with an optional picture."""

    def __init__(self, total: int):
        self.total = total
        self._bar: Any = comfy.utils.ProgressBar(total) if IN_COMFYUI else None

    def update(self, value: int, preview: Image.Image | None = None) -> None:
        if self._bar is not None:
            picture = None if preview is None else ("JPEG", preview, PREVIEW_SIZE)
            self._bar.update_absolute(value, self.total, picture)
        elif "progress" in _hooks:
            _hooks["progress"](value, self.total, preview)

    def on_batch(self, done: int, _: int = 0) -> None:
        """For functions of the core that report their batches: shows progress, and raises if the user has cancelled."""
        poll()
        self.update(done)
