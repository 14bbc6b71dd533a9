"""Fine-tuning on disk: never train twice for the same thing, never lose a cancelled run.

A run lives in its own folder, named by a hash of all that determines its result: `state.pt` while it is under way,
`model.safetensors` and `history.json` once it is finished.
"""

from __future__ import annotations

import hashlib
import json
import logging
import os
import pickle
import time
from collections.abc import Callable
from dataclasses import asdict, dataclass
from pathlib import Path

import torch
from torch import Tensor, nn

from ..checkpoints.hashes import weights_hash
from ..checkpoints.load import load_customised
from ..checkpoints.native import save_customised
from ..evaluation.sketch_match import SketchMatch, sketch_match
from ..files import atomic_write
from ..networks.stylegan2 import GanModel
from .finetune import SketchFinetuner, StepReport
from .finetune_config import FinetuneConfig

log = logging.getLogger(__name__)

CHECKPOINT_SECONDS = 30.0
REVISION = 2  # of the training; raised when the same options lead elsewhere: no older result is handed back


@dataclass
class RunResult:
    """A finished customisation: the model, the report of every step, seconds of training in all, and where it lies.

    match: how its samples follow the sketches, beside the base's. trained_steps: how many of the steps this call made:
    0 when the result was there already, fewer than all after a resume. total_steps: how many were asked for. stopped:
    whether it ended before the last of them.
    """

    model: GanModel
    history: list[StepReport]
    match: SketchMatch
    seconds: float
    key: str
    path: Path
    trained_steps: int
    total_steps: int
    stopped: bool = False

    @property
    def from_cache(self) -> bool:
        return self.trained_steps == 0


def run_key(model: GanModel, sketches: Tensor, photosketch: nn.Module, config: FinetuneConfig, images=None) -> str:
    """Hash (hex, 20 digits) of everything that determines the result of a fine-tuning."""
    digest = hashlib.sha256(f"{REVISION} {weights_hash(model)}".encode())
    networks = [photosketch] if model.discriminator is None else [model.discriminator, photosketch]
    tensors = [("sketches", sketches), *(item for network in networks for item in network.state_dict().items())]
    for name, tensor in tensors:
        digest.update(f"{name} {tuple(tensor.shape)}".encode())
        digest.update(tensor.detach().cpu().contiguous().numpy().tobytes())
    digest.update(repr((type(photosketch).__name__, images.content_hash() if images is not None else "")).encode())
    digest.update(config.model_dump_json().encode())
    return digest.hexdigest()[:20]


def customise(
    model: GanModel,
    sketches: Tensor,
    photosketch: nn.Module,
    config: FinetuneConfig,
    *,
    folder: str | Path,
    images=None,
    device: torch.device | str | None = None,
    on_start: Callable[[list[StepReport]], None] | None = None,
    on_step: Callable[[StepReport, SketchFinetuner], None] | None = None,
    poll: Callable[[], None] | None = None,
    stop: Callable[[], bool] | None = None,
    resume: bool = True,
    go_on: bool = False,
) -> RunResult:
    """Fine-tune `model` on `sketches` [N,1,R,R], or fetch the result when that has been done before.

    folder: where runs are kept. on_start: called before training, with the steps that earlier calls have made. on_step:
    called after every step. poll: called often within a step. Whatever the last two raise (cancelling, Ctrl-C) ends the
    run after its state is saved; the next call with the same inputs goes on there. resume=False starts afresh and
    forgets what is there. images, device: as SketchFinetuner takes them.

    stop: asked after every step; True ends the training and keeps the model as it is then. The same inputs return that
    model from then on, unless go_on is True: then the training goes on from there to its last step.
    """
    if not model.base_hash:
        model.base_hash = weights_hash(model)
    key = run_key(model, sketches, photosketch, config, images)
    place = Path(folder) / key
    found = _finished(place, model, key, config.steps) if resume else None
    if found and not (found.stopped and go_on):
        return found
    finetuner = SketchFinetuner(model, sketches, photosketch, config, images=images, device=device)
    finetuner.poll = poll or finetuner.poll
    with torch.inference_mode(False):  # ComfyUI's nodes run in inference mode, whose tensors can't be trained
        history = _resume(place / "state.pt", finetuner) if resume else []
        if on_start:
            on_start(list(history))
        return _train(finetuner, history, place, key, on_step, stop or (lambda: False))


