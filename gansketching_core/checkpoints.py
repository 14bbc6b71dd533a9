"""The only reader and writer of model files: recognise, convert, load, save, describe.

Read are this package's `.safetensors` (whole models, customised models, sketchers), GANSketching's `netG.pth` and
`netD.pth`, rosinality's `.pt`, and NVIDIA's `.pkl` of PyTorch and TensorFlow. Written are `.safetensors` only. No code
from a file is ever run, and memory is taken only for what a file really holds: networks are built without storage,
their shapes compared with the file's, and the file's tensors put in place.
"""

from __future__ import annotations

import copy
import hashlib
import json
import logging
import os
import uuid
from collections.abc import Callable, Iterator, Mapping
from contextlib import contextmanager
from pathlib import Path
from typing import Literal

import torch
from pydantic import ValidationError
from safetensors import SafetensorError, safe_open
from safetensors.torch import save as safetensors_bytes
from torch import Tensor, nn

from .foreign import Networks, WrongKindError, read_networks, read_photosketch
from .layouts import Weights, compare_names, state_dict_kind
from .photosketch import PhotoSketch
from .pickles import container
from .stylegan2 import Discriminator, GanConfig, GanModel, Generator

logger = logging.getLogger(__name__)

FORMAT, FORMAT_VERSION = "gansketching", "1"
_OWN_KEYS = {"format", "format_version", "kind", "config", "name", "weights_hash", "base_hash"}


# ----------------------------------------------------------------------------------------------------------- writing


def atomic_write(path: str | Path, write: Callable[[Path], None]) -> None:
    """Call `write` with a temporary path beside `path`, then rename: readers see the old file or the new one."""
    path = Path(path)
    path.parent.mkdir(parents=True, exist_ok=True)
    temporary = path.with_name(f".{path.name}.{uuid.uuid4().hex[:12]}.tmp")
    try:
        write(temporary)
        with temporary.open("rb+") as file:
            os.fsync(file.fileno())
        temporary.replace(path)
    finally:
        temporary.unlink(missing_ok=True)


def _hash(weights: Mapping[str, Tensor]) -> str:
    digest = hashlib.sha256()
    for name in sorted(weights):
        values = weights[name].detach().to("cpu", torch.float32).contiguous().numpy()
        digest.update(name.encode() + b"\0")
        digest.update(values.astype("<f4", copy=False).reshape(-1))
    return digest.hexdigest()


def weights_hash(model: GanModel) -> str:
    """SHA-256 (hex) of the generator's tensors as float32, names sorted. The same for every file format."""
    return _hash(model.generator.state_dict())


def _cast(tensors: Mapping[str, Tensor], dtype: torch.dtype) -> dict[str, Tensor]:
    """Contiguous copies on the CPU; floating point ones as dtype."""
    found = {}
    for name, tensor in tensors.items():
        kind = dtype if tensor.is_floating_point() else tensor.dtype
        found[name] = tensor.detach().to("cpu", kind, copy=True).contiguous()
        if tensor.is_floating_point() and not bool(found[name].isfinite().all()):
            raise ValueError(f"{name} holds NaN or values beyond {dtype}; save as float32, or repeat the training")
    return found


def _write(path: str | Path, kind: str, tensors: dict[str, Tensor], metadata: Mapping[str, str]) -> None:
    """A safetensors file whose bytes depend on its content alone (the library writes metadata in random order)."""
    metadata = {"format": FORMAT, "format_version": FORMAT_VERSION, "kind": kind, **metadata}
    data = safetensors_bytes(tensors, metadata=metadata)
    start = 8 + int.from_bytes(data[:8], "little")
    header = json.loads(data[8:start])
    header["__metadata__"] = dict(sorted(header["__metadata__"].items()))
    text = json.dumps(header, separators=(",", ":"), ensure_ascii=False).encode()
    text += b" " * (-len(text) % 8)

    def write(temporary: Path) -> None:
        with temporary.open("wb") as file:
            file.write(len(text).to_bytes(8, "little") + text)
            file.write(memoryview(data)[start:])

    atomic_write(path, write)


def _extra(*sources: Mapping[str, str]) -> dict[str, str]:
    """The caller's metadata, as strings; this format's own keys are refused."""
    merged = {str(k): str(v) for source in sources for k, v in source.items()}
    if taken := _OWN_KEYS & merged.keys():
        raise ValueError(f"metadata {sorted(taken)} are written by the format itself; use other names")
    return merged


