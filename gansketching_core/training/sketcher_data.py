"""Pairs of photo and drawing: from photos on white, whose contours are computed, and from files of pairs.

A pair is uint8 [5,128,128]: the photo (3), the distance to the nearest line of its drawing in sixteenths of a pixel,
and the object, 255 inside and 0 on the white around it. A drawing stored as distances can be rotated and zoomed with
its photo and still be inked with strokes of one width.
"""

import math
from collections import defaultdict
from collections.abc import Sequence
from functools import partial
from pathlib import Path

import numpy as np
import torch
import torch.nn.functional as F
from einops import rearrange
from scipy import ndimage
from torch import Tensor

from ..datasets import ImageSet
from ..images import resize
from ..random_streams import random_samples
from ..sketches.strokes import skeleton
from .placement import enlarged

SIDE = 128  # pixels of the training pairs
HIGHLIGHT = 0.006  # share of the photo: larger white parts that the object encloses, as between legs, are ground
FAR = 255 / 16  # pixels: the largest distance to lines that is stored, in sixteenths of a pixel, in one byte


def make_pair(photo: np.ndarray, lines: np.ndarray, inside: np.ndarray) -> Tensor:
    """A pair of a photo, uint8 [128,128,3], its lines and its object, both bool [128,128]."""
    distance = (np.minimum(_distance_to(lines), FAR) * 16).round()
    layers = np.dstack([photo, distance, inside * 255.0]).astype(np.uint8)
    return torch.from_numpy(rearrange(layers, "h w c -> c h w")).contiguous()


def _distance_to(mask: np.ndarray) -> np.ndarray:
    """Distance of every pixel [H,W] to the nearest true one, in pixels; infinite if there is none."""
    return np.asarray(ndimage.distance_transform_edt(~mask)) if mask.any() else np.full(mask.shape, np.inf)


def _part_sizes(mask: np.ndarray, structure: np.ndarray | None = None) -> np.ndarray:
    """For each true pixel of [H,W] the number of pixels in its connected part; 0 for the others."""
    labels = np.zeros(mask.shape, dtype=np.int32)
    ndimage.label(mask, structure, output=labels)
    return np.bincount(labels.ravel())[labels] * mask


def find_object(photo: np.ndarray) -> np.ndarray:
    """Photo on white, uint8 [H,W,3] -> bool [H,W], true inside the object; small holes (highlights) are filled."""
    colour = ndimage.gaussian_filter(255 - photo.astype(np.float32), (0.7, 0.7, 0))
    spread = colour.max(axis=2) - colour.min(axis=2)
    inside = (colour.mean(axis=2) + 1.5 * spread) > 38  # includes pale colours, but no pale grey shadows
    inside = np.asarray(ndimage.binary_closing(np.pad(inside, 4), iterations=1))[4:-4, 4:-4].astype(bool)
    holes = np.asarray(ndimage.binary_fill_holes(inside)).astype(bool) & ~inside
    inside = np.logical_or(inside, holes & (_part_sizes(holes) < HIGHLIGHT * inside.size))
    sizes = _part_sizes(inside)
    inside = inside & (sizes >= 0.05 * sizes.max())
    return ndimage.gaussian_filter(inside.astype(np.float32), 0.7, mode="nearest") > 0.5


def find_lines(photo: np.ndarray, inside: np.ndarray) -> np.ndarray:
    """The object's outline and its strong, long inner edges: bool [H,W], lines one pixel wide."""
    # The outline follows the border of the photo too, which shows when the photo is shrunk.
    outline = inside & np.logical_not(ndimage.binary_erosion(inside))
    edges = np.sqrt(_edge_energy(photo, sigma=2.2))
    local = ndimage.gaussian_filter(edges, 6)
    strong = (edges > 20) & (edges > 1.25 * local) & (_distance_to(~inside) > 6)
    return outline | (_part_sizes(skeleton(strong), structure=np.ones((3, 3))) >= 18)


def _edge_energy(photo: np.ndarray, sigma: float) -> np.ndarray:
    """Squared gradient of a blurred photo, summed over the colours: [H,W]."""
    colour = ndimage.gaussian_filter(photo.astype(np.float32), (sigma, sigma, 0))
    vertical = np.square(ndimage.sobel(colour, axis=0) / 8).sum(axis=2)
    horizontal = np.square(ndimage.sobel(colour, axis=1) / 8).sum(axis=2)
    return vertical + horizontal


