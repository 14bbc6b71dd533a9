"""Networks from the files of other projects: what a file holds, and its weights under this package's names."""

import argparse
from collections.abc import Callable, Mapping
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import numpy as np
from torch import Tensor

from . import key_maps
from .errors import UnsupportedError, WrongKindError, name_in_errors
from .key_maps import Weights
from .native import native_kind, read_safetensors
from .safe_pickle import Record, TensorFlowNetwork, container, load_nvidia, load_torch


@dataclass
class Networks:
    """The networks in a file. metadata: where the file comes from, and what was left out."""

    generator: Weights
    discriminator: Weights | None
    metadata: dict[str, str]


def read_content(path: Path, *, only_header: bool = False) -> tuple[str, Any, dict[str, str] | None]:
    """The kind of a file, see content_kind and native_kind; what it holds; and the metadata of a file of this package.

    only_header: of .safetensors read the tensors' shapes, and take NVIDIA's pickles for models unread.
    """
    match container(path):
        case "safetensors":
            content, metadata = read_safetensors(path, only_header=only_header)
            if kind := native_kind(metadata):
                return kind, content, metadata
        case "torch":
            content = load_torch(path)
        case "nvidia":
            if only_header:
                return "model", None, None
            content = load_nvidia(path)
    return content_kind(content), content, None


def content_kind(content: Any) -> str:
    """What a file holds: "model" for several networks, else as state_dict_kind says."""
    if isinstance(content, tuple | Record):
        return "model"
    if not isinstance(content, dict) or not content:
        return f"a {type(content).__name__} on its own"
    if isinstance(content.get("g_ema", content.get("g", content.get("G_ema"))), dict | Record):
        return "model"
    return key_maps.state_dict_kind(str(name) for name in content)


def state_dict_of(kind: str, content: Any, path: Path) -> Mapping[str, Tensor]:
    """`content` of the file `path`, if it is the state dict of the given kind of network."""
    actual = content_kind(content)
    if actual != kind:
        raise WrongKindError(actual, kind)
    for name, value in content.items():
        if not isinstance(value, Tensor):
            raise ValueError(f"{name} is no tensor; the file is damaged or of another kind")
    _check_size(content, path)
    return content


def _check_size(tensors: Mapping[str, Tensor | np.ndarray], path: Path) -> None:
    """Tensors may share memory in a file; refuse those that would become much larger than the file when copied."""
    amount, limit = sum(value.nbytes for value in tensors.values()), path.stat().st_size
    if amount > limit:
        raise ValueError(f"it claims {amount} bytes of weights in a file of {limit} bytes; it was refused")


def read_networks(kind: str, content: Any, path: Path) -> Networks:
    """The generator and the discriminator, if there is one, in the content of a file of another project."""
    if container(path) == "nvidia":
        return _from_nvidia(content, path)
    if kind == "model":
        return _from_training(content, path)
    if kind != "generator":
        raise WrongKindError(kind, "model")
    generator = key_maps.rosinality_generator(state_dict_of("generator", content, path))
    metadata = {"source": "state dict of GANSketching or rosinality"}
    # The reference keeps the discriminator of photos beside it: netG.pth, netD.pth; 75000_net_G.pth, ..._D_image.pth.
    ends = ("D_image", "D") if path.stem.endswith(("netG", "_net_G")) else ()
    candidates = [path.with_stem(path.stem[:-1] + end) for end in ends]
    beside = next((candidate for candidate in candidates if candidate.is_file()), None)
    if beside is None:
        return Networks(generator, None, metadata)
    return _join(generator, lambda: _read_discriminator(beside), {**metadata, "discriminator": beside.name})


def _read_discriminator(path: Path) -> Weights:
    with name_in_errors(path):
        return key_maps.rosinality_discriminator(state_dict_of("discriminator", load_torch(path), path))


def _from_training(content: Mapping[str, Any], path: Path) -> Networks:
    """rosinality's .pt, converted or of a training."""
    generator = key_maps.rosinality_generator(state_dict_of("generator", content.get("g_ema", content.get("g")), path))
    arguments, discriminator = content.get("args"), content.get("d")
    if isinstance(arguments, argparse.Namespace) and hasattr(arguments, "lr_mlp"):
        generator.fields["mapping_lr_mul"] = arguments.lr_mlp
    if isinstance(content.get("latent_avg"), Tensor):
        generator.w_mean = content["latent_avg"]
    metadata = {"source": "rosinality's StyleGAN2"}
    if not discriminator:
        return Networks(generator, None, metadata)
    state = state_dict_of("discriminator", discriminator, path)
    return _join(generator, lambda: key_maps.rosinality_discriminator(state), metadata)


def _from_nvidia(content: Any, path: Path) -> Networks:
    """The pickles of stylegan2 (TensorFlow), stylegan2-ada-pytorch and stylegan3."""
    if isinstance(content, tuple) and len(content) == 3 and all(isinstance(n, TensorFlowNetwork) for n in content):
        for network in content:
            _check_size(network.arrays(), path)
        generator = key_maps.tensorflow_generator(content[2])  # the average of the generators in training
        metadata = {"source": "NVIDIA's StyleGAN2 for TensorFlow"}
        return _join(generator, lambda: key_maps.tensorflow_discriminator(content[1]), metadata)
    networks = {"G_ema": content} if isinstance(content, Record) else content
    if not isinstance(networks, dict) or not isinstance(networks.get("G_ema"), Record):
        raise WrongKindError("a pickle of something other than NVIDIA's networks", "model")
    _check_size(networks["G_ema"].tensors(), path)
    generator = key_maps.nvidia_generator(networks["G_ema"])
    metadata = {"source": "NVIDIA's StyleGAN2 for PyTorch"}
    discriminator = networks.get("D")
    if not isinstance(discriminator, Record):
        return Networks(generator, None, metadata)
    _check_size(discriminator.tensors(), path)
    return _join(generator, lambda: key_maps.nvidia_discriminator(discriminator), metadata)


def _join(generator: Weights, read_discriminator: Callable[[], Weights], metadata: dict[str, str]) -> Networks:
    """Both networks. A discriminator that does not fit the generator is left out, with a note in the metadata."""
    try:
        discriminator = read_discriminator()
        for name in sorted(generator.fields.keys() & discriminator.fields.keys()):
            value, expected = discriminator.fields[name], generator.fields[name]
            if value != expected:
                raise UnsupportedError(f"its {name} is {value}, the generator's {expected}")
    except UnsupportedError as error:
        return Networks(generator, None, {**metadata, "discriminator": f"left out: {error}"})
    return Networks(generator, discriminator, metadata)
