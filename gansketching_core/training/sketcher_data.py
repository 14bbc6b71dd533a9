"""Pairs of photo and drawing: from photos on white, whose contours are computed, and from files of pairs.

A drawing is kept as the distance to its lines, so that it can be turned and zoomed with its photo and still be inked
with one pen.
"""

from __future__ import annotations

import math
from collections import defaultdict
from collections.abc import Sequence
from dataclasses import dataclass
from pathlib import Path

import numpy as np
import torch
import torch.nn.functional as F
from scipy import ndimage
from torch import Tensor

from ..datasets import ImageSet
from ..images import resize
from ..sketches.strokes import skeleton

SIDE = 128  # pixels of the training pairs
FAR = 255 / 16  # distances to lines are kept in sixteenths of a pixel, in one byte


@dataclass(frozen=True)
class Pairs:
    """Photos with their drawings, in bytes: photo [N,3,128,128]; distance to the nearest line [N,1,128,128] in
    sixteenths of a pixel; object [N,1,128,128], 255 inside the object and 0 on the white around it."""

    photo: Tensor
    distance: Tensor
    object: Tensor

    def __len__(self) -> int:
        return len(self.photo)

    @staticmethod
    def stack(items: Sequence[tuple[np.ndarray, np.ndarray, np.ndarray]]) -> Pairs:
        """From (photo [128,128,3] of bytes, lines [128,128] of bool, object [128,128] of bool) each."""
        photo = torch.from_numpy(np.stack([item[0] for item in items])).permute(0, 3, 1, 2).contiguous()
        lines = np.stack([np.minimum(_distance(item[1]), FAR) * 16 for item in items])
        inside = np.stack([item[2] * np.uint8(255) for item in items])
        return Pairs(
            photo, torch.from_numpy(lines.round().astype(np.uint8))[:, None], torch.from_numpy(inside)[:, None]
        )


def _distance(lines: np.ndarray) -> np.ndarray:
    return ndimage.distance_transform_edt(~lines) if lines.any() else np.full(lines.shape, FAR)


def find_object(photo: np.ndarray) -> np.ndarray:
    """Photo [H,W,3] of bytes on white -> [H,W] of bool, where the object is; holes (highlights) are filled."""
    colour = ndimage.gaussian_filter(255 - photo.astype(np.float32), (1, 1, 0))
    spread = colour.max(axis=2) - colour.min(axis=2)
    found = (colour.mean(axis=2) + 1.5 * spread) > 38  # pale colours count, pale grey shadows do not
    found = ndimage.binary_fill_holes(ndimage.binary_closing(np.pad(found, 4), iterations=3))[4:-4, 4:-4]
    labels, count = ndimage.label(found)
    if count > 1:
        sizes = ndimage.sum_labels(found, labels, np.arange(1, count + 1))
        found = np.isin(labels, 1 + np.flatnonzero(sizes >= 0.05 * sizes.max()))
    return ndimage.gaussian_filter(found.astype(np.float32), 1.5, mode="nearest") > 0.5


def draw_lines(photo: np.ndarray, inside: np.ndarray) -> np.ndarray:
    """The object's outline and its strong, long inner edges: [H,W] of bool, one pixel wide."""
    outline = inside & ~ndimage.binary_erosion(inside)  # along the frame too: it shows once the photo is zoomed out
    colour = ndimage.gaussian_filter(photo.astype(np.float32), (2.2, 2.2, 0))
    energy = sum(np.square(ndimage.sobel(colour, axis=axis) / 8).sum(axis=2) for axis in (0, 1))
    edges = np.sqrt(energy)
    local = ndimage.gaussian_filter(edges, 6)
    strong = (edges > 20) & (edges > 1.25 * local) & (ndimage.distance_transform_edt(inside) > 6)
    inner = skeleton(strong)
    labels, count = ndimage.label(inner, structure=np.ones((3, 3)))
    lengths = ndimage.sum_labels(inner, labels, np.arange(1, count + 1))
    return outline | np.isin(labels, 1 + np.flatnonzero(lengths >= 18))


