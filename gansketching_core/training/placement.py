"""How training pictures are placed: flipped, turned, shrunk and moved at random."""

from __future__ import annotations

import json

import torch
import torch.nn.functional as F
from pydantic import BaseModel, ConfigDict, Field
from torch import Tensor

from ..networks.stylegan2 import GanModel


class PlacementConfig(BaseModel):
    """Random placement of training pictures."""

    model_config = ConfigDict(frozen=True, extra="forbid")

    flip: bool = Field(True, description="Mirror half of the pictures.")
    rotate: float = Field(0.0, ge=0, le=180, description="Turn pictures by up to this many degrees; white moves in.")
    zoom_out: float = Field(1.0, ge=0.25, le=1, description="Shrink pictures to as little as this; white moves in.")
    shift: float = Field(0.0, ge=0, le=0.5, description="Move pictures by up to this share of the side.")


def placed(pictures: Tensor, resolution: int, config: PlacementConfig, rng: torch.Generator) -> Tensor:
    """Place pictures at random.

    Args:
        pictures: uint8 [B,3,S,S].
        resolution: R, the side of the result in pixels. S of twice that keeps turned and shrunk pictures sharp.
        config: what may happen to them.
        rng: random stream, on the CPU.

    Returns:
        [B,3,R,R] in -1..1.
    """
    x = pictures.float() / 127.5 - 1
    batch, device = len(x), x.device
    chance = torch.rand(4, batch, generator=rng).to(device) * 2 - 1
    angle = torch.deg2rad(chance[0] * config.rotate)
    zoom = 1 - (chance[1] + 1) / 2 * (1 - config.zoom_out)
    mirror = torch.where(chance[2] < 0, -1.0, 1.0) if config.flip else torch.ones_like(zoom)
    shift = (torch.rand(2, batch, generator=rng).to(device) * 2 - 1) * config.shift * 2
    theta = torch.stack(
        [
            torch.stack([angle.cos() * mirror, angle.sin() * mirror, shift[0]], dim=1) / zoom[:, None],
            torch.stack([-angle.sin(), angle.cos(), shift[1]], dim=1) / zoom[:, None],
        ],
        dim=1,
    )  # [B,2,3]
    oversampled = 2 * resolution
    grid = F.affine_grid(theta, [batch, 3, oversampled, oversampled], align_corners=False)
    x = 1 + F.grid_sample(x - 1, grid, padding_mode="zeros", align_corners=False)  # white moves in
    return F.avg_pool2d(x, 2)


def placement_of(model: GanModel) -> PlacementConfig:
    """How the pictures that `model` was trained on were placed, as its file says; else not at all."""
    options = json.loads(model.metadata.get("placement") or model.metadata.get("training") or "{}")
    if not options:
        return PlacementConfig(flip=False)
    return PlacementConfig(**{name: value for name, value in options.items() if name in PlacementConfig.model_fields})
