"""Networks from the files of other projects: what a file holds, and its weights under this package's names."""

from __future__ import annotations

import argparse
from collections.abc import Callable, Mapping
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import numpy as np
from torch import Tensor

from .errors import UnsupportedError, WrongKindError
from .key_maps import (
    Weights,
    nvidia_discriminator,
    nvidia_generator,
    rosinality_discriminator,
    rosinality_generator,
    state_dict_kind,
    tensorflow_discriminator,
    tensorflow_generator,
)
from .safe_pickle import Record, TensorFlowNetwork, container, load_nvidia, load_torch


@dataclass
class Networks:
    """The networks in a file. metadata: where the file comes from, and what was left out."""

    generator: Weights
    discriminator: Weights | None
    metadata: dict[str, str]


def read_networks(path: Path, tensors: Mapping[str, Tensor] | None = None) -> Networks:
    """The generator and the discriminator, if there is one. tensors: the content, if it has been read already."""
    limit = path.stat().st_size
    if tensors is None and container(path) == "nvidia":
        return _from_nvidia(load_nvidia(path), limit)
    content = load_torch(path) if tensors is None else tensors
    kind = content_kind(content)
    if kind == "model":
        return _from_training(content, limit)
    if kind != "generator":
        raise WrongKindError(kind, "model")
    return _from_state_dict(content, path, limit)


def read_photosketch(path: Path, tensors: Mapping[str, Tensor] | None = None) -> dict[str, Tensor]:
    """The state dict of a PhotoSketch network. tensors: the content, if it has been read already."""
    if tensors is None and container(path) == "nvidia":
        raise WrongKindError("model", "photosketch")
    content = load_torch(path) if tensors is None else tensors
    return dict(_state_dict(content, "photosketch", path.stat().st_size))


def content_kind(content: Any) -> str:
    """What a PyTorch file holds: "model" for several state dicts, else as state_dict_kind says."""
    if not isinstance(content, dict) or not content:
        return f"a {type(content).__name__} on its own"
    if isinstance(content.get("g_ema", content.get("g")), dict):
        return "model"
    return state_dict_kind(str(name) for name in content)


def _state_dict(content: Any, kind: str, limit: int) -> Mapping[str, Tensor]:
    """`content`, if it is the state dict of the given kind of network; limit: bytes of the file."""
    actual = content_kind(content)
    if actual != kind:
        raise WrongKindError(actual, kind)
    for name, value in content.items():
        if not isinstance(value, Tensor):
            raise ValueError(f"{name} is no tensor; the file is damaged or of another kind")
    _check_size(content, limit)
    return content


def _check_size(tensors: Mapping[str, Tensor | np.ndarray], limit: int) -> None:
    """Tensors may share memory in a file; refuse those that would become much larger than the file when copied."""
    amount = sum(value.nbytes for value in tensors.values())
    if amount > limit:
        raise ValueError(f"it claims {amount} bytes of weights in a file of {limit} bytes; it was refused")


def _from_state_dict(content: Any, path: Path, limit: int) -> Networks:
    """GANSketching's netG.pth, with the discriminator in the file that belongs to it."""
    generator = rosinality_generator(_state_dict(content, "generator", limit))
    metadata = {"source": "state dict of GANSketching or rosinality"}
    beside = next((candidate for candidate in _discriminator_paths(path) if candidate.is_file()), None)
    if beside is None:
        return _join(generator, None, metadata)
    metadata["discriminator"] = beside.name
    return _join(generator, lambda: _read_discriminator(beside), metadata)


def _discriminator_paths(path: Path) -> list[Path]:
    """Where the reference keeps the discriminator of photos: netG.pth, netD.pth; 75000_net_G.pth, ..._D_image.pth."""
    stem, suffix = path.stem, path.suffix
    if stem.endswith("netG"):
        return [path.with_name(stem[:-1] + "D" + suffix)]
    if stem.endswith("_net_G"):
        return [path.with_name(stem[:-1] + end + suffix) for end in ("D_image", "D")]
    return []


def _read_discriminator(path: Path) -> Weights:
    try:
        return rosinality_discriminator(_state_dict(load_torch(path), "discriminator", path.stat().st_size))
    except UnsupportedError:
        raise
    except ValueError as error:
        raise ValueError(f"its discriminator {path.name} can't be used: {error}") from error


def _from_training(content: Mapping[str, Any], limit: int) -> Networks:
    """rosinality's .pt, converted or of a training."""
    generator = rosinality_generator(_state_dict(content.get("g_ema", content.get("g")), "generator", limit))
    arguments = content.get("args")
    if isinstance(arguments, argparse.Namespace) and hasattr(arguments, "lr_mlp"):
        generator.fields["mapping_lr_mul"] = arguments.lr_mlp
    if isinstance(content.get("latent_avg"), Tensor):
        generator.w_mean = content["latent_avg"]
    metadata = {"source": "rosinality's StyleGAN2"}
    discriminator = content.get("d")
    if not discriminator:
        return _join(generator, None, metadata)
    return _join(
        generator, lambda: rosinality_discriminator(_state_dict(discriminator, "discriminator", limit)), metadata
    )


def _from_nvidia(content: Any, limit: int) -> Networks:
    """The pickles of stylegan2 (TensorFlow), stylegan2-ada-pytorch and stylegan3."""
    if isinstance(content, tuple) and len(content) == 3 and all(isinstance(n, TensorFlowNetwork) for n in content):
        for network in content:
            _check_size(network.arrays(), limit)
        _, discriminator, average = content
        generator = tensorflow_generator(average)
        metadata = {"source": "NVIDIA's StyleGAN2 for TensorFlow"}
        return _join(generator, lambda: tensorflow_discriminator(discriminator), metadata)
    networks = {"G_ema": content} if isinstance(content, Record) else content
    if not isinstance(networks, dict) or not isinstance(networks.get("G_ema"), Record):
        raise WrongKindError("a pickle of something other than NVIDIA's networks", "model")
    _check_size(networks["G_ema"].tensors(), limit)
    generator = nvidia_generator(networks["G_ema"])
    metadata = {"source": "NVIDIA's StyleGAN2 for PyTorch"}
    discriminator = networks.get("D")
    if not isinstance(discriminator, Record):
        return _join(generator, None, metadata)
    _check_size(discriminator.tensors(), limit)
    return _join(generator, lambda: nvidia_discriminator(discriminator), metadata)


def _join(generator: Weights, read_discriminator: Callable[[], Weights] | None, metadata: dict[str, str]) -> Networks:
    """Both networks. A discriminator that does not fit the generator is left out, with a note in the metadata."""
    if read_discriminator is None:
        return Networks(generator, None, metadata)
    try:
        discriminator = read_discriminator()
        for name in sorted(generator.fields.keys() & discriminator.fields.keys()):
            value, expected = discriminator.fields[name], generator.fields[name]
            if value != expected:
                raise UnsupportedError(f"its {name} is {value}, the generator's {expected}")
    except UnsupportedError as error:
        return Networks(generator, None, {**metadata, "discriminator": f"left out: {error}"})
    return Networks(generator, discriminator, metadata)