def pairs_from_photos(photos: ImageSet) -> Pairs:
    """Photos on white at 128 px, with the drawings computed from them."""
    items = []
    for photo in photos.data.permute(0, 2, 3, 1).numpy():
        inside = find_object(photo)
        items.append((photo, draw_lines(photo, inside), inside))
    return Pairs.stack(items)


def pairs_from_file(path: str | Path) -> Pairs:
    """An .npz file with `photo` [N,H,H,3] and `sketch` [N,H,H] (black on white), both bytes.

    Only those lines of a sketch are kept that have an edge of the photo nearby: a network can't learn the others.
    """
    try:
        with np.load(path, allow_pickle=False) as file:
            photos, sketches = file["photo"], file["sketch"]
    except (OSError, ValueError, KeyError) as error:
        raise ValueError(f"{path} can't be read as pairs ({error}); it needs arrays `photo` and `sketch`") from error
    count, side = len(photos), photos.shape[1]
    if photos.shape != (count, side, side, 3) or sketches.shape != (count, side, side) or count == 0:
        raise ValueError(f"{path}: photo is {photos.shape}, sketch {sketches.shape}; expected [N,H,H,3] and [N,H,H]")
    if photos.dtype != np.uint8 or sketches.dtype != np.uint8:
        raise ValueError(f"{path}: photo is {photos.dtype}, sketch {sketches.dtype}; both must be uint8")
    items = []
    for photo, sketch in zip(_to_side(photos), _to_side(sketches[..., None])[..., 0]):
        colour = ndimage.gaussian_filter(photo.astype(np.float32), (1, 1, 0))
        energy = sum(np.square(ndimage.sobel(colour, axis=axis) / 8).sum(axis=2) for axis in (0, 1))
        near_edge = ndimage.distance_transform_edt(energy < 8**2) < 4 if (energy >= 8**2).any() else energy > 0
        items.append((photo, skeleton(sketch < 128) & near_edge, find_object(photo)))
    return Pairs.stack(items)


def _to_side(bytes_: np.ndarray) -> np.ndarray:
    """[N,H,H,C] of bytes -> [N,128,128,C]."""
    x = torch.from_numpy(bytes_).permute(0, 3, 1, 2)
    if x.shape[2] != SIDE:
        x = torch.cat([resize(part.float(), SIDE).clamp(0, 255).round().byte() for part in x.split(64)])
    return x.permute(0, 2, 3, 1).numpy()


def balanced(names: Sequence[str], count: int) -> list[str]:
    """`count` of the names, spread evenly over their folders and within each."""
    folders: dict[str, list[str]] = defaultdict(list)
    for name in names:
        folders[name.rpartition("/")[0]].append(name)
    ranked = []
    for members in folders.values():
        stride = max(1, round(len(members) * len(folders) / count))
        order = [k for first in range(stride) for k in range(first, len(members), stride)]
        ranked += [(rank, members[k]) for rank, k in enumerate(order)]
    return [name for _, name in sorted(ranked)[:count]]