def pairs_from_photos(photos: ImageSet) -> Tensor:
    """Photos on white at 128 px, with the drawings computed from them: pairs [N,5,128,128]."""
    pairs = []
    for photo in rearrange(photos.data, "n c h w -> n h w c").numpy():
        inside = find_object(photo)
        pairs.append(make_pair(photo, find_lines(photo, inside), inside))
    return torch.stack(pairs)


def pairs_from_file(path: str | Path) -> Tensor:
    """Pairs [N,5,128,128] of an .npz file with `photo` [N,H,H,3] and `sketch` [N,H,H] (black on white), both uint8.

    Lines of a sketch that are not near an edge of the photo are left out: a network can't learn them.
    """
    try:
        with np.load(path, allow_pickle=False) as file:
            photos, sketches = file["photo"], file["sketch"]
    except (OSError, ValueError, KeyError) as error:
        raise ValueError(f"{path} can't be read as pairs ({error}); it needs arrays `photo` and `sketch`") from error
    height = photos.shape[1:2]
    expected = (len(photos), *height, *height)
    if photos.shape != (*expected, 3) or sketches.shape != expected or not len(photos):
        raise ValueError(f"{path}: photo is {photos.shape}, sketch {sketches.shape}; expected [N,H,H,3] and [N,H,H]")
    if not photos.dtype == sketches.dtype == np.uint8:
        raise ValueError(f"{path}: photo is {photos.dtype}, sketch {sketches.dtype}; both must be uint8")
    pairs = []
    for photo, sketch in zip(_resized(photos), _resized(sketches[..., None])[..., 0]):
        near_edge = _distance_to(_edge_energy(photo, sigma=1) >= 8**2) < 4
        pairs.append(make_pair(photo, skeleton(sketch < 128) & near_edge, find_object(photo)))
    return torch.stack(pairs)


def _resized(images: np.ndarray) -> np.ndarray:
    """uint8 [N,H,H,C] -> uint8 [N,128,128,C]."""
    x = torch.from_numpy(rearrange(images, "n h w c -> n c h w"))
    if x.shape[2] != SIDE:
        x = torch.cat([resize(part.float(), SIDE).clamp(0, 255).round().byte() for part in x.split(64)])
    return rearrange(x, "n c h w -> n h w c").numpy()


def balanced(names: Sequence[str], count: int) -> list[str]:
    """`count` of the names, spread evenly over their folders and within each."""
    folders: dict[str, list[str]] = defaultdict(list)
    for name in names:
        folders[name.rpartition("/")[0]].append(name)
    ranked = []
    for members in folders.values():
        stride = max(1, round(len(members) * len(folders) / count))
        spread = [name for first in range(stride) for name in members[first::stride]]
        ranked += enumerate(spread)
    return [name for _, name in sorted(ranked)[:count]]


def augment_pairs(
    x: Tensor, stroke_width: float, rng: torch.Generator, backgrounds: Tensor | None = None
) -> tuple[Tensor, Tensor]:
    """Rotate by any angle, zoom to 0.55-1.1, mirror, shift; mix the colours; change the white ground of a third.

    x [B,5,S,S]: photo, distance and object in 0..1 -> photos [B,3,S,S] in -1..1 and ink [B,1,S,S] in 0..1. The stroke
    width is in pixels. backgrounds: uint8 [M,3,S',S'], of which parts are put behind two thirds of the objects.
    """
    count, _, side, _ = x.shape
    chance = random_samples(torch.rand, (count, 6), rng)
    angle = chance[:, 0] * 2 * math.pi
    angle = torch.where(chance[:, 5] < 0.5, (chance[:, 0] - 0.5) * 0.5, angle)  # half of them nearly upright
    zoom = 0.55 + 0.55 * chance[:, 1]
    mirror = torch.sign(chance[:, 2] - 0.5)
    shift = (chance[:, 3:5] - 0.5) * 0.4
    row_x = torch.stack([angle.cos() * mirror, -angle.sin(), shift[:, 0]], dim=1)
    row_y = torch.stack([angle.sin() * mirror, angle.cos(), shift[:, 1]], dim=1)
    theta = torch.stack([row_x, row_y], dim=1) / zoom[:, None, None]  # [B,2,3]
    grid = F.affine_grid(theta, [count, 1, side, side], align_corners=False)
    blank = x.new_tensor([1, 1, 1, 1, 0])[None, :, None, None]  # outside: white, far from lines, no object
    x = F.grid_sample(x - blank, grid, padding_mode="zeros", align_corners=False) + blank
    ink = ink_of_lines(x[:, 3:4] * FAR * zoom[:, None, None, None], stroke_width)
    objects = mix_colours(x[:, :3], rng)
    photo = change_ground(objects, x[:, 4:], rng)
    if backgrounds is not None:
        numbers = random_samples(partial(torch.randint, len(backgrounds)), (count,), rng)
        scenes = mix_colours((enlarged(backgrounds[numbers], side, rng) + 1) / 2, rng)
        before_scenes = random_samples(torch.rand, (count, 1, 1, 1), rng) < 2 / 3
        photo = torch.where(before_scenes, put_before(objects, x[:, 4:], scenes), photo)
    return (photo * 2 - 1).clamp(-1, 1), ink


