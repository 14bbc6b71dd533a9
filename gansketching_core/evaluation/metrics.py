"""Measures of images and of features: pure functions. Features are [N,D] of any float type; sums are in float64."""

from __future__ import annotations

from collections.abc import Callable

import numpy as np
import torch
from einops import reduce
from torch import Tensor


def psnr(images: Tensor, targets: Tensor, mask: Tensor | None = None) -> Tensor:
    """Peak signal-to-noise ratio [N] in dB of images and targets [N,3,H,W] in -1..1 (clipped).

    mask: weights of the pixels, [N or 1,1,H,W] in 0..1.
    """
    square = (images.clamp(-1, 1) - targets.clamp(-1, 1)).square().mean(dim=1, keepdim=True)
    weight = torch.ones_like(square) if mask is None else mask.expand_as(square)
    mean = reduce(square * weight, "n 1 h w -> n", "sum") / reduce(weight, "n 1 h w -> n", "sum")
    return 10 * torch.log10(4 / mean.clamp(min=1e-10))


class FeatureStatistics:
    """Count, mean and covariance of features, gathered batch by batch in float64."""

    def __init__(self) -> None:
        self.count = 0
        self._mean = torch.zeros(0, dtype=torch.float64)
        self._scatter = torch.zeros(0, 0, dtype=torch.float64)  # sum of (x - mean) (x - mean)^T

    @classmethod
    def of(cls, features: Tensor) -> FeatureStatistics:
        """Of one batch of features [N,D]."""
        statistics = cls()
        statistics.add(features)
        return statistics

    def add(self, features: Tensor) -> None:
        """Add features [N,D]; N may be 0. The merging formula is that of Chan, Golub and LeVeque (1979)."""
        if features.ndim != 2:
            raise ValueError(f"features have shape {tuple(features.shape)}, expected [N,D]")
        x = features.detach().cpu().double()
        if not torch.isfinite(x).all():
            raise ValueError("features are not finite; check the images they come from")
        if not len(x):
            return
        mean = x.mean(dim=0)
        scatter = (x - mean).T @ (x - mean)
        if not self.count:
            self.count, self._mean, self._scatter = len(x), mean, scatter
            return
        if x.shape[1] != len(self._mean):
            raise ValueError(f"features have length {x.shape[1]}, those before had {len(self._mean)}")
        total = self.count + len(x)
        difference = mean - self._mean
        self._scatter += scatter + torch.outer(difference, difference) * (self.count * len(x) / total)
        self._mean = self._mean + difference * (len(x) / total)
        self.count = total

    @property
    def mean(self) -> Tensor:
        """[D]"""
        return self._mean

    @property
    def covariance(self) -> Tensor:
        """Unbiased, [D,D]."""
        if self.count < 2:
            raise ValueError(f"a covariance needs at least 2 features, there are {self.count}")
        return self._scatter / (self.count - 1)


def frechet_distance(a: FeatureStatistics, b: FeatureStatistics) -> float:
    """Frechet distance of two Gaussians with these means and covariances (Heusel et al., 2017, eq. 6):

        |mean_a - mean_b|^2 + tr(A) + tr(B) - 2 tr((A B)^(1/2))

    With Inception's features of 50,000 images this is FID; with others, name the extractor. It is larger for fewer
    samples.
    """
    left = _square_root(a.covariance)
    root = torch.linalg.eigvalsh(left @ b.covariance @ left).clamp(min=0).sqrt().sum()
    distance = (a.mean - b.mean).square().sum() + a.covariance.trace() + b.covariance.trace() - 2 * root
    return max(float(distance), 0.0)


def _square_root(matrix: Tensor) -> Tensor:
    """Square root of a symmetric positive semi-definite matrix, which may be rank-deficient."""
    values, vectors = torch.linalg.eigh(matrix)
    return (vectors * values.clamp(min=0).sqrt()) @ vectors.T


