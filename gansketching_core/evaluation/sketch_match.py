"""The sketch match: how well the samples of a customised model follow the sketches, compared with its base model."""

import itertools
from dataclasses import dataclass

import torch
from torch import Tensor, nn

from ..latents.sampling import OnBatch, Share, render_batches, sample_z
from ..networks.stylegan2 import GanModel
from ..sketches.distance import chamfer
from .colours import LEVELS, palettes, palettes_kept
from .shape_match import ShapeMatch, shape_match

MISSING_PART = 0.1  # share of a sketch's lines from which it is worth saying that no sample has them
DEFAULT_SEED = 1  # not 0: the warm start of a training with seed 0 has seen those latents


@dataclass(frozen=True)
class SketchMatch:
    """How the drawings of samples match the sketches, before and after customising; shares are 0..1.

    The first four are by the Chamfer distance to the nearest sketch, where the drawing is in the image; the others by
    the shape alone, see `shape_match`.
    """

    before: float  # median distance over the samples, in image sides
    after: float
    nearer: float  # share of the latents whose sample is nearer to the sketches after than before
    beats: float  # share of the samples after that are nearer than `before`
    shape_before: float  # share of the samples that have the shape of a sketch
    shape_after: float
    lines_met: float  # mean share of a sketch's lines that its samples after customising have
    missing: list[str]  # parts of sketches that hardly any sample has, in words
    colours: float  # how much of the colours before the samples have kept, see `colours_kept`

    def __str__(self) -> str:
        parts = [
            f"{self.shape_after:.0%} of the samples have the shape of a sketch (before: {self.shape_before:.0%}); they "
            f"meet {self.lines_met:.0%} of its lines.",
            *self.missing,
            f"They keep {max(0, self.colours):.0%} of the colours of the original's samples.",
            f"Distance of a drawing to the nearest sketch: {self.before:.3f} before, {self.after:.3f} after (median, "
            f"in image sides); {self.nearer:.0%} of the samples are nearer than before.",
        ]
        return " ".join(parts)


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
    if count < 2:
        raise ValueError(f"count is {count}; samples are compared with each other, too: use 2 or more")

    def draw(model: GanModel, earlier: int) -> tuple[Tensor, Tensor]:
        """Drawings [count,1,R,R] and the palettes of the images that they were drawn of."""
        both = render_batches(
            model,
            sample_z(model, count, seed, label),
            batch=batch,
            share=share,
            use=lambda images: torch.cat([photosketch(images).flatten(1), palettes(images)], dim=1),
            on_batch=lambda done, _: on_batch(earlier + done, 2 * count),
        )
        drawings, colours = torch.cat(list(both)).split([size * size, 3 * LEVELS], dim=1)
        return drawings.reshape(-1, 1, size, size), colours

    drawings_before, colours_before = draw(before, 0)
    drawings_after, colours_after = draw(after, count)
    distances_before = chamfer(drawings_before, sketches).amin(dim=1)
    distances_after = chamfer(drawings_after, sketches).amin(dim=1)
    median = distances_before.median()
    shapes = shape_match(drawings_after, sketches)
    return SketchMatch(
        before=float(median),
        after=float(distances_after.median()),
        nearer=float((distances_after < distances_before).double().mean()),
        beats=float((distances_after < median).double().mean()),
        shape_before=shape_match(drawings_before, sketches).share,
        shape_after=shapes.share,
        lines_met=shapes.met,
        missing=_missing_parts(shapes),
        colours=palettes_kept(colours_after, colours_before),
    )


def _missing_parts(shapes: ShapeMatch) -> list[str]:
    """A sentence for each of the two sketches of which the samples miss the largest parts."""
    largest = sorted(zip(shapes.missing, shapes.missing_where, itertools.count(1)), reverse=True)[:2]
    return [
        f"Few samples have the {where} of sketch {number}, {share:.0%} of its lines: this model may not be able to."
        for share, where, number in largest
        if share > MISSING_PART
    ]
