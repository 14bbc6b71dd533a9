"""Training a small photo-to-sketch network (PhotoSketch) on pairs of photo and drawing."""

import copy
import logging
import math
import time
from collections.abc import Callable, Sequence
from pathlib import Path
from typing import Literal

import torch
import torch.nn.functional as F
from torch import Tensor

from ..checkpoints.native import save_photosketch
from ..datasets import ImageSet, hold_out, image_names
from ..images import resize
from ..networks.photosketch import PhotoSketch
from ..options import Options, option
from ..random_streams import random_samples, seeded_init
from ..sketches.distance import chamfer
from . import loop
from .distributed import ALONE, Team
from .micro_batches import Losses, MicroBatches, micro_batch_option
from .optimizers import update
from .sketcher_data import SIDE, augment_pairs, balanced, degrade, ink_of_lines, pairs_from_file, pairs_from_photos

log = logging.getLogger(__name__)


class SketcherConfig(Options):
    """Options of `gansketching pretrain-sketcher`."""

    width: int = option(16, "Channels of the first layer; 64 in the published network.", ge=1, le=256)
    blocks: int = option(3, "Residual blocks; 9 in the published network.", ge=0, le=32)
    steps: int = option(1200, "Length of the training in steps.", ge=1)
    batch: int = option(24, "Pairs per step at 64 px; a quarter as many at 128 px.", ge=2, le=1024)
    learning_rate: float = option(0.002, "Adam's learning rate at the start; it decreases to 0.", gt=0, le=0.1)
    stroke_width: float = option(
        0.02, "Width of the strokes, as a share of the side of a 64 px drawing.", ge=0.005, le=0.1
    )
    photo_count: int = option(3000, "Photos used of each set, the same number of each folder if possible.", ge=1)
    pairs_share: float = option(0.35, "Share of every batch taken from the given pairs.", ge=0, le=1)
    large_every: int = option(
        4, "One step in so many is at 128 px instead of 64 px; strokes are as many pixels wide.", ge=1
    )
    settle: float = option(0.2, "Last share of the training with fixed batch-norm statistics.", ge=0, le=1)
    precision: Literal["float32", "bfloat16"] = option("bfloat16", "bfloat16 is faster where the hardware supports it.")
    seed: int = option(0, "Seed of every random number.", ge=0, le=2**63 - 1)
    micro_batch: int = micro_batch_option(
        " Batch normalisation and the overlap are then those of a micro-batch, which changes the training a little."
    )


