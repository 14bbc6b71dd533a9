"""Measures of images and of features: pure functions. Features are [N,D] of any float type; sums are in float64."""

from collections.abc import Callable, Iterable

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


def _checked(name: str, features: Tensor, least: int) -> Tensor:
    """Features [N,D] in float64 on the CPU, if there are at least `least` and all are finite."""
    if features.ndim != 2:
        raise ValueError(f"{name} features have shape {tuple(features.shape)}, expected [N,D]")
    if len(features) < least:
        raise ValueError(f"there are {len(features)} {name} features; use at least {least}")
    if not torch.isfinite(features).all():
        raise ValueError(f"{name} features are not finite; check the images they come from")
    return features.detach().cpu().double()


def frechet_distance(real: Tensor, fake: Tensor) -> float:
    """Frechet distance of Gaussians with the means and covariances of features [N,D] and [M,D].

        |mean_a - mean_b|^2 + tr(A) + tr(B) - 2 tr((A B)^(1/2))        (Heusel et al., 2017, eq. 6)

    With Inception's features of 50,000 images this is FID; else name the extractor. It is larger for fewer samples.
    """
    real, fake = _checked("real", real, 2), _checked("fake", fake, 2)
    a, b = (torch.cov(x.T).reshape(x.shape[1], -1) for x in (real, fake))  # [D,D]; torch.cov of D = 1 is a number
    values, vectors = torch.linalg.eigh(a)
    root = (vectors * values.clamp(min=0).sqrt()) @ vectors.T  # of A, which may be rank-deficient
    trace = torch.linalg.eigvalsh(root @ b @ root).clamp(min=0).sqrt().sum()
    distance = (real.mean(dim=0) - fake.mean(dim=0)).square().sum() + a.trace() + b.trace() - 2 * trace
    return max(float(distance), 0.0)


def kernel_distance(
    real: Tensor, fake: Tensor, *, subsets: int = 100, subset_size: int = 1000, seed: int = 0
) -> tuple[float, float]:
    """KID (Binkowski et al., 2018) times 1000, of features [N,D] and [M,D]: mean and deviation over random subsets.

    The unbiased squared MMD with the kernel (x.y / D + 1)^3; about 0 for equal distributions, and may be below.
    """
    real, fake = _checked("real", real, 2), _checked("fake", fake, 2)
    size = min(subset_size, len(real), len(fake))
    rng = torch.Generator().manual_seed(seed)
    values = []
    for _ in range(subsets):
        x = real[torch.randperm(len(real), generator=rng)[:size]]
        y = fake[torch.randperm(len(fake), generator=rng)[:size]]
        xx, yy, xy = ((p @ q.T / p.shape[1] + 1) ** 3 for p, q in ((x, x), (y, y), (x, y)))
        within = (xx.sum() - xx.trace() + yy.sum() - yy.trace()) / (size * (size - 1))
        values.append(1000 * float(within - 2 * xy.mean()))
    return float(np.mean(values)), float(np.std(values))


def precision_recall(real: Tensor, fake: Tensor, *, k: int = 3) -> tuple[float, float]:
    """Improved precision and recall (Kynkaanniemi et al., 2019) of features [N,D] and [M,D], both 0..1.

    Each real feature has a ball around it that reaches to its k-th nearest neighbour among the real features. Precision
    is the share of fake features in any of these balls; recall is the same with the roles swapped.
    """
    real, fake = _checked("real", real, k + 1), _checked("fake", fake, k + 1)
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
    on_batch: Callable[[int], None] = lambda _: None,
    share: Callable[..., Iterable[Tensor]] = map,
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
        on_batch: called with the number of pairs done; may raise to stop.
        share: `map`, or one that shares out batches among processes.
    """
    if w.ndim != 3 or w.shape[1] != 2 or not len(w):
        raise ValueError(f"w has shape {tuple(w.shape)}, expected pairs [N,2,w_dim]")

    @torch.no_grad()
    def measure(first: int) -> Tensor:
        pairs = w[first : first + batch]
        start, end = pairs[:, 0], pairs[:, 0].lerp(pairs[:, 1], epsilon)
        images = synthesise(torch.cat([start, end]))
        lengths = distance(*images.chunk(2)).double().cpu() / epsilon**2
        on_batch(first + len(pairs))
        return lengths

    values = torch.cat(list(share(measure, range(0, len(w), batch)))).numpy()
    low, high = np.percentile(values, 1, method="lower"), np.percentile(values, 99, method="higher")
    return float(values[(values >= low) & (values <= high)].mean())
