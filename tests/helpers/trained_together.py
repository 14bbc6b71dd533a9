"""What tests/training/test_distributed.py runs under torchrun: trainings and commands of small models.

`train(folder, team)` runs in a single process as well, for comparison.
"""

from __future__ import annotations

import atexit
import os
import signal
import sys
from pathlib import Path

import torch
from tiny import some_sketches, tiny_model

from gansketching_core.checkpoints.native import save_model
from gansketching_core.cli.main import main
from gansketching_core.cli.processes import join
from gansketching_core.networks.line_extractor import LineExtractor
from gansketching_core.training import distributed, loop
from gansketching_core.training.distributed import ALONE, Team
from gansketching_core.training.finetune_config import FinetuneConfig
from gansketching_core.training.finetune_run import customise
from gansketching_core.training.placement import PlacementConfig
from gansketching_core.training.pretrain import PretrainConfig, Pretrainer
from gansketching_core.training.sketcher import SketcherConfig, SketcherTrainer

# Three micro-batches: two processes get two and one.
FINETUNE = FinetuneConfig(
    steps=4,
    batch=12,
    micro_batch=4,
    r1_every=2,
    regularisation="generator",
    augmentation="color,translation,cutout",
    precision="float32",
)
PRETRAIN = PretrainConfig(
    resolution=32,
    batch=12,
    micro_batch=4,
    images=36,
    channel_max=8,
    channel_base=256,
    latent_dim=8,
    augmentation="color,translation",
)
SKETCHER = SketcherConfig(width=2, blocks=1, batch=12, micro_batch=4, large_every=2, steps=3, precision="float32")


def finetune(folder: Path, team: Team = ALONE, **options):
    model = tiny_model()
    return customise(model, some_sketches(), LineExtractor(), FINETUNE, folder=folder, team=team, **options)


def train(folder: Path, team: Team = ALONE) -> None:
    """All three trainers; their weights are written to folder/weights.pt."""
    rng = torch.Generator().manual_seed(0)
    pictures = torch.randint(0, 256, (5, 3, 64, 64), dtype=torch.uint8, generator=rng)
    pairs = torch.randint(0, 256, (8, 5, 128, 128), dtype=torch.uint8, generator=rng)
    placement = PlacementConfig(rotate=20, zoom_out=0.7, shift=0.05, tint=0.3)
    pretrainer = Pretrainer(pictures, PRETRAIN, placement=placement, team=team)
    sketcher = SketcherTrainer(SKETCHER, [pairs[:5]], pairs[5:], team=team)
    result = finetune(folder / "runs", team)
    weights = {"finetuned": result.model.generator.state_dict()}
    histories = {"finetuned": result.history}
    for name, trainer, steps in ("pretrained", pretrainer, pretrainer.steps_total), ("sketcher", sketcher, 3):
        histories[name] = []
        loop.train(trainer, steps, folder / f"{name}.pt", histories[name])
        weights[name] = loop._dump(trainer.parts())
    losses = {name: [report.losses for report in history] for name, history in histories.items()}
    if team.writes:
        torch.save({"weights": weights, "losses": losses, "match": str(result.match)}, folder / "weights.pt")


def run_commands(folder: Path) -> None:
    """`sample` and `evaluate` of a small model, whose files are left in the folder."""
    folder.mkdir(parents=True, exist_ok=True)
    model, photos = folder / "model.safetensors", folder / "photos"
    if os.environ.get("RANK", "0") == "0":
        save_model(tiny_model(), model)
    distributed.join(torch.device("cpu"))[0].agree(lambda: None)
    common = [str(model), "--count", "9", "--device", "cpu"]
    assert main(["sample", *common, "--batch", "2", "--noise", "random", "--output", str(photos)]) == 0
    evaluation = ["--photos", str(photos), "--path-length", "4", "--json", str(folder / "numbers.json")]
    assert main(["evaluate", *common, *evaluation]) == 0


def die_after(step: int, poll_count: int, rank: int, team: Team) -> dict:
    """Callbacks that kill the process `rank` within a step: at call `poll_count` of `poll` after `step`."""
    left = float("inf")

    def on_step(report, _finetuner) -> None:
        nonlocal left
        if report.step == step and team.rank == rank:
            left = poll_count

    def poll() -> None:
        nonlocal left
        left -= 1
        if left == 0:
            os.kill(os.getpid(), signal.SIGKILL)

    return {"on_step": on_step, "poll": poll}


def cancel_after(step: int, rank: int, team: Team):
    """An `on_step` that cancels in the process `rank` alone."""

    def on_step(report, _finetuner) -> None:
        if report.step == step and team.rank == rank:
            raise KeyboardInterrupt

    return on_step


def write_threads() -> None:
    """Write the names of the threads that are left when Python ends, where the system tells them."""
    names = sorted(path.read_text().strip() for path in Path("/proc/self/task").glob("*/comm"))
    print("threads left:", *names, file=sys.stderr)


if __name__ == "__main__":
    atexit.register(write_threads)  # the first that is registered is the last that is called
    what, folder, *arguments = sys.argv[1], Path(sys.argv[2]), *map(int, sys.argv[3:])
    torch.set_num_threads(1)
    loop.CHECKPOINT_SECONDS, loop.CHECKPOINT_SHARE = 0, 1e9  # a checkpoint after every step
    team, _ = join(torch.device("cpu"))
    if what == "train":
        run_commands(folder)
        train(folder, team)
    elif what == "kill":
        finetune(folder, team, **die_after(*arguments, team))
    elif what == "cancel":
        finetune(folder, team, on_step=cancel_after(arguments[0], arguments[1], team))
    elif what == "stop":
        stopped = finetune(folder, team, stop=lambda: team.rank == 1)
        assert stopped.stopped and stopped.trained_steps == 1