def save_model(
    model: GanModel, path: str | Path, *, dtype: torch.dtype = torch.float32, metadata: Mapping[str, str] | None = None
) -> None:
    """Write generator, discriminator (where there is one) and w_mean as safetensors.

    dtype: torch.float16 halves the file, which is loaded as float32 again but is another model to customised files.
    metadata: strings kept with the model's own, such as a licence.
    """
    weights = _cast(model.generator.state_dict(), dtype)
    tensors = {f"generator.{name}": tensor for name, tensor in weights.items()}
    if model.discriminator is not None:
        found = _cast(model.discriminator.state_dict(), dtype)
        tensors |= {f"discriminator.{name}": tensor for name, tensor in found.items()}
    tensors |= _cast({"w_mean": model.w_mean}, torch.float32)
    own = {"config": model.config.model_dump_json(), "name": model.name, "weights_hash": _hash(weights)}
    if model.base_hash:
        own["base_hash"] = model.base_hash
    _write(path, "model", tensors, _extra(model.metadata, metadata or {}) | own)


def save_customised(
    model: GanModel,
    path: str | Path,
    *,
    moves: Literal["mapping", "w_shift"] = "mapping",
    settings: Mapping[str, object] | None = None,
) -> None:
    """Write what customising changed: the mapping network, or the shift of w alone, and w_mean.

    model.base_hash says which weights it belongs to. With moves="w_shift" the whole mapping network is written all the
    same if it differs from the base model's, so that the file always restores the model. settings: the training
    configuration, kept as JSON in the metadata.
    """
    if moves not in ("mapping", "w_shift"):
        raise ValueError(f'moves "{moves}" is unknown; use "mapping" or "w_shift"')
    if not model.base_hash:
        raise ValueError(f'"{model.name}" has no base_hash, so it is not known what it was made from; use save_model')
    weights = model.generator.state_dict()
    shift = "mapping.w_shift"
    if moves == "w_shift" and _hash(weights | {shift: torch.zeros_like(weights[shift])}) == model.base_hash:
        moved = {shift: weights[shift]}
    else:
        moves, moved = "mapping", {name: value for name, value in weights.items() if name.startswith("mapping.")}
    tensors = {f"generator.{name}": tensor for name, tensor in moved.items()} | {"w_mean": model.w_mean}
    own = {
        "config": model.config.model_dump_json(),
        "name": model.name,
        "base_hash": model.base_hash,
        "moves": moves,
        "settings": json.dumps(settings or {}, sort_keys=True, default=str),
    }
    _write(path, "customised", _cast(tensors, torch.float32), _extra(model.metadata) | own)


def save_photosketch(
    net: PhotoSketch,
    path: str | Path,
    *,
    dtype: torch.dtype = torch.float32,
    metadata: Mapping[str, str] | None = None,
) -> None:
    """Write a photo-to-sketch network as safetensors under its published names."""
    _write(path, "photosketch", _cast(net.state_dict(), dtype), _extra(metadata or {}))


# ----------------------------------------------------------------------------------------------------------- reading


@contextmanager
def _about(path: Path) -> Iterator[None]:
    """Errors about a file's content begin with its name."""
    try:
        yield
    except ValidationError as error:
        reasons = "; ".join(
            " ".join([*map(str, e["loc"]), e["msg"].removeprefix("Value error, ")]) for e in error.errors()
        )
        raise ValueError(f"{path.name}: networks of this shape are not supported: {reasons}") from None
    except ValueError as error:
        raise ValueError(f"{path.name}: {error}") from error
    except (ArithmeticError, AttributeError, LookupError, RuntimeError, TypeError) as error:
        raise ValueError(f"{path.name}: the file is damaged: {type(error).__name__}: {error}") from error


def _read_safetensors(path: Path) -> tuple[dict[str, Tensor], dict[str, str]]:
    """Tensors, which may be views of the file until they are copied, and metadata."""
    try:
        with safe_open(path, framework="pt", device="cpu") as file:
            return {name: file.get_tensor(name) for name in file.keys()}, file.metadata() or {}  # noqa: SIM118
    except SafetensorError as error:
        raise ValueError(f"the file is damaged or incomplete ({error}); download or save it again") from None


def _check_own(metadata: Mapping[str, str], wanted: str) -> None:
    """Is this file of ours, and of the wanted kind? Says what it is where it is not."""
    version, kind = metadata.get("format_version", ""), metadata.get("kind", "")
    if version != FORMAT_VERSION:
        raise ValueError(f'the file has format version "{version}"; this software reads "{FORMAT_VERSION}", update it')
    if kind != wanted:
        raise WrongKindError(kind, wanted)