def put_before(objects: Tensor, inside: Tensor, scenes: Tensor) -> Tensor:
    """Objects of photos on white before scenes, [B,3,H,W] in 0..1; inside: [B,1,H,W], 1 inside the object.

    The outermost pixel of the object, into which the white has bled, is covered.
    """
    alpha = (2 * F.avg_pool2d(inside, 3, stride=1, padding=1, count_include_pad=False) - 1).clamp(0, 1)
    return objects * alpha + scenes * (1 - alpha)


def ink_of_lines(distance: Tensor, stroke_width: float) -> Tensor:
    """Ink in 0..1 of strokes along lines, from the distance to the lines; both arguments are in pixels."""
    return (stroke_width / 2 + 0.5 - distance).clamp(0, 1)


def mix_colours(photo: Tensor, rng: torch.Generator) -> Tensor:
    """Photos [B,3,H,W] in 0..1 with their channels mixed and their contrast changed at random; white stays white."""
    count = len(photo)
    swap = random_samples(_permutations, (count, 3, 3), rng)
    swap[random_samples(torch.rand, (count,), rng) < 0.7] = torch.eye(3)
    mix = swap + 0.15 * random_samples(torch.randn, (count, 3, 3), rng)
    mix = mix * (0.7 + 0.6 * random_samples(torch.rand, (count, 1, 1), rng))
    return (1 - torch.einsum("bij,bjhw->bihw", mix, 1 - photo)).clamp(0, 1)


def _permutations(shape: Sequence[int], generator: torch.Generator) -> Tensor:
    """Random permutation matrices of a shape [B,N,N]."""
    count, size, _ = shape
    return torch.stack([torch.eye(size)[torch.randperm(size, generator=generator)] for _ in range(count)])


def change_ground(photo: Tensor, inside: Tensor, rng: torch.Generator) -> Tensor:
    """Give a third of the photos [B,3,H,W] in 0..1 a ground of another colour and a gradient of brightness.

    inside: [B,1,H,W], 1 inside the object and 0 on the ground.
    """
    count, side = len(photo), photo.shape[-1]
    colour = 1 - random_samples(torch.rand, (count, 3), rng) * random_samples(torch.rand, (count, 1), rng)
    ramp = torch.linspace(-0.5, 0.5, side)[None, None, :, None]
    gradient = ramp * random_samples(torch.rand, (count, 1, 1, 1), rng)
    colour[random_samples(torch.rand, (count,), rng) < 0.67] = 1
    gradient = gradient * (colour.amin(dim=1) < 1)[:, None, None, None]
    ground = 1 - F.avg_pool2d(inside, 3, stride=1, padding=1, count_include_pad=False)
    return (photo + ground * (colour[:, :, None, None] - 1 + gradient)).clamp(0, 1)


def degrade(photo: Tensor, rng: torch.Generator) -> Tensor:
    """Blur and noise, as in generated images, each on about half of the photos [B,3,H,W] in -1..1."""
    count = len(photo)
    amount = random_samples(torch.rand, (count, 2, 1, 1, 1), rng)
    applies = random_samples(torch.rand, (count, 2, 1, 1, 1), rng) < 0.5
    blurred = F.avg_pool2d(photo, 3, stride=1, padding=1, count_include_pad=False)
    photo = torch.where(applies[:, 0], torch.lerp(photo, blurred, amount[:, 0]), photo)
    fine = random_samples(torch.randn, photo.shape, rng)
    coarse = F.avg_pool2d(fine, 3, stride=1, padding=1) * 2  # artefacts of generators are larger than a pixel
    noise = torch.where(random_samples(torch.rand, (count, 1, 1, 1), rng) < 0.5, fine, coarse)
    return torch.where(applies[:, 1], photo + 0.12 * amount[:, 1] * noise, photo)
