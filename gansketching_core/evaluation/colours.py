"""Whether customising has kept the colours of a model's samples."""

import torch
import torch.nn.functional as F
from torch import Tensor

WHITE = 0.8  # of -1..1: pixels whose darkest channel is brighter are a white ground, which has no colour to keep
LARGEST = 128  # pixels of the side at which colours are compared
LEVELS = 64  # quantiles that describe the values of a channel


def colours_kept(images: Tensor, originals: Tensor) -> float:
    """How much of the originals' colours [N,3,H,W], in -1..1, the images of the same latents still have, N >= 2.

    1: every image has its original's colours; 0: its colours differ as much as those of another original. The colours
    of an image are the distributions of its channels, without a white ground; their distance is Wasserstein's W1.
    Shapes and places do not matter, and neither does the share of the image that an object takes up.
    """
    return palettes_kept(palettes(images), palettes(originals))


def palettes_kept(ours: Tensor, theirs: Tensor) -> float:
    """`colours_kept` of the images of these palettes [N,D]."""
    if len(ours) != len(theirs) or len(ours) < 2:
        raise ValueError(f"{len(ours)} images can't be compared with {len(theirs)}; give two or more of the same")
    distances = torch.cdist(theirs, theirs, p=1)
    others = distances.sum() / (len(theirs) * (len(theirs) - 1))
    if not others:
        return 1.0 if torch.equal(ours, theirs) else 0.0
    return float(1 - (ours - theirs).abs().sum(dim=1).mean() / others)


def palettes(images: Tensor) -> Tensor:
    """The quantiles of the channels of each image [N,3,H,W], without a white ground: [N, 3 LEVELS]."""
    levels = torch.linspace(0, 1, LEVELS, device=images.device)
    result = []
    small = F.adaptive_avg_pool2d(images.float().clamp(-1, 1), min(LARGEST, images.shape[-1]))
    for image in small.flatten(2):  # [3,P]
        coloured = image[:, image.amin(dim=0) <= WHITE]
        result.append(torch.quantile(coloured if coloured.shape[1] else image, levels, dim=1).T.flatten())
    return torch.stack(result)
