"""Cutting things out of pictures on white, to place them before other backgrounds and in other colours."""

import numpy as np
import torch
from einops import rearrange
from scipy import ndimage
from torch import Tensor

WHITE = 246  # of 255: the darkest channel of a background pixel is at least as bright
SPECK = 0.0007  # share of the picture: smaller white parts that the thing encloses are highlights, not background


def cut_out(pictures: Tensor) -> Tensor:
    """Pictures on white, uint8 [N,3,S,S] -> uint8 [N,4,S,S], with alpha: 0 on the white, partial along the outline.

    Colours are those of the thing alone: what the white added to the outline's pixels is taken away.
    """
    layers = [_cut_out(picture) for picture in rearrange(pictures, "n c h w -> n h w c").numpy()]
    return rearrange(torch.from_numpy(np.stack(layers)), "n h w c -> n c h w").contiguous()


def _cut_out(picture: np.ndarray) -> np.ndarray:  # uint8 [S,S,3] -> uint8 [S,S,4]
    labels = np.zeros(picture.shape[:2], dtype=np.int32)
    ndimage.label(picture.min(axis=2) >= WHITE, output=labels)
    sizes = np.bincount(labels.ravel())
    is_background = sizes >= SPECK * labels.size
    is_background[np.concatenate([labels[0], labels[-1], labels[:, 0], labels[:, -1]])] = True
    is_background[0] = False  # label 0: everything that is not white
    background = is_background[labels]
    inner = ndimage.binary_erosion(~background, iterations=2, border_value=1)
    if not inner.any():
        return np.dstack([picture, np.where(background, 0, 255)]).astype(np.uint8)
    nearest = np.asarray(
        ndimage.distance_transform_edt(np.logical_not(inner), return_distances=False, return_indices=True)
    )
    colour = picture[nearest[0], nearest[1]].astype(np.float32)
    # A pixel of the outline is alpha * colour + (1 - alpha) * white: the least-squares alpha of its three channels.
    fit = ((255.0 - picture) * (255 - colour)).sum(axis=2) / np.maximum(np.square(255 - colour).sum(axis=2), 1)
    alpha = np.where(background, 0, np.where(inner, 1, fit.clip(0, 1)))
    return np.dstack([np.where(inner[..., None], picture, colour), alpha * 255]).round().astype(np.uint8)


def is_cropped(cut_outs: Tensor, share: float = 0.06) -> Tensor:
    """Whether things reach an edge of their picture over more than a share of its side: uint8 [N,4,S,S] -> bool [N]."""
    inside = cut_outs[:, 3] > 127
    edges = torch.stack([inside[:, 0], inside[:, -1], inside[:, :, 0], inside[:, :, -1]])  # [4,N,S]
    return edges.sum(dim=2).amax(dim=0) > share * cut_outs.shape[-1]


def colours_of(cut_outs: Tensor) -> Tensor:
    """Mean and deviation of each channel of things, as shares of white: uint8 [N,4,S,S] -> [N,2,3]."""
    colours = [_colours(part[:, :3].float() / 255, part[:, 3:].float() / 255) for part in cut_outs.split(64)]
    return torch.cat(colours)


def recoloured(rgb: Tensor, alpha: Tensor, colours: Tensor) -> Tensor:
    """Give things [B,3,S,S] in 0..1, covering alpha [B,1,S,S], these means and deviations [B,2,3] (Reinhard, 2001)."""
    mean, deviation = _colours(rgb, alpha)[..., None, None].unbind(dim=1)
    new_mean, new_deviation = colours.to(rgb)[..., None, None].unbind(dim=1)
    return ((rgb - mean) * (new_deviation / deviation.clamp(min=0.02)) + new_mean).clamp(0, 1)


def _colours(rgb: Tensor, alpha: Tensor) -> Tensor:  # [B,3,S,S] in 0..1, [B,1,S,S] -> [B,2,3]
    covered = alpha.sum(dim=(2, 3)).clamp(min=1e-3)
    mean = (rgb * alpha).sum(dim=(2, 3)) / covered
    variance = ((rgb - mean[..., None, None]).square() * alpha).sum(dim=(2, 3)) / covered
    return torch.stack([mean, variance.sqrt()], dim=1)
