"""Mixed precision: where it pays, and how to leave it for a few operators."""

from __future__ import annotations

import torch
from torch import Tensor


def full_precision(x: Tensor) -> torch.autocast:
    """Context in which operators keep the dtype of their inputs, also inside mixed precision."""
    return torch.autocast(x.device.type, enabled=False)


def has_fast_bfloat16(device: torch.device) -> bool:
    if device.type == "cuda":
        return torch.cuda.is_bf16_supported(including_emulation=False)
    supported = getattr(torch.cpu, "_is_amx_tile_supported", lambda: False)
    return device.type == "cpu" and supported()
