"""The hash of a model's weights, which says what a customised file belongs to."""

from __future__ import annotations

import hashlib
from collections.abc import Mapping

import torch
from torch import Tensor

from ..networks.stylegan2 import GanModel


def tensors_hash(weights: Mapping[str, Tensor]) -> str:
    digest = hashlib.sha256()
    for name in sorted(weights):
        values = weights[name].detach().to("cpu", torch.float32).contiguous().numpy()
        digest.update(name.encode() + b"\0")
        digest.update(values.astype("<f4", copy=False).reshape(-1))
    return digest.hexdigest()


def weights_hash(model: GanModel) -> str:
    """SHA-256 (hex) of the generator's tensors as float32, names sorted. The same for every file format."""
    return tensors_hash(model.generator.state_dict())
