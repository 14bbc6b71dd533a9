"""Random draws that depend on nothing but a seed and a position: what makes resuming exact."""

from __future__ import annotations

import hashlib

import torch


def generator(seed: int, *position: int) -> torch.Generator:
    """A torch.Generator on the CPU for one place in a run, e.g. generator(seed, step, phase)."""
    digest = hashlib.sha256(repr((int(seed), *map(int, position))).encode()).digest()
    return torch.Generator().manual_seed(int.from_bytes(digest[:8], "little", signed=True))