def kernel_distance(
    a: Tensor, b: Tensor, *, subsets: int = 100, subset_size: int = 1000, seed: int = 0
) -> tuple[float, float]:
    """KID (Binkowski et al., 2018) times 1000, of features [N,D] and [M,D]: mean and deviation over random subsets.

    The unbiased squared MMD with the kernel (x.y / D + 1)^3; about 0 for equal distributions, and may be below.
    """
    a, b = a.detach().cpu().double(), b.detach().cpu().double()
    size = min(subset_size, len(a), len(b))
    if size < 2:
        raise ValueError(f"a kernel distance needs at least 2 features on each side, not {len(a)} and {len(b)}")
    rng = torch.Generator().manual_seed(seed)
    values = []
    for _ in range(subsets):
        x = a[torch.randperm(len(a), generator=rng)[:size]]
        y = b[torch.randperm(len(b), generator=rng)[:size]]
        within = _mean_of_pairs(_kernel(x, x)) + _mean_of_pairs(_kernel(y, y))
        values.append(1000 * float(within - 2 * _kernel(x, y).mean()))
    return float(np.mean(values)), float(np.std(values))


def _kernel(x: Tensor, y: Tensor) -> Tensor:
    return (x @ y.T / x.shape[1] + 1) ** 3


def _mean_of_pairs(matrix: Tensor) -> Tensor:
    """Mean of a square matrix without its diagonal."""
    return (matrix.sum() - matrix.trace()) / (len(matrix) * (len(matrix) - 1))


def precision_recall(real: Tensor, fake: Tensor, *, k: int = 3) -> tuple[float, float]:
    """Improved precision and recall (Kynkaanniemi et al., 2019) of features [N,D] and [M,D], both 0..1.

    Each real feature has a ball around it that reaches to its k-th nearest neighbour among the real features. Precision
    is the share of fake features in any of these balls; recall is the same with the roles swapped.
    """
    real, fake = real.detach().cpu().double(), fake.detach().cpu().double()
    for name, x in (("real", real), ("fake", fake)):
        if len(x) <= k:
            raise ValueError(f"precision and recall with k={k} need more than {k} {name} features, there are {len(x)}")
    return _covered(fake, real, k), _covered(real, fake, k)


def _covered(points: Tensor, centres: Tensor, k: int, block: int = 2048) -> float:
    """Share of `points` in the ball of any of the `centres`; in blocks of rows, to save memory."""
    radii = torch.cat([torch.cdist(part, centres).kthvalue(k + 1, dim=1).values for part in centres.split(block)])
    inside = [(torch.cdist(part, centres) <= radii).any(dim=1) for part in points.split(block)]
    return float(torch.cat(inside).double().mean())


def path_length(
    synthesise: Callable[[Tensor], Tensor],
    w: Tensor,
    distance: Callable[[Tensor, Tensor], Tensor],
    *,
    epsilon: float = 1e-4,
    batch: int = 16,
    on_batch: Callable[[int, int], None] | None = None,
) -> float:
    """Perceptual path length in w at the end points (Karras et al., 2019, section 4.1).

    From each w[:,0] one step of `epsilon` is taken towards w[:,1]. The result is the mean of distance / epsilon^2,
    without the values below the 1st and above the 99th percentile. Published figures use LPIPS (VGG); those of another
    distance can't be compared with them.

    Args:
        synthesise: w [B,w_dim] -> images [B,3,H,W].
        w: pairs [N,2,w_dim].
        distance: two batches of images -> squared distances [B].
        epsilon: length of the step, as a share of the line between the pair.
        batch: pairs at a time.
        on_batch: called with (pairs done, pairs in all); may raise to stop.
    """
    if w.ndim != 3 or w.shape[1] != 2 or not len(w):
        raise ValueError(f"w has shape {tuple(w.shape)}, expected pairs [N,2,w_dim]")
    lengths, done = [], 0
    with torch.no_grad():
        for pairs in w.split(batch):
            start, end = pairs[:, 0], pairs[:, 0].lerp(pairs[:, 1], epsilon)
            images = synthesise(torch.cat([start, end]))
            lengths.append(distance(*images.chunk(2)).double().cpu() / epsilon**2)
            done += len(pairs)
            if on_batch:
                on_batch(done, len(w))
    values = torch.cat(lengths).numpy()
    low, high = np.percentile(values, 1, method="lower"), np.percentile(values, 99, method="higher")
    return float(values[(values >= low) & (values <= high)].mean())
