"""Training a small PhotoSketch on pairs of photo and drawing."""

from __future__ import annotations

import logging
import math
import time
from collections import defaultdict
from collections.abc import Callable
from pathlib import Path
from typing import Literal

import torch
import torch.nn.functional as F
from pydantic import BaseModel, ConfigDict, Field
from torch import Tensor

from ..checkpoints.native import save_photosketch
from ..datasets import ImageSet, hold_out, image_names
from ..files import atomic_write
from ..images import resize
from ..networks.photosketch import PhotoSketch
from ..random_streams import stream
from ..sketches.distance import chamfer
from .sketcher_data import SIDE, Pairs, _inked, augment_pairs, balanced, degrade, pairs_from_file, pairs_from_photos

log = logging.getLogger(__name__)
CHECKPOINT_SECONDS = 60


class SketcherConfig(BaseModel):
    """Options of `gansketching pretrain-sketcher`."""

    model_config = ConfigDict(frozen=True, extra="forbid")

    width: int = Field(16, ge=1, le=256, description="Channels of the first layer; the published network has 64.")
    blocks: int = Field(3, ge=0, le=32, description="Residual blocks; the published network has 9.")
    steps: int = Field(1200, ge=1, description="Training length in steps.")
    batch: int = Field(24, ge=2, le=1024, description="Pairs a step at 64 px; a quarter of them at 128 px.")
    learning_rate: float = Field(0.002, gt=0, le=0.1, description="Adam's learning rate at the start; falls to zero.")
    stroke_width: float = Field(
        0.02, ge=0.005, le=0.1, description="Width of the pen as a share of the side of a 64 px drawing."
    )
    photo_count: int = Field(3000, ge=1, description="Photos used, the same number of each folder where possible.")
    pairs_share: float = Field(0.35, ge=0, le=1, description="Share of every batch taken from the given pairs.")
    large_every: int = Field(
        4, ge=1, description="Every so many steps train at 128 px instead of 64 px, with a pen as many pixels wide."
    )
    settle: float = Field(0.2, ge=0, le=1, description="Last share of the training with fixed batch-norm statistics.")
    precision: Literal["float32", "bfloat16"] = Field("bfloat16", description="bfloat16: mixed precision.")
    seed: int = Field(0, ge=0, le=2**63 - 1, description="Seed of every random number.")