def _fill(build: Callable[[], nn.Module], weights: Mapping[str, Tensor], what: str) -> nn.Module:
    """The network around `weights`, which must match it exactly: eval mode, float32, frozen.

    It is built without storage, so that a file whose shapes do not fit costs no memory.
    """
    with torch.device("meta"):
        net = build()
    expected = net.state_dict()
    compare_names(expected, weights, what)
    for name, value in expected.items():
        if value.shape != weights[name].shape:
            shapes = f"shape {tuple(weights[name].shape)} where {tuple(value.shape)} is expected"
            raise ValueError(f"{what}: {name} has {shapes}; the file is damaged or of another architecture")
        if value.is_floating_point() and not weights[name].is_floating_point():
            raise ValueError(f"{what}: {name} holds {weights[name].dtype} instead of floating point numbers")
    net.load_state_dict(_cast({name: weights[name] for name in expected}, torch.float32), assign=True)
    return net.eval().requires_grad_(False)


def _part(tensors: Mapping[str, Tensor], prefix: str) -> dict[str, Tensor]:
    return {name.removeprefix(prefix): value for name, value in tensors.items() if name.startswith(prefix)}


def _w_mean(value: Tensor | None, generator: Generator) -> Tensor:
    if value is None:
        return generator.mean_w()
    if value.numel() != generator.config.w_dim:
        raise ValueError(f"the mean of w has {value.numel()} values instead of {generator.config.w_dim}")
    return _cast({"w_mean": value.reshape(-1)}, torch.float32)["w_mean"]


def load_model(path: str | Path) -> GanModel:
    """A whole generator from any supported file: eval mode, float32, no gradients, on the CPU.

    base_hash becomes the hash of its weights. Raises ValueError, which says what the file is, for anything else.
    """
    path = _existing(path)
    with _about(path):
        if container(path) != "safetensors":
            model = _assemble(read_networks(path), _name(path))
        else:
            tensors, metadata = _read_safetensors(path)
            if metadata.get("format") == FORMAT:
                model = _own_model(tensors, metadata, path)
            else:
                model = _assemble(read_networks(path, tensors), _name(path))
    if note := model.metadata.get("discriminator", ""):
        logger.info("%s: discriminator %s", path.name, note)
    return model


def _own_model(tensors: dict[str, Tensor], metadata: dict[str, str], path: Path) -> GanModel:
    _check_own(metadata, "model")
    generator, discriminator = _part(tensors, "generator."), _part(tensors, "discriminator.")
    if len(generator) + len(discriminator) + ("w_mean" in tensors) != len(tensors):
        raise ValueError("it holds tensors that belong to no network; the file is damaged or of another kind")
    networks = Networks(
        Weights(generator),
        Weights(discriminator) if discriminator else None,
        json.loads(metadata.get("config", "{}")),
        tensors.get("w_mean"),
        _others(metadata),
    )
    model = _assemble(networks, metadata.get("name", _name(path)))
    if metadata.get("weights_hash", model.base_hash) != model.base_hash:
        raise ValueError("the weights do not have the checksum noted in the file; it is damaged, download it again")
    return model


def _name(path: Path) -> str:
    """A name for people; files of one name for all, such as netG.pth, are called after their folder."""
    usual = path.stem.lower() in ("netg", "g", "g_ema", "model") or path.stem.endswith("_net_G")
    return path.absolute().parent.name if usual else path.stem


def _assemble(networks: Networks, name: str) -> GanModel:
    config = GanConfig.model_validate(networks.fields)
    generator = _fill(lambda: Generator(config), networks.generator.tensors, "the generator")
    discriminator = None
    if networks.discriminator is not None:
        discriminator = _fill(lambda: Discriminator(config), networks.discriminator.tensors, "the discriminator")
    w_mean = _w_mean(networks.w_mean, generator)
    model = GanModel(generator, discriminator, config, w_mean, name, metadata=networks.metadata)
    model.base_hash = weights_hash(model)
    return model


def _others(metadata: Mapping[str, str]) -> dict[str, str]:
    return {name: value for name, value in metadata.items() if name not in _OWN_KEYS}


def load_customised(path: str | Path, base: GanModel) -> GanModel:
    """A copy of `base`, which must be the model it was made from, with the changes that save_customised wrote."""
    path = _existing(path)
    with _about(path):
        if container(path) != "safetensors":
            raise ValueError("customised models are .safetensors files; load this one as a model")
        tensors, metadata = _read_safetensors(path)
        if metadata.get("format") != FORMAT:
            raise WrongKindError(state_dict_kind(tensors), "customised")
        _check_own(metadata, "customised")
        name, moves, wanted = (metadata.get(key, "") for key in ("name", "moves", "base_hash"))
        # A model customised from the same weights will do as well, if its whole mapping network is replaced.
        if wanted != weights_hash(base) and not (moves == "mapping" and wanted == base.base_hash):
            origin = metadata.get("base_name", "another model")
            raise ValueError(
                f'"{name}" was made from "{origin}" (weights {wanted[:12]}), not from "{base.name}" (weights '
                f"{weights_hash(base)[:12]}); load the model it was made from"
            )
        weights, changes = base.generator.state_dict(), _part(tensors, "generator.")
        changing = [n for n in weights if n.startswith("mapping." if moves == "mapping" else "mapping.w_shift")]
        compare_names(changing, changes, "the customised model")
        generator = _fill(lambda: Generator(base.config), weights | changes, "the customised model")
        w_mean = _w_mean(tensors.get("w_mean"), generator)
        discriminator = copy.deepcopy(base.discriminator)
        return GanModel(generator, discriminator, base.config, w_mean, name or path.stem, wanted, _others(metadata))