def _train(
    finetuner: SketchFinetuner,
    history: list[StepReport],
    place: Path,
    key: str,
    on_step: Callable[[StepReport, SketchFinetuner], None] | None,
    stop: Callable[[], bool],
) -> RunResult:
    config = finetuner.config
    started_at = finetuner.steps_done
    saved, pause = time.monotonic(), CHECKPOINT_SECONDS
    try:
        while finetuner.steps_done < config.steps:
            history.append(finetuner.step())
            if on_step:
                on_step(history[-1], finetuner)
            if stop():
                break
            if time.monotonic() - saved > pause:
                begun = time.monotonic()
                _save_state(place / "state.pt", finetuner, history)
                saved = time.monotonic()
                pause = max(CHECKPOINT_SECONDS, 20 * (saved - begun))  # at most a twentieth of the time
        result = finetuner.result()
        match = _match(finetuner, result)
    except BaseException:
        _save_state(place / "state.pt", finetuner, history)
        raise
    done, stopped = finetuner.steps_done, finetuner.steps_done < config.steps
    if stopped:
        _save_state(place / "state.pt", finetuner, history)
    about = json.dumps({"steps": [asdict(report) for report in history], "match": asdict(match), "stopped": stopped})
    settings = config.model_copy(update={"steps": done}).model_dump()
    save_customised(result, place / "model.safetensors", trainable=config.trainable, settings=settings)
    atomic_write(place / "history.json", lambda path: path.write_text(about))
    if not stopped:
        (place / "state.pt").unlink(missing_ok=True)
    seconds = sum(report.seconds for report in history)
    return RunResult(result, history, match, seconds, key, place, done - started_at, config.steps, stopped)


def _match(finetuner: SketchFinetuner, result: GanModel) -> SketchMatch:
    if hasattr(finetuner.photosketch, "batch_statistics"):
        finetuner.photosketch.batch_statistics = False  # one drawing must not depend on its neighbours here
    config = result.config
    return sketch_match(
        finetuner.model,
        result,
        finetuner.sketches,
        finetuner.photosketch,
        label=finetuner.config.class_index if config.class_count else None,
        on_batch=lambda *_: finetuner.poll(),
    )


def _finished(place: Path, model: GanModel, key: str, steps: int) -> RunResult | None:
    if not (place / "model.safetensors").is_file():
        return None
    try:
        about = json.loads((place / "history.json").read_text())
        history = [StepReport(**entry) for entry in about["steps"]]
        match = SketchMatch(**about["match"])
        result = load_customised(place / "model.safetensors", model)
    except (ValueError, TypeError, KeyError, OSError) as error:
        log.warning("the finished run in %s can't be read (%s); it is trained again", place, error)
        return None
    seconds = sum(report.seconds for report in history)
    return RunResult(result, history, match, seconds, key, place, 0, steps, bool(about.get("stopped")))


def _save_state(path: Path, finetuner: SketchFinetuner, history: list[StepReport]) -> None:
    state = {"finetuner": finetuner.state_dict(), "history": [asdict(report) for report in history]}
    atomic_write(path, lambda temporary: torch.save(state, temporary))


def _resume(path: Path, finetuner: SketchFinetuner) -> list[StepReport]:
    if not path.is_file():
        return []
    try:
        state = torch.load(path, map_location="cpu", weights_only=True)
        finetuner.load_state_dict(state["finetuner"])
        return [StepReport(**entry) for entry in state["history"]]
    except (RuntimeError, ValueError, TypeError, KeyError, EOFError, OSError, pickle.UnpicklingError) as error:
        os.replace(path, path.with_suffix(".broken"))
        raise ValueError(
            f"the saved state of this run in {path.parent} is damaged; it was set aside as state.broken: run again to "
            "start afresh"
        ) from error