def augment_pairs(x: Tensor, pen: float, rng: torch.Generator) -> tuple[Tensor, Tensor]:
    """x [B,5,S,S] in 0..1 (photo, distance, object), pen in pixels -> photo [B,3,S,S] in -1..1, ink [B,1,S,S] in 0..1.

    Turned by any angle, zoomed to 0.55-1.1, mirrored, moved; colours mixed; the white around a third of the objects
    becomes another colour or a gradient.
    """
    count, side = len(x), x.shape[-1]
    chance = torch.rand(count, 6, generator=rng)
    angle, zoom = chance[:, 0] * 2 * math.pi, 0.55 + 0.55 * chance[:, 1]
    angle = torch.where(chance[:, 5] < 0.5, (chance[:, 0] - 0.5) * 0.5, angle)  # half of them nearly upright
    mirror, shift = torch.sign(chance[:, 2] - 0.5), (chance[:, 3:5] - 0.5) * 0.4
    rows = [angle.cos() * mirror, -angle.sin(), shift[:, 0]], [angle.sin() * mirror, angle.cos(), shift[:, 1]]
    theta = torch.stack([torch.stack(row, dim=1) for row in rows], dim=1) / zoom[:, None, None]  # [B,2,3]
    grid = F.affine_grid(theta, [count, 1, side, side], align_corners=False)
    blank = x.new_tensor([1, 1, 1, 1, 0])[None, :, None, None]  # white, far from lines, no object: what moves in
    x = F.grid_sample(x - blank, grid, padding_mode="zeros", align_corners=False) + blank
    distance = x[:, 3:4] * FAR * zoom[:, None, None, None]
    ink = _inked(distance, pen)
    photo = mix_colours(x[:, :3], rng)
    return (other_ground(photo, x[:, 4:], rng) * 2 - 1).clamp(-1, 1), ink


def _inked(distance: Tensor, pen: float) -> Tensor:
    """Distances to lines -> ink in 0..1 of a pen `pen` wide, both in pixels."""
    return (pen / 2 + 0.5 - distance).clamp(0, 1)


def mix_colours(photo: Tensor, rng: torch.Generator) -> Tensor:
    """Random linear mixes of the channels and contrast, about white, so that white stays white. [B,3,H,W] in 0..1."""
    count = len(photo)
    swap = torch.stack([torch.eye(3)[torch.randperm(3, generator=rng)] for _ in range(count)])
    swap[torch.rand(count, generator=rng) < 0.7] = torch.eye(3)
    mix = swap + 0.15 * torch.randn(count, 3, 3, generator=rng)
    mix = mix * (0.7 + 0.6 * torch.rand(count, 1, 1, generator=rng))
    return (1 - torch.einsum("bij,bjhw->bihw", mix, 1 - photo)).clamp(0, 1)


def other_ground(photo: Tensor, inside: Tensor, rng: torch.Generator) -> Tensor:
    """A third of the photos [B,3,H,W] in 0..1 get a pale or coloured ground with a slope of brightness."""
    count, side = len(photo), photo.shape[-1]
    colour = 1 - torch.rand(count, 3, generator=rng) * torch.rand(count, 1, generator=rng)
    slope = torch.linspace(-0.5, 0.5, side)[None, None, :, None] * torch.rand(count, 1, 1, 1, generator=rng)
    colour[torch.rand(count, generator=rng) < 0.67] = 1
    slope = slope * (colour.amin(dim=1) < 1)[:, None, None, None]
    around = 1 - F.avg_pool2d(inside, 3, stride=1, padding=1, count_include_pad=False)
    return (photo + around * (colour[:, :, None, None] - 1 + slope)).clamp(0, 1)


def degrade(photo: Tensor, rng: torch.Generator) -> Tensor:
    """Blur and noise, as in generated images, each on about half of the photos [B,3,H,W] in -1..1."""
    count = len(photo)
    amount = torch.rand(count, 2, 1, 1, 1, generator=rng)
    on = torch.rand(count, 2, 1, 1, 1, generator=rng) < 0.5
    blurred = F.avg_pool2d(photo, 3, stride=1, padding=1, count_include_pad=False)
    photo = torch.where(on[:, 0], torch.lerp(photo, blurred, amount[:, 0]), photo)
    noise = torch.randn(photo.shape, generator=rng)
    grain = F.avg_pool2d(noise, 3, stride=1, padding=1) * 2  # generators leave blotches, not single pixels
    noise = torch.where(torch.rand(count, 1, 1, 1, generator=rng) < 0.5, noise, grain)
    return torch.where(on[:, 1], photo + 0.12 * amount[:, 1] * noise, photo)
