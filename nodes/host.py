"""What the nodes need from the program that runs them. The only module that knows ComfyUI.

Inside ComfyUI (its `folder_paths` is already imported when packs load) folders, device, progress, previews and
cancelling are ComfyUI's. Anywhere else the same calls have plain fallbacks, which a runner sets up:

    host.set_folders(input="drawings", output="results", temp="/tmp/x", models="models")   # any of them
    host.set_hooks(progress=lambda value, total, preview: ..., poll=lambda: ...)

`progress` gets whole numbers and a PIL image or None; `poll` is called often and cancels by raising. Without
`set_folders`, the folders are input, output, temp and models in the working directory. Folders are looked up at every
call, so they can be set at any time.
"""

import asyncio
import contextlib
import copy
import dataclasses
import logging
import os
import re
import sys
from collections.abc import Callable, Collection, Iterator
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

log = logging.getLogger(__name__)

PREVIEW_SIZE = 512  # longest side of a live preview, in pixels

_folders: dict[str, Path] = {}
_extensions: dict[str, frozenset[str]] = {}
_hooks: dict[str, Callable[..., None] | None] = {"progress": None, "poll": None}


def set_folders(**folders: str | os.PathLike | None) -> None:
    """Choose the folders called input, output, temp and models. Outside ComfyUI only; None leaves one as it is."""
    unknown = set(folders) - {"input", "output", "temp", "models"}
    if unknown:
        raise ValueError(f"unknown folder {', '.join(sorted(unknown))}: use input, output, temp or models")
    _folders.update({name: Path(path).absolute() for name, path in folders.items() if path is not None})


def set_hooks(
    *, progress: Callable[[int, int, Image.Image | None], None] | None = None, poll: Callable[[], None] | None = None
) -> None:
    """Receive progress and previews, and cancel by raising from `poll`. Outside ComfyUI only; None removes a hook."""
    _hooks.update(progress=progress, poll=poll)


def folder(name: str) -> Path:
    """The folder called "input", "output", "temp" or "models". It may not exist yet."""
    if IN_COMFYUI:
        return Path(folder_paths.models_dir if name == "models" else folder_paths.get_directory_by_type(name))
    return _folders.get(name) or Path(name).absolute()


def register_models(name: str, extensions: Collection[str]) -> None:
    """Register models/`name`, in addition to the folders that the user's extra_model_paths lists for it."""
    _extensions[name] = frozenset(extensions)
    if IN_COMFYUI:
        folder_paths.add_model_folder_path(name, os.path.join(folder_paths.models_dir, name))
        paths, known = folder_paths.folder_names_and_paths[name]
        folder_paths.folder_names_and_paths[name] = (paths, set(known) | _extensions[name])


def model_files(name: str) -> dict[str, Path]:
    """Files of a registered model folder: name as listed (relative path) -> full path."""
    if IN_COMFYUI:
        paths = {file: folder_paths.get_full_path(name, file) for file in folder_paths.get_filename_list(name)}
        files = {file: Path(path) for file, path in paths.items() if path}
        return {file: path for file, path in files.items() if path.suffix.lower() in _extensions[name]}
    return files_below(folder("models") / name, _extensions[name])


def dataset_folders() -> list[Path]:
    """ComfyUI's folders of data sets: those that newer versions register, and models/datasets."""
    registered = folder_paths.folder_names_and_paths.get("datasets", ([], set()))[0] if IN_COMFYUI else []
    return [*map(Path, registered), folder("models") / "datasets"]


def files_below(root: Path, extensions: Collection[str], exclude: Collection[str] = ()) -> dict[str, Path]:
    """Files with one of these extensions under `root`, sorted: relative name with forward slashes -> full path.

    Folders named in `exclude` and hidden ones are left out.
    """
    result = {}
    for parent, folders, names in os.walk(root, followlinks=True):
        folders[:] = [name for name in folders if name not in exclude and not name.startswith(".")]
        for path in (Path(parent, name) for name in names):
            if path.suffix.lower() in extensions:
                result[path.relative_to(root).as_posix()] = path
    return dict(sorted(result.items()))


def free_number(folder: Path, pattern: str) -> int:
    """The first number that no file of the folder has. `pattern` matches their names; its group is the number."""
    names = os.listdir(folder) if folder.is_dir() else []
    matches = [re.match(pattern, name, re.IGNORECASE) for name in names]
    return 1 + max([int(match[1]) for match in matches if match], default=0)