class SketcherTrainer:
    """Trains a PhotoSketch on pairs. `step()` again and again, then `result()`.

    Every random number of step k comes from (seed, k), so that N + M steps equal N steps, a restart and M steps.
    """

    def __init__(self, config: SketcherConfig, photos: Pairs, pairs: Pairs | None = None, *, device: str = "cpu"):
        self.config, self.photos, self.pairs, self.device = config, photos, pairs, torch.device(device)
        with torch.random.fork_rng(devices=[]):
            torch.manual_seed(config.seed)
            self.net = PhotoSketch(width=config.width, blocks=config.blocks).to(self.device)
        self.optimizer = torch.optim.Adam(self.net.parameters(), lr=config.learning_rate, betas=(0.9, 0.99))
        self.steps_done = 0

    def step(self) -> dict[str, float]:
        """One update -> the losses of `drawing_losses`, means over the batch."""
        config, k = self.config, self.steps_done
        rng = stream(config.seed, "sketcher training", k)
        large = k % config.large_every == config.large_every - 1
        pen = config.stroke_width * 64 * (1 if large else 2)
        photo, ink = self._batch(max(2, config.batch // 4) if large else config.batch, pen, rng)
        if not large:
            photo, ink = F.avg_pool2d(photo, 2), F.avg_pool2d(ink, 2)
        photo = degrade(photo, rng)
        self.net.train(k < config.steps * (1 - config.settle))
        for group in self.optimizer.param_groups:
            group["lr"] = config.learning_rate * (0.5 + 0.5 * math.cos(math.pi * min(1, k / config.steps)))
        photo, ink = photo.to(self.device), ink.to(self.device)
        with torch.autocast(self.device.type, torch.bfloat16, enabled=config.precision == "bfloat16"):
            raw = self.net.model[:-1](photo)
        losses = drawing_losses(raw.float(), ink)
        total = sum(losses.values())
        if not torch.isfinite(total):
            raise FloatingPointError(f"the loss is {float(total.detach())} in step {k}; lower the learning rate")
        self.optimizer.zero_grad(set_to_none=True)
        total.backward()
        self.optimizer.step()
        self.steps_done += 1
        return {name: float(value.detach()) for name, value in losses.items()}

    def _batch(self, count: int, pen: float, rng: torch.Generator) -> tuple[Tensor, Tensor]:
        """`count` augmented pairs: photo [B,3,128,128] in -1..1, ink [B,1,128,128] in 0..1."""
        from_pairs = round(count * self.config.pairs_share) if self.pairs is not None else 0
        parts = []
        for source, share in ((self.photos, count - from_pairs), (self.pairs, from_pairs)):
            if share:
                index = torch.randint(len(source), (share,), generator=rng)
                parts.append(torch.cat([source.photo[index], source.distance[index], source.object[index]], dim=1))
        return augment_pairs(torch.cat(parts).float() / 255, pen, rng)

    def result(self) -> PhotoSketch:
        """The network as trained so far: a copy in evaluation mode, frozen, float32 on the CPU."""
        net = PhotoSketch(width=self.config.width, blocks=self.config.blocks)
        net.load_state_dict({name: value.detach().cpu().clone() for name, value in self.net.state_dict().items()})
        return net.eval().requires_grad_(False)

    def state_dict(self) -> dict:
        """Everything a later process needs to go on; plain tensors, numbers and strings."""
        return {
            "config": self.config.model_dump(),
            "step": self.steps_done,
            "net": self.net.state_dict(),
            "optimizer": self.optimizer.state_dict(),
        }

    def load_state_dict(self, state: dict) -> None:
        """Go on from `state_dict()`. Only the length of the training may differ in the options."""
        ours = self.config.model_dump()
        changed = [key for key in ours if key != "steps" and state["config"].get(key) != ours[key]]
        if changed:
            key = changed[0]
            theirs = state["config"].get(key)
            raise ValueError(f"the saved run has {key} {theirs}, this one {ours[key]}: use the same options")
        self.net.load_state_dict(state["net"])
        self.optimizer.load_state_dict(state["optimizer"])
        self.steps_done = int(state["step"])


def drawing_losses(raw: Tensor, ink: Tensor) -> dict[str, Tensor]:
    """raw [B,1,H,W]: the network before its tanh; ink [B,1,H,W] in 0..1.

    ink = (1 - tanh(raw)) / 2 = sigmoid(-2 raw). Cross entropy settles on grey where a line may be or not; the overlap
    (soft Dice, over the batch) favours whole dark lines.
    """
    logits = -2 * raw
    drawn = torch.sigmoid(logits)
    overlap = 1 - (2 * (drawn * ink).sum() + 1) / (drawn.square().sum() + ink.square().sum() + 1)
    return {"match": F.binary_cross_entropy_with_logits(logits, ink), "overlap": 0.3 * overlap}


@torch.no_grad()
def evaluate_sketcher(
    sketcher: torch.nn.Module, pairs: Pairs, *, size: int = 64, stroke_width: float = 0.02
) -> dict[str, float]:
    """How near a sketcher's drawings of size x size px come to those of the pairs: means over the pairs.

    l1: absolute difference of ink (0..1) per pixel; chamfer: see metrics.chamfer, in units of the side; ink: inked
    share of the drawing, and wanted: of the pair's.
    """
    totals: dict[str, float] = defaultdict(float)
    for k in range(len(pairs)):
        photo = resize(pairs.photo[k : k + 1].float() / 127.5 - 1, size).clamp(-1, 1)
        ink = _inked(pairs.distance[k : k + 1].float() / 16, stroke_width * SIDE)
        wanted = 1 - 2 * F.adaptive_avg_pool2d(ink, size)
        drawing = sketcher(photo)
        totals["l1"] += (drawing - wanted).abs().mean().item() / 2
        totals["chamfer"] += chamfer(drawing, wanted).item()
        totals["ink"] += (1 - drawing).mean().item() / 2
        totals["wanted"] += (1 - wanted).mean().item() / 2
    return {name: total / len(pairs) for name, total in totals.items()}


def train_sketcher(
    config: SketcherConfig,
    photos: Path,
    pairs: Path | None,
    out: Path,
    *,
    on_step: Callable[[int, dict[str, float]], None] | None = None,
    resume: bool = True,
    device: str = "cpu",
) -> PhotoSketch:
    """Trains on a folder or zip of photos on white, and pairs (.npz), and saves the network as `out` in half precision.

    Every tenth photo of each folder is left out, for evaluation. Progress is kept beside `out` about once a minute and
    on interruption; with `resume` the next call goes on from there. on_step(steps done, losses) after each step.
    """
    out = Path(out)
    saved = out.with_name(out.name + ".state.pt")
    training, _ = hold_out(image_names(photos))
    chosen = ImageSet(photos, SIDE, names=balanced(training, config.photo_count))
    log.info("drawing the contours of %d photos", len(chosen))
    trainer = SketcherTrainer(
        config, pairs_from_photos(chosen), pairs_from_file(pairs) if pairs else None, device=device
    )
    if resume and saved.exists():
        trainer.load_state_dict(torch.load(saved, map_location="cpu", weights_only=True))
        log.info("going on from step %d", trainer.steps_done)

    def keep() -> None:
        atomic_write(saved, lambda path: torch.save(trainer.state_dict(), path))

    kept, in_step = time.monotonic(), False
    try:
        while trainer.steps_done < config.steps:
            in_step = True
            losses = trainer.step()
            in_step = False
            if on_step:
                on_step(trainer.steps_done, losses)
            if time.monotonic() - kept > CHECKPOINT_SECONDS:
                keep()
                kept = time.monotonic()
    except BaseException:
        if not in_step:  # a step cut short leaves weights that belong to no step
            keep()
        raise
    net = trainer.result()
    save_photosketch(
        net, out, dtype=torch.float16, metadata={"training": config.model_dump_json(), "photos": str(len(chosen))}
    )
    saved.unlink(missing_ok=True)
    return net
