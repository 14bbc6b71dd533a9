"""A model's samples compared with photos."""

from dataclasses import dataclass
from typing import Any

import torch
from einops import rearrange
from torch import Tensor, nn

from ..latents.sampling import OnBatch, Share, render_batches, sample_z
from ..latents.spaces import Latents, to_w
from ..networks.feature_networks import extract
from ..networks.stylegan2 import GanModel
from .metrics import frechet_distance, kernel_distance, path_length, precision_recall


@dataclass(frozen=True)
class Evaluation:
    """Metrics of a model's samples and photos, on the features of an extractor (`evaluation.metrics`)."""

    extractor: str  # name of the network
    is_fid: bool  # whether `frechet` may be called FID
    samples: int
    photos: int
    frechet: float
    kid: float  # times 1000
    kid_deviation: float  # times 1000, over subsets
    precision: float  # 0..1, k = 3
    recall: float
    path_length: float | None = None  # in w at the end points, on features of the extractor

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


def sample_features(model: GanModel, latents: Latents, extractor: nn.Module, **options: Any) -> Tensor:
    """Features [N,D], float32 on the CPU, of the images of N latents; options as in `latents.sampling.render`."""
    return torch.cat(list(render_batches(model, latents, use=lambda images: extract(extractor, images), **options)))


@torch.no_grad()
def evaluate_model(
    model: GanModel,
    photos: Tensor,
    extractor: nn.Module,
    *,
    count: int = 1000,
    seed: int = 0,
    label: int | None = None,
    path_length_pairs: int = 0,
    batch: int = 16,
    on_batch: OnBatch = lambda *_: None,
    share: Share = map,
) -> Evaluation:
    """Compare `count` samples of a model with photos [N,3,R,R] in -1..1 at its size, on features of the extractor.

    The class `label` is for class-conditional models (None: all in turn). path_length_pairs 0 leaves the path length
    out. on_batch counts the images of samples, photos and pairs together. share: `map`, or one that shares out batches
    among processes.
    """
    if count < 4 or len(photos) < 4:
        raise ValueError(f"{count} samples and {len(photos)} photos can't be compared; use at least 4 of each")
    total = count + len(photos) + path_length_pairs
    fake = sample_features(
        model,
        sample_z(model, count, seed, label),
        extractor,
        batch=batch,
        on_batch=lambda done, _: on_batch(done, total),
        share=share,
    )
    real = extract(extractor, photos, batch=batch, on_batch=lambda done: on_batch(count + done, total), share=share)
    kid, kid_deviation = kernel_distance(real, fake, subset_size=min(1000, min(count, len(photos)) // 2 + 1))
    precision, recall = precision_recall(real, fake)
    length = None
    if path_length_pairs:
        w = to_w(model, sample_z(model, 2 * path_length_pairs, seed + 1, label)).data
        length = path_length(
            lambda ws: model.generator.synthesize(ws, noise="const"),
            rearrange(w, "(pairs two) c -> pairs two c", two=2),
            lambda a, b: (extractor(a) - extractor(b)).double().square().sum(dim=1),
            batch=batch,
            on_batch=lambda done: on_batch(count + len(photos) + done, total),
            share=share,
        )
    return Evaluation(
        extractor=getattr(extractor, "name", type(extractor).__name__),
        is_fid=getattr(extractor, "is_fid", False),
        samples=count,
        photos=len(photos),
        frechet=frechet_distance(real, fake),
        kid=kid,
        kid_deviation=kid_deviation,
        precision=precision,
        recall=recall,
        path_length=length,
    )
