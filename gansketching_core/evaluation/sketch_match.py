"""The sketch match: how well the samples of a customised model follow the sketches, compared with its base model."""

from __future__ import annotations

from dataclasses import dataclass

from torch import Tensor, nn

from ..latents.sampling import OnBatch, Share, sample_drawings
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
    on_batch: OnBatch = lambda *_: None,
    share: Share = map,
) -> SketchMatch:
    """Compare two models on samples of the same latents with the same sketches [N,1,R,R], as they were trained with.

    The fine-tuning's report, the command `evaluate` and the node Sketch Match Score give these numbers. `count` is the
    number of samples of each model (None: `default_count`); `label` the class, for class-conditional models (None: all
    in turn). on_batch counts the images of both models. share: `map`, or one that shares out batches among processes.
    """
    size = before.config.resolution
    if after.config.resolution != size:
        raise ValueError(
            f"the original model makes images of {size} px, the customised model of {after.config.resolution} px: "
            "give a model and one that was customised from it"
        )
    count = default_count(size) if count is None else count
    options = {"count": count, "seed": seed, "label": label, "batch": batch, "share": share}

    def distances(model: GanModel, earlier: int) -> Tensor:  # [count]
        drawings = sample_drawings(
            model, photosketch, **options, on_batch=lambda done, _: on_batch(earlier + done, 2 * count)
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
