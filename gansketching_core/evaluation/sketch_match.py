"""The sketch match: how well the samples of a customised model follow the sketches, compared with its base model."""

from __future__ import annotations

from dataclasses import dataclass

from torch import Tensor, nn

from ..latents.sampling import OnBatch, sample_drawings
from ..networks.stylegan2 import GanModel
from ..sketches.distance import chamfer

DEFAULT_SEED = 1  # not 0: the warm start of a training with seed 0 has seen those latents


@dataclass(frozen=True)
class SketchMatch:
    """Chamfer distances from the drawings of samples to the nearest sketch, before and after customising."""

    before: float  # median over the samples, in image sides
    after: float
    nearer: float  # share of the latents, 0..1, whose sample is nearer to the sketches after than before
    beats: float  # share of the samples after, 0..1, that are nearer than `before`

    def __str__(self) -> str:
        return (
            f"{self.nearer:.0%} of the samples are nearer to the sketches than before, {self.beats:.0%} are nearer "
            f"than the original's median. Distance of a drawing to the nearest sketch: {self.before:.3f} before, "
            f"{self.after:.3f} after (median, in image sides)."
        )


def default_count(resolution: int) -> int:
    """Number of samples that a match at this resolution is measured on by default."""
    return 64 if resolution <= 128 else 16


def sketch_match(
    before: GanModel,
    after: GanModel,
    sketches: Tensor,
    photosketch: nn.Module,
    *,
    count: int | None = None,
    seed: int = DEFAULT_SEED,
    label: int | None = None,
    batch: int = 8,
    on_batch: OnBatch | None = None,
) -> SketchMatch:
    """Compare two models on samples of the same latents with the same sketches.

    The fine-tuning's report, the command `evaluate` and the node Sketch Match Score give these numbers.

    Args:
        before: the base model.
        after: the customised model.
        sketches: prepared sketches [N,1,R,R] in -1..1, as the customised model was trained with.
        photosketch: photo [B,3,R,R] in -1..1 -> drawing [B,1,R,R] in -1..1.
        count: number of samples of each model; None: `default_count`.
        seed: of the latents.
        label: the class, for class-conditional models; None: all classes in turn.
        batch: number of images made at a time; the result does not depend on it.
        on_batch: called with (images done, images of both models in all); may raise to stop.
    """
    size = before.config.resolution
    if after.config.resolution != size:
        raise ValueError(
            f"the original model makes images of {size} px, the customised model of {after.config.resolution} px: "
            "give a model and one that was customised from it"
        )
    count = default_count(size) if count is None else count

    def distances(model: GanModel, done_before: int) -> Tensor:  # [count]
        def report(done: int, _total: int) -> None:
            if on_batch:
                on_batch(done_before + done, 2 * count)

        drawings = sample_drawings(
            model, photosketch, count=count, seed=seed, label=label, batch=batch, on_batch=report
        )
        return chamfer(drawings, sketches).amin(dim=1)

    distances_before = distances(before, 0)
    distances_after = distances(after, count)
    median = distances_before.median()
    return SketchMatch(
        before=float(median),
        after=float(distances_after.median()),
        nearer=float((distances_after < distances_before).double().mean()),
        beats=float((distances_after < median).double().mean()),
    )
