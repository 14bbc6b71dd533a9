"""Mixed precision: where it is faster, and how to leave it for a few operators."""

from pathlib import Path

import torch
from torch import Tensor

BFLOAT16_FEATURES = {"amx_bf16", "avx512_bf16"}  # extensions of the instruction set for which oneDNN has fast kernels
CPUINFO = Path("/proc/cpuinfo")


def full_precision(x: Tensor) -> torch.autocast:
    """Context in which operators keep the dtype of their inputs, also inside mixed precision."""
    return torch.autocast(x.device.type, enabled=False)


def has_fast_bfloat16(device: torch.device) -> bool:
    """Whether `device` has instructions that multiply bfloat16 numbers faster than float32."""
    if device.type == "cuda":
        return torch.cuda.is_bf16_supported(including_emulation=False)
    return device.type == "cpu" and not BFLOAT16_FEATURES.isdisjoint(_processor_features())


def _processor_features() -> list[str]:
    """Names of the extensions that the processor has, as Linux or a recent PyTorch reports them; [] if unknown."""
    if CPUINFO.is_file():
        return CPUINFO.read_text().split()
    if hasattr(torch.cpu, "get_capabilities"):
        return [name for name, supported in torch.cpu.get_capabilities().items() if supported is True]
    return []
