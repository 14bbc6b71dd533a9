"""Fine-tuning: its options, and the node that customises a model with sketches."""

import time

from PIL import Image
from torch import Tensor

from ..gansketching_core.checkpoints.load import load_customised
from ..gansketching_core.datasets import ImageSet
from ..gansketching_core.images import to_comfy
from ..gansketching_core.latents.sampling import render, sample_z
from ..gansketching_core.networks.stylegan2 import GanModel
from ..gansketching_core.options import build
from ..gansketching_core.training.diffaugment import parse_policy
from ..gansketching_core.training.finetune import SketchFinetuner, StepReport
from ..gansketching_core.training.finetune_config import PRESETS, FinetuneConfig
from ..gansketching_core.training.finetune_run import RunResult, customise
from . import host, model_files, pictures, training_view
from . import widgets as ui
from .sampling import batch_size
from .sketching import PHOTOSKETCH, SKETCHES, as_sketches
from .widgets import MODEL

PREVIEW_COUNT, PREVIEW_COLUMNS = 8, 4  # samples shown before and after
STRIP_COUNT = 3  # sketches shown beside the live samples
PREVIEW_SEED = 0
PREVIEW_EVERY = 1.5  # seconds between live previews, at least
PREVIEW_SHARE = 0.06  # of the time that live previews may take, at most
CONFIGS = {name: FinetuneConfig.preset(name) for name in PRESETS}
PRESET = "fast: a good result in 150 steps. paper: the options of the paper, 75,000 steps, days on a CPU."
PHOTOS = "Photos like those the model was trained on, to preserve its look. Without any, its samples are used."
GO_ON = "After Stop and keep: continue to the last step. If off, the model that was kept is returned at once."


class FineTuneOptions:
    DISPLAY_NAME = "Sketch Training Options"
    CATEGORY = "GANSketching/training"
    DESCRIPTION = "Options for training with sketches: a preset, and changes to it."
    SEARCH_ALIASES = ("training settings", "hyperparameters", "learning rate", "steps")
    RETURN_TYPES = ("GANSKETCHING_OPTIONS",)
    RETURN_NAMES = ("options",)
    OUTPUT_TOOLTIPS = ("Options for Train with Sketches.",)
    FUNCTION = "choose"
    INPUT_TYPES = ui.inputs(  # optional, so that saved workflows without newer options stay valid
        preset=ui.one_of(PRESETS, "fast", PRESET), optional=ui.overrides(CONFIGS, skip=["seed"])
    )

    @classmethod
    def VALIDATE_INPUTS(cls, augmentation=ui.AS_PRESET):
        return augmentation == ui.AS_PRESET or ui.check(parse_policy, augmentation)

    def choose(self, preset, **values):
        return (build(FinetuneConfig.preset, preset, **ui.overridden(values)),)


@ui.takes_lists("sketches", "images")
class FineTuneMapping:
    DISPLAY_NAME = "Train with Sketches"
    CATEGORY = "GANSketching/training"
    DESCRIPTION = (
        "Trains a generator (fine-tunes its mapping network) so that the shapes it makes follow your sketches, while "
        "colours and textures stay. A cancelled training continues where it stopped; unchanged inputs return the "
        "finished model at once."
    )
    SEARCH_ALIASES = ("train", "customise", "customize", "sketch your own gan", "finetune", "fit")
    RETURN_TYPES = (MODEL, "IMAGE", "IMAGE", "STRING", "LOSS_MAP", "INT")
    RETURN_NAMES = ("model", "preview", "losses", "report", "loss_map", "steps")
    OUTPUT_TOOLTIPS = (
        "The customised model. The model that came in is unchanged.",
        "Sketches, and the same samples of the original and the customised model.",
        "A plot of the adversarial losses. G: the generator's, D: each discriminator's.",
        "A text: steps, seconds, how well samples match the sketches, and the options.",
        "The generator's loss at each step, for ComfyUI's Plot Loss Graph.",
        "The number of steps that the model was trained for.",
    )
    FUNCTION = "finetune"
    INPUT_TYPES = ui.inputs(
        model=ui.socket(MODEL, "The generator to start from. It is not changed."),
        sketches=SKETCHES,
        photosketch=PHOTOSKETCH,
        seed=ui.seed(changes=False, tooltip="Seed of all random numbers of the training. Another seed trains again."),
        optional={
            "images": ui.socket("IMAGE", PHOTOS),
            "options": ui.socket("GANSKETCHING_OPTIONS", "From Sketch Training Options. Without it, the fast preset."),
            "go_on": ui.switch(False, GO_ON),
        },
        hidden={"node": "UNIQUE_ID", "editor": "EXTRA_PNGINFO"},
    )

    def finetune(
        self, model, sketches, photosketch, seed, images=None, options=None, go_on=False, node=None, editor=None
    ):
        config = (options or FinetuneConfig()).model_copy(update={"seed": seed})
        size = model.config.resolution
        with host.training_mode(), host.borrowed_device(size / 64) as device:
            photos = None if images is None else ImageSet(images, size)
            base = host.model_on_device(model, device, discriminator=True)
            prepared = as_sketches(sketches, size)
            view = {"workflow": (editor or {}).get("workflow", {}).get("id"), "sketches": sketch_strip(prepared)}
            with training_view.Broadcast(node, config.steps, **view) as broadcast:
                watcher = Watcher(base, config, broadcast)
                run = customise(
                    base,
                    prepared,
                    photosketch,
                    config,
                    images=photos,
                    folder=model_files.runs_folder(),
                    on_start=broadcast.started,
                    on_step=watcher,
                    poll=host.poll,
                    stop=broadcast.stop,
                    go_on=go_on,
                )
                samples = watcher.samples(run.model)
                preview = watcher.preview(samples, to_comfy(prepared))
                broadcast.finished(run.history, run.stopped, watcher.live(samples))
            customised = load_customised(run.path / "model.safetensors", model)
        losses = {"loss": [total_loss(step) for step in run.history]}
        plot = loss_plot(run.history)
        result = customised, pictures.to_image(preview), plot, report(run, config), losses, len(run.history)
        return {"ui": {"gansketching_training": [broadcast.last]}, "result": result} if editor else result


