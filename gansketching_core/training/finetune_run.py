"""Fine-tuning with files: never train twice for the same thing, never lose a cancelled run.

A run has its own folder, named by a hash of everything that determines its result. It holds `state.pt` while the run is
under way, `model.safetensors` and `history.json` once it is finished.
"""

import copy
import hashlib
import json
import logging
from collections.abc import Callable
from dataclasses import dataclass, replace
from pathlib import Path

import torch
from pydantic import BaseModel, ConfigDict
from torch import Tensor, nn

from ..checkpoints.hashes import tensors_hash, weights_hash
from ..checkpoints.load import load_customised
from ..checkpoints.native import save_customised
from ..datasets import ImageSet
from ..evaluation.sketch_match import SketchMatch, sketch_match
from ..files import atomic_write
from ..networks.stylegan2 import GanModel
from . import loop
from .distributed import ALONE, Team
from .finetune import SketchFinetuner
from .finetune_config import FinetuneConfig
from .loop import StepReport

log = logging.getLogger(__name__)

REVISION = 5  # Bump when a code change alters results; part of the cache key.


@dataclass
class RunResult:
    """A finished customisation."""

    model: GanModel  # the customised one
    history: list[StepReport]  # of all steps
    match: SketchMatch  # how its samples follow the sketches, compared with the base model
    path: Path  # the folder of the run, named by `run_key`
    trained_steps: int  # by this call: 0 if the result existed already, fewer than all after a resume
    total_steps: int  # how many were asked for
    stopped: bool = False  # whether the training ended before the last of them

    @property
    def from_cache(self) -> bool:
        return self.trained_steps == 0

    @property
    def seconds(self) -> float:
        return sum(report.seconds for report in self.history)


class _Record(BaseModel):
    """What history.json holds."""

    model_config = ConfigDict(ser_json_inf_nan="constants")

    steps: list[StepReport]
    match: SketchMatch
    stopped: bool


def run_key(
    model: GanModel, sketches: Tensor, photosketch: nn.Module, config: FinetuneConfig, images: ImageSet | None = None
) -> str:
    """Hash (hex, 20 digits) of everything that determines the result of a fine-tuning."""
    # Sketches count in 8-bit levels and the mean w in hundredths: their last bits depend on the device that prepared
    # or averaged them, which is no reason to train again.
    levels = ((sketches.detach() + 1) * 127.5).round()
    w_mean = (model.w_mean.detach() * 100).round()
    inputs = {
        "revision": REVISION,
        "generator": weights_hash(model),
        "discriminator": model.discriminator and tensors_hash(model.discriminator.state_dict()),
        "gan": model.config.model_dump(),
        "details": model.details and model.details.first,
        "w_mean": tensors_hash({"w_mean": w_mean + 0.0}),  # + 0.0: no negative zeros
        "sketches": [list(sketches.shape), tensors_hash({"sketches": levels})],
        "photosketch": [tensors_hash(photosketch.state_dict()), *_settings(photosketch)],
        "images": images and images.content_hash(),
        "config": config.model_dump(),
    }
    return hashlib.sha256(json.dumps(inputs).encode()).hexdigest()[:20]


def _settings(network: nn.Module) -> list[str]:
    """The types of all modules and their plain attributes, such as the threshold of a LineExtractor."""
    settings = []
    for name, module in network.named_modules():
        plain = {
            key: value
            for key, value in vars(module).items()
            if isinstance(value, (bool, int, float, str, tuple)) and key != "training"
        }
        settings.append(f"{name} {type(module).__name__} {sorted(plain.items())}")
    return settings


def customise(
    model: GanModel,
    sketches: Tensor,
    photosketch: nn.Module,
    config: FinetuneConfig,
    *,
    folder: str | Path,
    images: ImageSet | None = None,
    device: torch.device | str | None = None,
    on_start: Callable[[list[StepReport]], None] | None = None,
    on_step: Callable[[StepReport, SketchFinetuner], None] | None = None,
    poll: Callable[[], None] | None = None,
    stop: Callable[[], bool] | None = None,
    resume: bool = True,
    go_on: bool = False,
    team: Team = ALONE,
) -> RunResult:
    """Fine-tune `model` on `sketches`, or load the result if that has been done before.

    Whatever `on_step` and `poll` raise (cancelling, Ctrl-C) ends the run after its state has been saved; the next call
    with the same inputs goes on from it. Files of a run that are damaged are made again.

    Args:
        folder: where runs are kept.
        on_start: called before training with the reports of the steps that earlier calls have made.
        poll: called often within a step.
        stop: asked after every step; True ends the training and keeps the model as it is then. The same inputs return
            that model from then on.
        resume: False trains from the start and overwrites what the folder holds of this run.
        go_on: continue a training that `stop` has ended to its last step.
        team: the processes that train together; the first of them reads and writes the files.
    """
    if not model.base_hash:
        model = replace(model, base_hash=weights_hash(model))
    path = Path(folder) / run_key(model, sketches, photosketch, config, images)
    finished = team.first(lambda: _load_finished(path, model, config.steps) if resume else None)
    if finished and not (finished.stopped and go_on):
        return finished
    finetuner = SketchFinetuner(model, sketches, photosketch, config, images=images, device=device, team=team)
    finetuner.poll = poll or finetuner.poll
    with torch.inference_mode(False):  # ComfyUI's nodes run in inference mode, whose tensors can't be trained
        history = loop.resume(finetuner, path / "state.pt") if resume else []
        earlier_steps = len(history)
        if on_start:
            on_start(list(history))
        notify = on_step and (lambda report: on_step(report, finetuner))
        loop.train(finetuner, config.steps, path / "state.pt", history, on_step=notify, stop=stop)
        customised = finetuner.result()
        sketcher = copy.deepcopy(photosketch).to(model.w_mean.device).eval()
        label = config.class_index if model.config.class_count else None
        options = {"label": label, "on_batch": lambda *_: finetuner.poll(), "share": team.map}
        match = sketch_match(model, customised, sketches, sketcher, **options)
    done = finetuner.steps_done
    result = RunResult(customised, history, match, path, done - earlier_steps, config.steps, done < config.steps)
    team.first(lambda: _save_finished(result, config.model_copy(update={"steps": done})))
    return result


def _save_finished(result: RunResult, config: FinetuneConfig) -> None:
    model_file = result.path / "model.safetensors"
    save_customised(result.model, model_file, trainable=config.trainable, settings=config.model_dump())
    record = _Record(steps=result.history, match=result.match, stopped=result.stopped).model_dump_json()
    atomic_write(result.path / "history.json", lambda path: path.write_text(record))
    if not result.stopped:
        (result.path / "state.pt").unlink(missing_ok=True)


def _load_finished(path: Path, model: GanModel, steps: int) -> RunResult | None:
    if not (path / "model.safetensors").is_file():
        return None
    try:
        record = _Record.model_validate_json((path / "history.json").read_bytes())
        customised = load_customised(path / "model.safetensors", model)
    except (ValueError, OSError) as error:
        log.warning("the finished run in %s can't be read (%s); it is trained again", path, error)
        return None
    return RunResult(customised, record.steps, record.match, path, 0, steps, record.stopped)
