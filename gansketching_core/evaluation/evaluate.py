"""How good a model's images are, beside photos."""

from __future__ import annotations

from collections.abc import Callable, Iterator
from dataclasses import dataclass

import torch
from torch import Tensor, nn

from ..latents.sampling import SampleConfig, render, sample_z
from ..latents.spaces import to_w
from ..networks.feature_networks import extract
from ..networks.stylegan2 import GanModel
from .metrics import FeatureStatistics, frechet_distance, kernel_distance, path_length, precision_recall


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