def load_photosketch(path: str | Path) -> PhotoSketch:
    """A photo-to-sketch network, ours or the authors' state dict; width and depth are read from the file."""
    path = _existing(path)
    with _about(path):
        if container(path) != "safetensors":
            return _photosketch(read_photosketch(path))
        tensors, metadata = _read_safetensors(path)
        if metadata.get("format") == FORMAT:
            _check_own(metadata, "photosketch")
        return _photosketch(read_photosketch(path, tensors))


def _photosketch(tensors: dict[str, Tensor]) -> PhotoSketch:
    width = len(tensors["model.1.weight"])
    blocks = len({name.split(".")[1] for name in tensors if ".conv_block." in name})
    if not 1 <= width <= 1024 or blocks > 64:
        raise ValueError(f"a PhotoSketch network of width {width} with {blocks} blocks is not supported")
    for name in [name for name in tensors if name.endswith(".running_mean")]:
        tensors.setdefault(name.replace("running_mean", "num_batches_tracked"), torch.zeros((), dtype=torch.long))
    return _fill(lambda: PhotoSketch(width=width, blocks=blocks), tensors, "the PhotoSketch network")


def _existing(path: str | Path) -> Path:
    path = Path(path)
    if not path.is_file():
        raise ValueError(f"{path} is a folder, not a model file" if path.is_dir() else f"{path} does not exist")
    return path


# -------------------------------------------------------------------------------------------------------- describing


def describe(path: str | Path) -> dict[str, str]:
    """What a file is, for people. "kind" is "model", "customised model", "PhotoSketch network" or says what else it is.

    Models have their weights' "hash", customised ones the "base hash" they need; "problem" tells why a file can't be
    used. Only a path that leads to no file raises ValueError.
    """
    path = _existing(path)
    found = {"kind": "not a usable file", "file size": f"{path.stat().st_size / 1e6:.1f} MB"}
    try:
        return found | _facts(path)
    except ValueError as error:
        kind = {"kind": error.__cause__.kind} if isinstance(error.__cause__, WrongKindError) else {}
        return found | kind | {"problem": str(error)}


def _facts(path: Path) -> dict[str, str]:
    with _about(path):
        tensors, metadata = _read_safetensors(path) if container(path) == "safetensors" else ({}, {})
    kind = metadata.get("kind") if metadata.get("format") == FORMAT else ""
    if kind == "customised":
        with _about(path):
            _check_own(metadata, "customised")
            return _customised_facts(tensors, metadata)
    try:
        model = load_model(path)
    except ValueError as error:
        if not (isinstance(error.__cause__, WrongKindError) and "PhotoSketch" in error.__cause__.kind):
            raise
        net = load_photosketch(path)
        facts = {"kind": "PhotoSketch network", "width": str(net.width), "residual blocks": str(net.blocks)}
        return _others(metadata) | facts | {"parameters": _count(net.state_dict())}
    parameters = {"generator": model.generator, "discriminator": model.discriminator}
    return model.metadata | {
        "kind": "model",
        "name": model.name,
        **_config_facts(model.config),
        "parameters": ", ".join(f"{part} {_count(net.state_dict())}" for part, net in parameters.items() if net),
        "hash": model.base_hash,
    }


def _customised_facts(tensors: Mapping[str, Tensor], metadata: Mapping[str, str]) -> dict[str, str]:
    return _others(metadata) | {
        "kind": "customised model",
        "name": metadata.get("name", ""),
        "base": metadata.get("base_name", "unknown"),
        "base hash": metadata.get("base_hash", ""),
        **_config_facts(GanConfig.model_validate_json(metadata.get("config", "{}"))),
        "parameters": f"{_count(_part(tensors, 'generator.'))} changed",
    }


def _config_facts(config: GanConfig) -> dict[str, str]:
    return {
        "resolution": f"{config.resolution} px",
        "channels": ", ".join(map(str, config.channels)),
        "mapping network": f"{config.mapping_layers} layers, z {config.z_dim}, w {config.w_dim}",
        "classes": str(config.class_count or "none"),
    }


def _count(tensors: Mapping[str, Tensor]) -> str:
    return f"{sum(t.numel() for name, t in tensors.items() if not name.endswith('noise_const')):,}"