def compute_device() -> torch.device:
    """The GPU if there is one, else the CPU."""
    if IN_COMFYUI:
        return comfy.model_management.get_torch_device()
    return torch.device("cuda" if torch.cuda.is_available() else "cpu")


@contextlib.contextmanager
def borrowed_device(gigabytes: float) -> Iterator[torch.device]:
    """The compute device, with about this much of its memory free; cached memory is released at the end."""
    device = compute_device()
    if IN_COMFYUI and device.type != "cpu":
        comfy.model_management.free_memory(gigabytes * 2**30, device)
    try:
        yield device
    finally:
        if IN_COMFYUI:
            comfy.model_management.soft_empty_cache()
        elif device.type == "cuda":
            torch.cuda.empty_cache()


def on_device(network: nn.Module, device: torch.device) -> nn.Module:
    """The network itself if it is on the device, else a copy on it: other nodes may hold the original."""
    first = next(network.parameters(), None)
    return network if first is None or first.device == device else copy.deepcopy(network).to(device)


def model_on_device(model: GanModel, device: torch.device, *, discriminator: bool = False) -> GanModel:
    """The model with its networks on the device; with its discriminator, which sampling never uses, only on request."""
    return dataclasses.replace(
        model,
        generator=on_device(model.generator, device),
        discriminator=on_device(model.discriminator, device) if discriminator and model.discriminator else None,
        w_mean=model.w_mean.to(device),
        details=model.details and model.details.to(device),
    )


@contextlib.contextmanager
def polled(network: nn.Module) -> Iterator[None]:
    """Inside, the network polls for cancelling before each of its layers."""
    hooks = [module.register_forward_pre_hook(lambda *_: poll()) for module in network.modules()]
    try:
        yield
    finally:
        for hook in hooks:
            hook.remove()


@contextlib.contextmanager
def training_mode() -> Iterator[None]:
    """Enables gradients. ComfyUI runs nodes in inference mode, whose tensors autograd refuses: copy them inside."""
    with torch.inference_mode(False), torch.enable_grad():
        yield


def poll() -> None:
    """Raise if the user has cancelled. It is cheap, so call it often."""
    if IN_COMFYUI:
        comfy.model_management.throw_exception_if_processing_interrupted()
    elif hook := _hooks["poll"]:
        hook()


def cancelled(kind: type[BaseException]) -> bool:
    """Whether an exception of this kind means that the user has cancelled, and not that something failed."""
    if IN_COMFYUI and issubclass(kind, comfy.model_management.InterruptProcessingException):
        return True
    return issubclass(kind, KeyboardInterrupt)


def execution_blocker() -> object | None:
    """An output that makes ComfyUI skip the nodes that depend on it, without an error. None outside ComfyUI."""
    return ExecutionBlocker(None) if IN_COMFYUI else None


def prompt_id() -> str | None:
    """The id of the prompt that runs now. None outside ComfyUI."""
    return server.PromptServer.instance.last_prompt_id if IN_COMFYUI else None


def send(event: str, data: dict[str, Any]) -> None:
    """Send a message to every open editor. Does nothing outside ComfyUI."""
    if IN_COMFYUI:
        server.PromptServer.instance.send_sync(event, data)


def say(node: str | None, text: str) -> None:
    """Shows a line of text at the node with this id in the editor, and logs it."""
    log.info(text)
    if IN_COMFYUI and node is not None:
        server.PromptServer.instance.send_progress_text(text, node)


def on_post(path: str, answer: Callable[[object], tuple[int, dict]]) -> None:
    """Let `answer` respond, in a thread, to what editors post to `path`. Does nothing outside ComfyUI.

    answer: the parsed JSON of the request -> HTTP status, JSON of the response.
    """
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
    """The progress bar of the running node, with an optional preview picture."""

    def __init__(self, total: int):
        self.total = total
        self._bar: Any = comfy.utils.ProgressBar(total) if IN_COMFYUI else None

    def update(self, value: int, preview: Image.Image | None = None) -> None:
        if self._bar is not None:
            picture = None if preview is None else ("JPEG", preview, PREVIEW_SIZE)
            self._bar.update_absolute(value, self.total, picture)
        elif hook := _hooks["progress"]:
            hook(value, self.total, preview)

    def on_batch(self, done: int, _: int = 0) -> None:
        """A callback for functions of the core that report their batches: shows progress, raises on cancelling."""
        poll()
        self.update(done)
