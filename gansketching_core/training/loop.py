"""The training loop of all trainers, with checkpoints from which a later call goes on exactly."""

import copy
import io
import logging
import os
import time
import zipfile
from collections.abc import Callable
from dataclasses import asdict, dataclass, field
from pathlib import Path
from typing import Any

import torch
from pydantic import BaseModel
from torch import Tensor

from ..files import atomic_write
from .distributed import ALONE, Team

log = logging.getLogger(__name__)

CHECKPOINT_SECONDS = 30.0  # between checkpoints, at least
CHECKPOINT_SHARE = 0.05  # of the time that checkpoints may take


@dataclass
class StepReport:
    """What one step did."""

    step: int  # its number, from 0
    losses: dict[str, float]  # means over the batch, by name
    seconds: float  # of the whole step
    timings: dict[str, float] = field(default_factory=dict)  # seconds of its parts, by name


class Trainer:
    """Base of what `train` trains. A subclass sets `config`, and `length`: the option that says how long it trains."""

    config: Any  # frozen options
    team: Team = ALONE  # the processes that train together
    length = "steps"
    steps_done = 0
    resumes_within_step = False  # whether the state is consistent, and can be saved, after `step` raised an exception

    def step(self) -> StepReport:
        raise NotImplementedError

    def parts(self) -> dict:
        """What is trained, by name: networks, optimisers, tensors, and dictionaries of these."""
        raise NotImplementedError

    def state_dict(self) -> dict:
        """Everything a later process needs to go on; plain tensors, numbers and strings."""
        return {"config": self.config.model_dump(), "step": self.steps_done, **_dump(self.parts())}

    def load_state_dict(self, state: dict) -> None:
        """Go on from `state_dict()`. Raises ValueError if options other than the length differ."""
        check_options(state["config"], self.config, length=self.length)
        with torch.inference_mode(False), torch.no_grad():
            _load(self.parts(), state)
        self.steps_done = int(state["step"])


def _dump(part: Any) -> Any:
    if isinstance(part, dict):
        return {name: _dump(value) for name, value in part.items()}
    return part if isinstance(part, Tensor) else part.state_dict()


def _load(part: Any, state: Any) -> None:
    if isinstance(part, dict):
        for name, value in part.items():
            _load(value, state[name])
    elif isinstance(part, Tensor):
        part.copy_(state)
    else:
        part.load_state_dict(state)


class OtherOptionsError(ValueError):
    """A saved training was made with other options than the present ones."""


def check_options(saved: dict, options: BaseModel, *, length: str = "") -> None:
    """Raises OtherOptionsError if `saved`, a dump of options, differs from `options`, except in the field `length`."""
    for name, value in options.model_dump().items():
        earlier = saved.get(name, type(options).model_fields[name].default)  # the option may be newer than the run
        if name != length and earlier != value:
            raise OtherOptionsError(f"the saved run has {name} {earlier}, this one {value}: use the same options")


def resume(trainer: Trainer, state_file: Path) -> list[StepReport]:
    """Bring a new trainer to the state that `train` saved -> the reports of its steps; [] if no usable state exists.

    Of several processes only the first reads the file; `train` brings the others to the same state.

    A file that cannot be read is renamed to end in .broken, and the trainer stays as it is. Raises OtherOptionsError
    if the saved training was made with other options.
    """
    return trainer.team.first(lambda: _resume(trainer, state_file))


def _resume(trainer: Trainer, state_file: Path) -> list[StepReport]:
    if not state_file.is_file():
        return []
    initial = copy.deepcopy(trainer.state_dict())
    try:
        with zipfile.ZipFile(state_file) as archive:
            if archive.testzip():
                raise ValueError("a checksum is wrong")
        state = torch.load(state_file, map_location="cpu", weights_only=True)
        history = [StepReport(**report) for report in state["history"]]
        trainer.load_state_dict(state["trainer"])
    except OtherOptionsError:
        raise
    except Exception as error:  # damaged bytes raise exceptions of many kinds
        trainer.load_state_dict(initial)
        broken = state_file.with_suffix(".broken")
        os.replace(state_file, broken)
        log.warning("the saved state %s is damaged (%s); kept as %s, training starts again", state_file, error, broken)
        return []
    return history


def train(
    trainer: Trainer,
    total: int,
    state_file: Path,
    history: list[StepReport],
    *,
    on_step: Callable[[StepReport], None] | None = None,
    on_checkpoint: Callable[[], None] | None = None,
    stop: Callable[[], bool] | None = None,
) -> None:
    """Train a new trainer, or one that `resume` has brought further, until `total` steps are done.

    The state is saved to `state_file` at intervals, at the end, and before an exception leaves (cancelling, Ctrl-C);
    the caller deletes it when it is no longer needed. Reports are appended to `history`, which is what `resume`
    returned, or []. `stop` is asked after every step; True ends the training early.

    Several processes (`trainer.team`) take each step together, and all end after the same one, also when only one is
    cancelled or stopped. The first of them saves the state.
    """
    team = trainer.team

    def save() -> None:
        if not team.writes:
            return
        state = {"trainer": trainer.state_dict(), "history": [asdict(report) for report in history]}
        atomic_write(state_file, lambda path: torch.save(state, path))
        if on_checkpoint:
            on_checkpoint()

    def after_step() -> bool:
        if on_step:
            on_step(history[-1])
        return bool(stop and stop())

    _start_alike(trainer)
    checkpoint_due = time.monotonic() + CHECKPOINT_SECONDS
    in_step = False
    try:
        while trainer.steps_done < total:
            in_step = True
            report = trainer.step()
            in_step = False
            history.append(report)
            if any(team.agree(after_step)):
                break
            started = time.monotonic()
            if started > checkpoint_due:
                save()
                saved = time.monotonic()
                checkpoint_due = saved + max(CHECKPOINT_SECONDS, (saved - started) / CHECKPOINT_SHARE)
    except BaseException:
        if trainer.resumes_within_step or not in_step:
            save()
        raise
    save()


def _start_alike(trainer: Trainer) -> None:
    """Bring the trainers of all processes to the state of the first."""
    if trainer.team.size == 1:
        return

    def state() -> bytes:
        buffer = io.BytesIO()
        torch.save(trainer.state_dict(), buffer)
        return buffer.getvalue()

    saved = trainer.team.first(state)
    trainer.load_state_dict(torch.load(io.BytesIO(saved), map_location="cpu", weights_only=True))
