"""Helpers for tensors by name, as files and state dicts hold them."""

from __future__ import annotations

from collections.abc import Iterable, Mapping

import torch
from torch import Tensor


def compare_names(expected: Iterable[str], actual: Iterable[str], what: str) -> None:
    """Raise ValueError unless both sets of tensor names are equal. what: the subject of the message."""
    expected, actual = set(expected), set(actual)
    for names, problem in ((expected - actual, "lacks tensors"), (actual - expected, "has unexpected tensors")):
        if names:
            examples = ", ".join(sorted(names)[:4]) + (", ..." if len(names) > 4 else "")
            raise ValueError(f"{what} {problem} ({len(names)}: {examples}); the file is damaged or of another kind")


def finite_copies(tensors: Mapping[str, Tensor], dtype: torch.dtype) -> dict[str, Tensor]:
    """Contiguous copies on the CPU, floating point ones as `dtype`. Raises ValueError for NaN and infinity."""
    copies = {}
    for name, tensor in tensors.items():
        target = dtype if tensor.is_floating_point() else tensor.dtype
        copies[name] = tensor.detach().to("cpu", target, copy=True).contiguous()
        if tensor.is_floating_point() and not copies[name].isfinite().all():
            raise ValueError(f"{name} holds NaN or values beyond {dtype}; save as float32, or repeat the training")
    return copies


def without_prefix(tensors: Mapping[str, Tensor], prefix: str) -> dict[str, Tensor]:
    """The tensors whose names begin with `prefix`, under the rest of their names."""
    return {name.removeprefix(prefix): value for name, value in tensors.items() if name.startswith(prefix)}
