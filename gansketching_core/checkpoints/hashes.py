"""The hash of a model's weights, which says what a customised file belongs to."""

import hashlib
from collections.abc import Mapping

import torch
from torch import Tensor

from ..networks.stylegan2 import GanModel


def weights_hash(model: GanModel) -> str:
    """SHA-256 (hex) of the generator's tensors as float32. The same for every file format."""
    return tensors_hash(model.generator.state_dict())


def tensors_hash(tensors: Mapping[str, Tensor]) -> str:
    """SHA-256 (hex) of tensors, ordered by name: each name, a zero byte, its values as little-endian float32."""
    digest = hashlib.sha256()
    for name in sorted(tensors):
        values = tensors[name].detach().to("cpu", torch.float32).contiguous().numpy()
        digest.update(name.encode() + b"\0")
        digest.update(values.astype("<f4", copy=False).reshape(-1).data)
    return digest.hexdigest()
