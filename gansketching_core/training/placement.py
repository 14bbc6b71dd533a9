"""Placing training pictures at random: mirrored, rotated, shrunk and shifted."""

import json

import torch
import torch.nn.functional as F
from torch import Tensor

from ..networks.stylegan2 import GanModel
from ..options import Options, option
from ..random_streams import random_samples
from .backgrounds import is_cropped, recoloured


class PlacementConfig(Options):
    """Random placement of training pictures."""

    flip: bool = option(True, "Mirror half of the pictures.")
    rotate: float = option(0.0, "Rotate pictures by up to this many degrees, on white.", ge=0, le=180)
    zoom_out: float = option(1.0, "Shrink pictures to as little as this share of their size, on white.", ge=0.25, le=1)
    shift: float = option(0.0, "Shift pictures by up to this share of the side.", ge=0, le=0.5)
    tint: float = option(
        0.0, "Change the brightness by up to this share, the colour balance by a quarter of it.", ge=0, le=1
    )
    recolour: bool = option(
        False, "Give each thing the colours of another one at random. For things placed before backgrounds."
    )


def placed(
    pictures: Tensor,
    resolution: int,
    config: PlacementConfig,
    rng: torch.Generator,
    backgrounds: Tensor | None = None,
    colours: Tensor | None = None,
) -> Tensor:
    """Place pictures at random -> [B,3,R,R] in -1..1, R the resolution.

    Args:
        pictures: uint8 [B,3,S,S], which are padded with white, or cut-outs [B,4,S,S] (`backgrounds.cut_out`). S of
            twice the resolution keeps rotated and shrunk pictures sharp.
        rng: a stream on the CPU.
        backgrounds: uint8 [B,3,S,S], behind cut-outs; each is mirrored or not, and a part of it is enlarged.
        colours: [B,2,3], given to cut-outs (`backgrounds.colours_of`).
    """
    batch, device = len(pictures), pictures.device
    chance = random_samples(torch.rand, (4, batch), rng, axis=1).to(device) * 2 - 1
    angle = torch.deg2rad(chance[0] * config.rotate)
    zoom = 1 - (chance[1] + 1) / 2 * (1 - config.zoom_out)
    mirror = torch.where(chance[2] < 0, -1.0, 1.0) if config.flip else torch.ones_like(zoom)
    shift = (random_samples(torch.rand, (2, batch), rng, axis=1).to(device) * 2 - 1) * config.shift * 2
    if pictures.shape[1] == 4:  # a thing that its picture crops stays at the edge
        moves = ~is_cropped(pictures)
        zoom, shift = torch.where(moves, zoom, 1.0), shift * moves
    row_x = torch.stack([angle.cos() * mirror, angle.sin() * mirror, shift[0]], dim=1)
    row_y = torch.stack([-angle.sin(), angle.cos(), shift[1]], dim=1)
    theta = torch.stack([row_x, row_y], dim=1) / zoom[:, None, None]  # [B,2,3]
    x = pictures.float() / 127.5 - 1
    if pictures.shape[1] == 3:
        return _tinted(_warped(x, theta, resolution, padding=1), config.tint, rng)  # white
    alpha = (x[:, 3:] + 1) / 2
    layers = _warped(torch.cat([(x[:, :3] + 1) * alpha, alpha], dim=1), theta, resolution)
    alpha = layers[:, 3:]
    x = layers[:, :3] / alpha.clamp(min=1e-3) - 1
    if colours is not None:
        x = recoloured((x + 1) / 2, alpha, colours) * 2 - 1
    x = _tinted(x, config.tint, rng)
    if backgrounds is None:
        return x * alpha + (1 - alpha)
    return x * alpha + _tinted(enlarged(backgrounds, resolution, rng), config.tint, rng) * (1 - alpha)


def _warped(x: Tensor, theta: Tensor, resolution: int, padding: float = 0) -> Tensor:
    """x [B,C,S,S] under the affine maps theta [B,2,3], surrounded by the value `padding` -> [B,C,R,R]."""
    grid = F.affine_grid(theta, [len(x), 1, 2 * resolution, 2 * resolution], align_corners=False)
    return F.avg_pool2d(padding + F.grid_sample(x - padding, grid, padding_mode="zeros", align_corners=False), 2)


def _tinted(x: Tensor, strength: float, rng: torch.Generator) -> Tensor:
    """Multiply the brightness of images [B,3,R,R] in -1..1, and that of each channel, by random factors."""
    if not strength:
        return x
    chance = (random_samples(torch.rand, (4, len(x)), rng, axis=1).to(x) * 2 - 1) * strength
    factors = (1 + chance[:1]) * (1 + chance[1:] / 4)  # [3,B]
    return ((x + 1) * factors.t()[:, :, None, None] - 1).clamp(-1, 1)


def enlarged(backgrounds: Tensor, resolution: int, rng: torch.Generator) -> Tensor:
    """A random part of each background, of 0.7 to 1 of its side, mirrored or not: [B,3,R,R] in -1..1."""
    chance = random_samples(torch.rand, (4, len(backgrounds)), rng, axis=1).to(backgrounds.device)
    side = 0.7 + 0.3 * chance[0]
    middle = (chance[1:3] * 2 - 1) * (1 - side)
    zero = torch.zeros_like(side)
    row_x = torch.stack([torch.where(chance[3] < 0.5, -side, side), zero, middle[0]], dim=1)
    row_y = torch.stack([zero, side, middle[1]], dim=1)
    return _warped(backgrounds.float() / 127.5 - 1, torch.stack([row_x, row_y], dim=1), resolution)


def placement_of(model: GanModel) -> PlacementConfig:
    """The placement of the pictures that `model` was trained on, by the metadata of its file; by default none."""
    options = json.loads(model.metadata.get("placement") or model.metadata.get("training") or "{}")
    if not options:
        return PlacementConfig(flip=False)
    return PlacementConfig(**{name: value for name, value in options.items() if name in PlacementConfig.model_fields})