class SketcherTrainer(loop.Trainer):
    """Trains a PhotoSketch on pairs, see `sketcher_data`: call `step` repeatedly, then `result`.

    Equal seeds give equal runs, also across a stop and `load_state_dict`, in any number of processes (`team`).

    Args:
        photos: sets of pairs made of photos, uint8 [N,5,128,128] each, which are shown equally often.
        pairs: pairs that were given, uint8 [N,5,128,128].
        backgrounds: uint8 [M,3,S,S]; two thirds of the objects are placed before parts of these.
    """

    def __init__(
        self,
        config: SketcherConfig,
        photos: Sequence[Tensor],
        pairs: Tensor | None = None,
        *,
        backgrounds: Tensor | None = None,
        device: torch.device | str = "cpu",
        team: Team = ALONE,
    ):
        self.config = config
        self.team = team
        self._small = MicroBatches(config.batch, config.micro_batch, team=team)
        self._large = self._small.of_batch(max(2, config.batch // 4))
        self.data = torch.cat([*photos, *([] if pairs is None else [pairs])])
        self._photo_counts = [len(part) for part in photos]
        self.backgrounds = backgrounds
        self.device = torch.device(device)
        with seeded_init(config.seed):
            self.net = PhotoSketch(width=config.width, blocks=config.blocks).to(self.device)
        self.optimizer = torch.optim.Adam(self.net.parameters(), lr=config.learning_rate, betas=(0.9, 0.99))

    def step(self) -> loop.StepReport:
        """One update of the network, by `drawing_losses`. Raises FloatingPointError if a number is not finite."""
        started = time.perf_counter()
        config = self.config
        k = self.steps_done
        is_large = k % config.large_every == config.large_every - 1
        micro_batches = self._large if is_large else self._small
        streams = micro_batches.streams(config.seed, "sketcher training", k)
        self.net.train(k < config.steps * (1 - config.settle))
        decay = 0.5 + 0.5 * math.cos(math.pi * min(1, k / config.steps))
        self.optimizer.param_groups[0]["lr"] = config.learning_rate * decay

        def compute(index: int) -> Losses:
            rng = streams[index]
            photo, ink = self._pairs(is_large, micro_batches.size, rng)
            photo = degrade(photo, rng).to(self.device)
            with torch.autocast(self.device.type, torch.bfloat16, enabled=config.precision == "bfloat16"):
                raw = self.net.model[:-1](photo)
            losses = drawing_losses(raw.float(), ink.to(self.device))
            (losses["match"] + losses["overlap"]).backward()
            return {name: loss.detach() for name, loss in losses.items()}

        parameters = self.optimizer.param_groups[0]["params"]
        losses = micro_batches.gradients(parameters, compute, averaged=[self.net])
        update(self.optimizer, torch.stack(list(losses.values())), "drawing", k)
        self.steps_done += 1
        values = {name: float(value) for name, value in losses.items()}
        return loop.StepReport(k, values, time.perf_counter() - started)

    def _pairs(self, large: bool, count: int, rng: torch.Generator) -> tuple[Tensor, Tensor]:
        """Augmented pairs, at 128 px if `large`, else at 64 px: photo [B,3,S,S] in -1..1, ink [B,1,S,S] in 0..1."""
        stroke_width = self.config.stroke_width * 64 * (1 if large else 2)  # in pixels of the pairs, of 128 px
        chosen = random_samples(self._choose, (count,), rng)
        photo, ink = augment_pairs(self.data[chosen].float() / 255, stroke_width, rng, self.backgrounds)
        if large:
            return photo, ink
        return F.avg_pool2d(photo, 2), F.avg_pool2d(ink, 2)

    def _choose(self, shape: tuple[int], generator: torch.Generator) -> Tensor:
        """Numbers of a batch's pairs: those made of photos first, then the given ones."""
        counts = list(self._photo_counts)
        given = len(self.data) - sum(counts)
        from_given = round(shape[0] * self.config.pairs_share) if given else 0
        from_photos = shape[0] - from_given
        shares = [from_photos * (k + 1) // len(counts) - from_photos * k // len(counts) for k in range(len(counts))]
        chosen, first = [], 0
        for count, share in zip([*counts, given], [*shares, from_given]):
            if share:
                chosen.append(first + torch.randint(count, (share,), generator=generator))
            first += count
        return torch.cat(chosen)

    def result(self) -> PhotoSketch:
        """The network as trained so far: a copy in evaluation mode, frozen, float32 on the CPU."""
        return copy.deepcopy(self.net).cpu().eval().requires_grad_(False)

    def parts(self) -> dict:
        return {"net": self.net, "optimizer": self.optimizer}


def drawing_losses(raw: Tensor, ink: Tensor) -> dict[str, Tensor]:
    """Losses of drawings: `match`, the cross entropy per pixel, and `overlap`, the soft Dice loss over the batch.

    raw: output of the network before its tanh, [B,1,H,W]. ink: the wanted drawing [B,1,H,W] in 0..1, 1 is ink. Cross
    entropy alone settles on grey where a line is uncertain; the overlap favours whole dark lines.
    """
    logits = -2 * raw  # ink = (1 - tanh(raw)) / 2 = sigmoid(-2 raw)
    drawing = torch.sigmoid(logits)
    overlap = 1 - (2 * (drawing * ink).sum() + 1) / (drawing.square().sum() + ink.square().sum() + 1)
    return {"match": F.binary_cross_entropy_with_logits(logits, ink), "overlap": 0.3 * overlap}


@torch.no_grad()
def evaluate_sketcher(
    sketcher: torch.nn.Module, pairs: Tensor, *, size: int = 64, stroke_width: float = 0.02
) -> dict[str, float]:
    """Compare a sketcher's drawings of size x size px with those of the pairs [N,5,128,128]: means over the pairs.

    l1: absolute difference of ink (0..1) per pixel. chamfer: see `sketches.distance.chamfer`, in units of the side.
    ink, wanted: share of pixels that are ink, in the sketcher's drawings and in those of the pairs.
    """
    photos = resize(pairs[:, :3].float() / 127.5 - 1, size).clamp(-1, 1)
    ink = ink_of_lines(pairs[:, 3:4].float() / 16, stroke_width * SIDE)
    wanted = 1 - 2 * F.adaptive_avg_pool2d(ink, size)
    drawings = torch.cat([sketcher(photo) for photo in photos.split(1)])
    return {
        "l1": (drawings - wanted).abs().mean().item() / 2,
        "chamfer": sum(chamfer(*pair).item() for pair in zip(drawings.split(1), wanted.split(1))) / len(pairs),
        "ink": (1 - drawings).mean().item() / 2,
        "wanted": (1 - wanted).mean().item() / 2,
    }


def train_sketcher(
    config: SketcherConfig,
    photos: Sequence[Path],
    pairs: Path | None,
    out: Path,
    *,
    backgrounds: Path | None = None,
    on_step: Callable[[loop.StepReport], None] | None = None,
    resume: bool = True,
    device: torch.device | str = "cpu",
    team: Team = ALONE,
) -> PhotoSketch:
    """Train a network and save it in half precision. Every tenth photo of each folder is held out, for evaluation.

    photos: folders or zips of photos of single objects on white, shown equally often. pairs: .npz file of pairs, see
    `pairs_from_file`. out: file of the network; the state of an unfinished training is beside it. backgrounds: folder
    or zip of pictures to put behind the objects. The first process of `team` writes both files.
    """
    state_file = out.with_name(out.name + ".state.pt")
    sets = []
    for source in photos:
        training, _ = hold_out(image_names(source))
        sets.append(ImageSet(source, SIDE, names=balanced(training, config.photo_count)))
    count = sum(map(len, sets))
    log.info("computing the contours of %d photos", count)
    made = [pairs_from_photos(part) for part in sets]
    given = pairs_from_file(pairs) if pairs else None
    scenes = ImageSet(backgrounds, 2 * SIDE).data if backgrounds else None
    trainer = SketcherTrainer(config, made, given, backgrounds=scenes, device=device, team=team)
    history = loop.resume(trainer, state_file) if resume else []
    loop.train(trainer, config.steps, state_file, history, on_step=on_step)
    net = trainer.result()
    about = {"training": config.model_dump_json(), "photos": str(count)}

    def save() -> None:
        save_photosketch(net, out, dtype=torch.float16, metadata=about)
        state_file.unlink(missing_ok=True)

    team.first(save)
    return net
