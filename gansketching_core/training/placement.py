"""Placing training pictures at random: mirrored, rotated, shrunk and shifted."""

from __future__ import annotations

import json

import torch
import torch.nn.functional as F
from torch import Tensor

from ..networks.stylegan2 import GanModel
from ..options import Options, option


class PlacementConfig(Options):
    """Random placement of training pictures."""

    flip: bool = option(True, "Mirror half of the pictures.")
    rotate: float = option(0.0, "Rotate pictures by up to this many degrees, on white.", ge=0, le=180)
    zoom_out: float = option(1.0, "Shrink pictures to as little as this share of their size, on white.", ge=0.25, le=1)
    shift: float = option(0.0, "Shift pictures by up to this share of the side.", ge=0, le=0.5)


def placed(pictures: Tensor, resolution: int, config: PlacementConfig, rng: torch.Generator) -> Tensor:
    """Place pictures, uint8 [B,3,S,S], at random -> [B,3,R,R] in -1..1, R the resolution. `rng` is on the CPU.

    S of twice the resolution keeps rotated and shrunk pictures sharp.
    """
    x = pictures.float() / 127.5 - 1
    batch, device = len(x), x.device
    chance = torch.rand(4, batch, generator=rng).to(device) * 2 - 1
    angle = torch.deg2rad(chance[0] * config.rotate)
    zoom = 1 - (chance[1] + 1) / 2 * (1 - config.zoom_out)
    mirror = torch.where(chance[2] < 0, -1.0, 1.0) if config.flip else torch.ones_like(zoom)
    shift = (torch.rand(2, batch, generator=rng).to(device) * 2 - 1) * config.shift * 2
    row_x = torch.stack([angle.cos() * mirror, angle.sin() * mirror, shift[0]], dim=1)
    row_y = torch.stack([-angle.sin(), angle.cos(), shift[1]], dim=1)
    theta = torch.stack([row_x, row_y], dim=1) / zoom[:, None, None]  # [B,2,3]
    grid = F.affine_grid(theta, [batch, 3, 2 * resolution, 2 * resolution], align_corners=False)
    x = 1 + F.grid_sample(x - 1, grid, padding_mode="zeros", align_corners=False)  # padded with white
    return F.avg_pool2d(x, 2)


def placement_of(model: GanModel) -> PlacementConfig:
    """The placement of the pictures that `model` was trained on, by the metadata of its file; by default none."""
    options = json.loads(model.metadata.get("placement") or model.metadata.get("training") or "{}")
    if not options:
        return PlacementConfig(flip=False)
    return PlacementConfig(**{name: value for name, value in options.items() if name in PlacementConfig.model_fields})
