"""How good a model's images are, and how well a customised model follows the sketches."""

from __future__ import annotations

from collections.abc import Callable, Iterator
from dataclasses import dataclass

import torch
from torch import Tensor, nn

from .features import extract
from .latents import Latents, SampleConfig, render, sample_z, to_w
from .metrics import FeatureStatistics, chamfer, frechet_distance, kernel_distance, path_length, precision_recall
from .stylegan2 import GanModel


@dataclass
class SketchMatch:
    """Distances of a model's drawings to the nearest of the sketches (see metrics.chamfer), before and after.

    before, after: medians over the samples, in units of the image side. nearer: the share of samples, 0..1, that came
    nearer than the sample of the same latent was before. beats: the share that is nearer than the median of the model
    before; None in results of older versions.
    """

    before: float
    after: float
    nearer: float
    beats: float | None = None

    def __str__(self) -> str:
        return (
            f"{self.nearer:.0%} of the samples are nearer to the sketches than before. Distance of a drawing to the "
            f"nearest sketch: {self.before:.3f} before, {self.after:.3f} after (median, in image sides)."
        )


def sketch_match(
    before: GanModel,
    after: GanModel,
    sketches: Tensor,
    photosketch: nn.Module,
    *,
    count: int = 64,
    seed: int = 1,
    label: int | None = None,
    batch: int = 8,
    on_batch: Callable[[int, int], None] | None = None,
) -> SketchMatch:
    """Compare `count` samples of both models from the same latents with sketches [N,1,R,R] in -1..1.

    label: the class, for class-conditional models. on_batch: called with (done, total) of each model; may raise.
    """
    latents = sample_z(before, count, seed, label)
    distances = [
        chamfer(_drawings(model, latents, photosketch, batch, on_batch), sketches.cpu()).amin(dim=1)
        for model in (before, after)
    ]
    nearer = (distances[1] < distances[0]).double().mean()
    beats = (distances[1] < distances[0].median()).double().mean()
    return SketchMatch(float(distances[0].median()), float(distances[1].median()), float(nearer), float(beats))


@torch.no_grad()
def _drawings(
    model: GanModel,
    latents: Latents,
    photosketch: nn.Module,
    batch: int,
    on_batch: Callable[[int, int], None] | None,
) -> Tensor:
    images = render(model, latents, batch=batch, on_batch=on_batch)
    return torch.cat([photosketch(part).cpu() for part in images.split(batch)])


@dataclass
class Evaluation:
    """Samples of a model beside photos, measured in the features of `extractor`: see metrics.

    samples, photos: how many. frechet: Frechet distance, FID only where `is_fid`. kid: times 1000, with its standard
    deviation over subsets. path_length: in w at the end points, on features of the extractor; None when not asked for.
    """

    extractor: str
    is_fid: bool
    samples: int
    photos: int
    frechet: float
    kid: float
    kid_deviation: float
    precision: float
    recall: float
    path_length: float | None = None

    def __str__(self) -> str:
        lines = [
            f"Extractor: {self.extractor}. {self.samples} samples, {self.photos} photos.",
            f"{'FID' if self.is_fid else 'Frechet distance'}: {self.frechet:.2f}",
            f"KID x 1000: {self.kid:.2f} ± {self.kid_deviation:.2f}",
            f"Precision: {self.precision:.3f}, recall: {self.recall:.3f} (k = 3)",
        ]
        if self.path_length is not None:
            lines.append(f"Path length in w (end points, features of the extractor): {self.path_length:.1f}")
        return "\n".join(lines)


@torch.no_grad()
def evaluate_model(
    model: GanModel,
    photos: Tensor,
    extractor: nn.Module,
    *,
    count: int = 1000,
    seed: int = 0,
    label: int | None = None,
    config: SampleConfig | None = None,
    path_length_pairs: int = 0,
    batch: int = 16,
    on_batch: Callable[[int, int], None] | None = None,
) -> Evaluation:
    """Compare `count` samples with photos [N,3,H,W] in -1..1 at the model's size.

    on_batch: called with (done, total) images, of samples, photos and pairs together; may raise. config: truncation
    and noise of the samples, none by default. path_length_pairs: steps of the path length, 0 for none.
    """
    if count < 4 or len(photos) < 4:
        raise ValueError(f"{count} samples and {len(photos)} photos can't be compared; use at least 4 of each")
    total, done = count + len(photos) + path_length_pairs, 0

    def report(done_now: int) -> None:
        if on_batch:
            on_batch(done + done_now, total)

    latents = sample_z(model, count, seed, label)

    def samples() -> Iterator[Tensor]:
        for first in range(0, count, batch):
            part = latents[first : first + batch]
            yield render(model, part, config or SampleConfig(), seed=seed + first, batch=batch)

    fake = extract(extractor, samples(), on_batch=report)
    done += count
    real = extract(extractor, photos, batch=batch, on_batch=report)
    done += len(photos)
    kid, deviation = kernel_distance(real, fake, subset_size=min(1000, min(count, len(photos)) // 2 + 1))
    precision, recall = precision_recall(real, fake)
    length = None
    if path_length_pairs:
        length = _path_length(model, extractor, path_length_pairs, seed, label, batch, lambda k, _: report(k))
    return Evaluation(
        extractor=getattr(extractor, "name", type(extractor).__name__),
        is_fid=getattr(extractor, "is_fid", False),
        samples=count,
        photos=len(photos),
        frechet=frechet_distance(FeatureStatistics.of(real), FeatureStatistics.of(fake)),
        kid=1000 * kid,
        kid_deviation=1000 * deviation,
        precision=precision,
        recall=recall,
        path_length=length,
    )


def _path_length(model, extractor, pairs: int, seed: int, label: int | None, batch: int, on_batch) -> float:
    w = to_w(model, sample_z(model, 2 * pairs, seed + 1, label)).data.view(pairs, 2, -1)

    def synthesise(ws: Tensor) -> Tensor:
        return model.generator.synthesize(ws, noise="const")

    def distance(a: Tensor, b: Tensor) -> Tensor:
        return (extractor(a) - extractor(b)).double().square().sum(dim=1)

    return path_length(synthesise, w, distance, batch=batch, on_batch=on_batch)