class Watcher:
    """Follows a training: progress bar and, at intervals, the same few samples before and after."""

    def __init__(self, base: GanModel, config: FinetuneConfig, broadcast: training_view.Broadcast):
        self.progress = host.Progress(config.steps)
        self.broadcast = broadcast
        labels = config.class_index if base.config.class_count else None
        self.latents = sample_z(base, PREVIEW_COUNT, PREVIEW_SEED, labels)
        self.before = self.samples(base)
        self._due = 0.0

    def __call__(self, step: StepReport, tuner: SketchFinetuner) -> None:
        started = time.perf_counter()
        picture = None
        if started >= self._due:
            picture = self.live(self.samples(tuner.result()))
            spent = time.perf_counter() - started
            self._due = started + max(PREVIEW_EVERY, spent / PREVIEW_SHARE)
        self.progress.update(step.step + 1, None if host.IN_COMFYUI else picture)  # in ComfyUI the broadcast shows it
        self.broadcast.step(step, picture)

    def live(self, samples: Tensor) -> Image.Image:
        """Samples of the original; below them those of the customised model, the first of the same latents."""
        before = self.before[:PREVIEW_COLUMNS]
        return pictures.labelled([("original", before), ("customised", samples)], columns=PREVIEW_COLUMNS, across=False)

    def preview(self, samples: Tensor, sketches: Tensor) -> Image.Image:
        """Below each other: some of the sketches, samples of the original, the same samples of the customised model."""
        parts = [("sketches", sketches[:PREVIEW_COUNT]), ("original", self.before), ("customised", samples)]
        return pictures.labelled(parts, columns=PREVIEW_COLUMNS, across=False)

    def samples(self, model: GanModel) -> Tensor:
        return to_comfy(render(model, self.latents, batch=batch_size(model), on_batch=lambda *_: host.poll()))


def sketch_strip(sketches: Tensor) -> Image.Image:
    """The first sketches below each other. sketches: [B,3,S,S] in -1..1."""
    return pictures.labelled([("sketches", to_comfy(sketches[:STRIP_COUNT]))], columns=1)


def total_loss(step: StepReport) -> float:
    """The sum of the generator's adversarial losses."""
    return sum(value for name, value in step.losses.items() if name.startswith("G "))


def loss_plot(history: list[StepReport]) -> Tensor:
    """Adversarial losses over the steps -> IMAGE [1,H,W,3]."""
    return pictures.to_image(pictures.loss_plot(training_view.Curves(history).points))


def report(run: RunResult, config: FinetuneConfig) -> str:
    """What was done, in a few lines of text."""
    done = len(run.history)
    if run.from_cache:
        how = "Nothing has changed since this model was trained: loaded from disk, no training needed."
    elif run.trained_steps < done:
        how = f"Went on from step {done - run.trained_steps}, where an earlier run had stopped."
    else:
        how = "Trained from the start."
    if run.stopped:
        how += f" Stopped and kept at step {done} of {config.steps}; switch go_on on to train the rest."
    changed = config.model_dump(exclude_defaults=True)
    options = ", ".join(f"{name} {value}" for name, value in changed.items()) or "the fast preset"
    lines = [
        f"{run.model.name}: {done} steps, {run.seconds:.0f} s of training.",
        how,
        str(run.match),
        f"Options: {options}.",
        f"Kept in output/{model_files.RESULTS}/{model_files.RUNS}/{run.path.name}.",
    ]
    return "\n".join(lines)
