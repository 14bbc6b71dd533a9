"""Networks out of the files of other projects: what a file is, and its weights under this package's names."""

from __future__ import annotations

import argparse
from collections.abc import Callable, Mapping
from dataclasses import dataclass, field
from pathlib import Path

import numpy as np
from torch import Tensor

from .key_maps import (
    UnsupportedError,
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
    """What a foreign file holds. fields: of GanConfig; metadata: where it comes from and what was left out."""

    generator: Weights
    discriminator: Weights | None
    fields: dict[str, object]
    w_mean: Tensor | None = None
    metadata: dict[str, str] = field(default_factory=dict)


_KINDS = {
    "model": ("a StyleGAN2 model", "load it as a model"),
    "generator": ("a StyleGAN2 generator", "load it as a model"),
    "discriminator": ("a StyleGAN2 discriminator", "choose the generator that belongs to it (netG.pth to netD.pth)"),
    "customised": ("a customised model, which holds only what changed", "load its base model, then this file on top"),
    "photosketch": ("a PhotoSketch network, from photo to drawing", "load it as a sketcher"),
}


class WrongKindError(ValueError):
    """A file in good order that is something else than what was asked for. `kind` says what."""

    def __init__(self, kind: str, wanted: str):
        self.kind, remedy = _KINDS.get(kind, (kind, "choose another file"))
        super().__init__(f"this is {self.kind}, not {_KINDS[wanted][0].split(',')[0]}; {remedy}")


def read_networks(path: Path, tensors: Mapping[str, Tensor] | None = None) -> Networks:
    """The generator and, where there is one, the discriminator of a file; `tensors` if they have been read already."""
    limit = path.stat().st_size
    if tensors is not None:
        return _from_state_dict(tensors, path, limit)
    if container(path) == "nvidia":
        return _from_nvidia(load_nvidia(path), limit)
    found = load_torch(path)
    if isinstance(found, dict) and isinstance(found.get("g_ema", found.get("g")), dict):
        return _from_training(found, limit)
    return _from_state_dict(_state_dict(found), path, limit)


def read_photosketch(path: Path, tensors: Mapping[str, Tensor] | None = None) -> dict[str, Tensor]:
    """The state dict of a PhotoSketch network."""
    if tensors is None:
        if container(path) == "nvidia":
            raise WrongKindError("model", "photosketch")
        found = load_torch(path)
        if isinstance(found, dict) and ("g_ema" in found or "g" in found):
            raise WrongKindError("model", "photosketch")
        tensors = _state_dict(found)
    if (kind := state_dict_kind(tensors)) != "photosketch":
        raise WrongKindError(kind, "photosketch")
    return dict(_checked(tensors, path.stat().st_size))


def _state_dict(found: object) -> dict[str, Tensor]:
    if not isinstance(found, dict) or not found:
        raise WrongKindError(f"a {type(found).__name__} on its own", "model")
    kind = state_dict_kind(str(name) for name in found)
    if kind not in _KINDS:
        raise WrongKindError(kind, "model")
    if odd := [name for name, value in found.items() if not isinstance(value, Tensor)]:
        raise ValueError(f"{odd[0]} is no tensor; the file is damaged or of another kind")
    return found


def _checked(tensors: Mapping[str, Tensor | np.ndarray], limit: int) -> Mapping[str, Tensor | np.ndarray]:
    """Tensors may share memory in a file; refuse those that would become much larger than the file when copied."""
    amount = sum(value.nbytes for value in tensors.values())
    if amount > limit:
        raise ValueError(f"it claims {amount} bytes of weights in a file of {limit} bytes; it was refused")
    return tensors


def _from_state_dict(state: Mapping[str, Tensor], path: Path, limit: int) -> Networks:
    if (kind := state_dict_kind(state)) != "generator":
        raise WrongKindError(kind, "model")
    generator = rosinality_generator(_checked(state, limit))
    metadata = {"source": "state dict of GANSketching or rosinality"}
    beside = next((file for file in _discriminators_beside(path) if file.is_file()), None)
    if beside is None:
        return _join(generator, None, None, metadata)
    return _join(generator, lambda: _read_beside(beside), None, metadata | {"discriminator": beside.name})


def _read_beside(path: Path) -> Weights:
    try:
        state = _state_dict(load_torch(path))
        if (kind := state_dict_kind(state)) != "discriminator":
            raise WrongKindError(kind, "discriminator")
        return rosinality_discriminator(_checked(state, path.stat().st_size))
    except UnsupportedError:
        raise
    except ValueError as error:
        raise ValueError(f"its discriminator {path.name} can't be used: {error}") from error


def _discriminators_beside(path: Path) -> list[Path]:
    """Where the reference keeps the discriminator of photos: netG.pth, netD.pth; 75000_net_G.pth, ..._D_image.pth."""
    stem, suffix = path.stem, path.suffix
    if stem.endswith("netG"):
        return [path.with_name(stem[:-1] + "D" + suffix)]
    if stem.endswith("_net_G"):
        return [path.with_name(stem[:-1] + end + suffix) for end in ("D_image", "D")]
    return []


def _from_training(found: Mapping[str, object], limit: int) -> Networks:
    """rosinality's .pt, converted or of a training."""
    generator = rosinality_generator(_checked(_state_dict(found.get("g_ema", found.get("g"))), limit))
    arguments = found.get("args")
    if isinstance(arguments, argparse.Namespace) and hasattr(arguments, "lr_mlp"):
        generator.fields["mapping_lr_mul"] = arguments.lr_mlp
    discriminator, w_mean = found.get("d"), found.get("latent_avg")
    return _join(
        generator,
        (lambda: rosinality_discriminator(_checked(_state_dict(discriminator), limit))) if discriminator else None,
        w_mean if isinstance(w_mean, Tensor) else None,
        {"source": "rosinality's StyleGAN2"},
    )


def _from_nvidia(found: object, limit: int) -> Networks:
    if isinstance(found, tuple) and len(found) == 3 and all(isinstance(net, TensorFlowNetwork) for net in found):
        for net in found:
            _checked(net.arrays(), limit)
        generator = tensorflow_generator(found[2])
        metadata = {"source": "NVIDIA's StyleGAN2 for TensorFlow"}
        return _join(generator, lambda: tensorflow_discriminator(found[1]), generator.w_mean, metadata)
    networks = {"G_ema": found} if isinstance(found, Record) else found
    if not isinstance(networks, dict) or not isinstance(networks.get("G_ema"), Record):
        raise WrongKindError("a pickle of something other than NVIDIA's networks", "model")
    for net in (networks["G_ema"], networks.get("D")):
        if isinstance(net, Record):
            _checked(net.tensors(), limit)
    generator = nvidia_generator(networks["G_ema"])
    discriminator = networks.get("D")
    return _join(
        generator,
        (lambda: nvidia_discriminator(discriminator)) if isinstance(discriminator, Record) else None,
        generator.w_mean,
        {"source": "NVIDIA's StyleGAN2 for PyTorch"},
    )


def _join(
    generator: Weights,
    read_discriminator: Callable[[], Weights] | None,
    w_mean: Tensor | None,
    metadata: Mapping[str, str],
) -> Networks:
    """Generator and discriminator with one GanConfig. A discriminator that does not fit it is left out, with a note."""
    if read_discriminator is None:
        return Networks(generator, None, generator.fields, w_mean, dict(metadata))
    try:
        discriminator = read_discriminator()
        _compare_fields(generator.fields, discriminator.fields)
    except UnsupportedError as error:
        return Networks(generator, None, generator.fields, w_mean, {**metadata, "discriminator": f"left out: {error}"})
    return Networks(generator, discriminator, generator.fields | discriminator.fields, w_mean, dict(metadata))


def _compare_fields(generator: Mapping[str, object], discriminator: Mapping[str, object]) -> None:
    for name in sorted(generator.keys() & discriminator.keys()):
        if generator[name] != discriminator[name]:
            raise UnsupportedError(f"its {name} is {discriminator[name]}, the generator's {generator[name]}")
