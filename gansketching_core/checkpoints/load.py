"""Loading model files of every supported format.

The formats are this package's `.safetensors`, GANSketching's `netG.pth` and `netD.pth`, rosinality's `.pt`, and
NVIDIA's `.pkl` of PyTorch and TensorFlow. No code from a file is ever run, and no memory taken but for what it holds.
"""

import copy
import json
import logging
from collections.abc import Callable, Iterable, Mapping
from contextlib import suppress
from pathlib import Path
from typing import TypeVar

import torch
from torch import Tensor, nn

from ..networks.photosketch import PhotoSketch
from ..networks.stylegan2 import Details, Discriminator, GanConfig, GanModel, Generator
from .errors import WrongKindError, name_in_errors
from .hashes import weights_hash
from .key_maps import Weights, photosketch_size
from .native import finite_copies, user_metadata
from .summary import FileSummary, summarise
from .third_party import Networks, read_content, read_networks, state_dict_of

logger = logging.getLogger(__name__)

Network = TypeVar("Network", bound=nn.Module)


def load_model(path: str | Path) -> GanModel:
    """A whole generator from any supported file: eval mode, float32, no gradients, on the CPU.

    Its base_hash is the hash of its weights. Raises ValueError, which says what the file is, for anything else.
    """
    with name_in_errors(path) as path:
        kind, content, metadata = read_content(path)
        if metadata is None:
            model = _assemble(read_networks(kind, content, path))
        elif kind == "model":
            model = _native_model(content, metadata)
        else:
            raise WrongKindError(kind, "model")
    model.name = model.name or _name(path)
    if note := model.metadata.get("discriminator"):
        logger.info("%s: discriminator %s", path.name, note)
    return model


def load_customised(path: str | Path, base: GanModel) -> GanModel:
    """A copy of `base`, on its device, with the changes that save_customised wrote.

    Raises ValueError unless `base` is the model that the customised one was made from.
    """
    with name_in_errors(path) as path:
        kind, content, metadata = read_content(path)
        if metadata is None or kind != "customised":
            raise WrongKindError(kind, "customised")
        _check_base(metadata, base)
        weights = base.generator.state_dict()
        changes = _without_prefix(content, "generator.")
        prefix = "mapping." if metadata.get("trainable") == "mapping" else "mapping.w_shift"
        _compare_names([name for name in weights if name.startswith(prefix)], changes, "the customised model")
        generator = _fill(lambda: Generator(base.config), weights | changes, "the customised model")
        w_mean = _w_mean(content.get("w_mean"), generator)
        details = _details(metadata.get("shape_layers"), base)
    device = base.w_mean.device
    return GanModel(
        generator.to(device),
        base.discriminator and copy.deepcopy(base.discriminator).to(device),
        base.config,
        w_mean.to(device),
        metadata.get("name") or path.stem,
        metadata["base_hash"],
        user_metadata(metadata),
        details,
    )


def _details(shape_layers: str | None, base: GanModel) -> Details | None:
    """What a customised model keeps of `base`, by the number of layers that follow the sketches (None: all)."""
    if shape_layers is None:
        return None
    count = base.config.style_count
    if not shape_layers.isdecimal() or not 1 <= int(shape_layers) < count:
        raise ValueError(f'shape_layers is "{shape_layers}", expected 1 to {count - 1}; the file is damaged')
    return Details(int(shape_layers), base.generator.mapping, base.w_mean).to(base.w_mean.device)


def load_base(customised: FileSummary, candidates: Iterable[Path]) -> GanModel | None:
    """The model that a customised one was made from, if it is in one of the files `candidates`.

    Files that do not note their hash are tried last, because they have to be loaded, and the base's namesakes first.
    """
    without_hash = []
    for path in sorted(candidates, key=lambda path: path.stem != customised.base_name):
        summary = summarise(path) if path.suffix.lower() == ".safetensors" else FileSummary("model")
        if summary.kind == "model" and summary.hash == customised.base_hash:
            return load_model(path)
        if summary.kind == "model" and not summary.hash:
            without_hash.append(path)
    for path in without_hash:
        with suppress(ValueError):  # not a model after all
            model = load_model(path)
            if model.base_hash == customised.base_hash:
                return model
    return None


def load_photosketch(path: str | Path) -> PhotoSketch:
    """A photo-to-sketch network, ours or the authors' state dict; width and depth are read from the file."""
    with name_in_errors(path) as path:
        kind, content, _ = read_content(path)
        if kind != "photosketch":
            raise WrongKindError(kind, "photosketch")
        tensors = dict(state_dict_of("photosketch", content, path))
        width, blocks = photosketch_size({name: tensor.shape for name, tensor in tensors.items()})
        if not 1 <= width <= 1024 or blocks > 64:
            raise ValueError(f"a PhotoSketch network of width {width} with {blocks} blocks is not supported")
        for name in [name for name in tensors if name.endswith(".running_mean")]:
            tensors.setdefault(name.replace("running_mean", "num_batches_tracked"), torch.tensor(0))
        return _fill(lambda: PhotoSketch(width=width, blocks=blocks), tensors, "the PhotoSketch network")


def _native_model(tensors: dict[str, Tensor], metadata: dict[str, str]) -> GanModel:
    generator = _without_prefix(tensors, "generator.")
    discriminator = _without_prefix(tensors, "discriminator.")
    if len(generator) + len(discriminator) + ("w_mean" in tensors) != len(tensors):
        raise ValueError("it holds tensors that belong to no network; the file is damaged or of another kind")
    networks = Networks(
        Weights(generator, json.loads(metadata.get("config", "{}")), tensors.get("w_mean")),
        Weights(discriminator) if discriminator else None,
        user_metadata(metadata),
    )
    model = _assemble(networks, metadata.get("name", ""))
    if metadata.get("weights_hash", model.base_hash) != model.base_hash:
        raise ValueError("the weights do not have the checksum noted in the file; it is damaged, download it again")
    return model


def _name(path: Path) -> str:
    """A name for people. Files whose name says nothing, such as netG.pth, are called after their folder."""
    generic = path.stem.lower() in ("netg", "g", "g_ema", "model") or path.stem.endswith("_net_G")
    return path.absolute().parent.name if generic else path.stem


def _assemble(networks: Networks, name: str = "") -> GanModel:
    fields = networks.generator.fields | (networks.discriminator.fields if networks.discriminator else {})
    config = GanConfig.model_validate(fields)
    generator = _fill(lambda: Generator(config), networks.generator.tensors, "the generator")
    discriminator = None
    if networks.discriminator is not None:
        what = f"the discriminator {networks.metadata.get('discriminator', '')}".strip()  # it may have its own file
        discriminator = _fill(lambda: Discriminator(config), networks.discriminator.tensors, what)
    w_mean = _w_mean(networks.generator.w_mean, generator)
    model = GanModel(generator, discriminator, config, w_mean, name, metadata=networks.metadata)
    model.base_hash = weights_hash(model)
    return model


def _check_base(metadata: Mapping[str, str], base: GanModel) -> None:
    """Raise ValueError unless a customised file with this metadata can be applied to `base`."""
    wanted, actual = metadata.get("base_hash", ""), weights_hash(base)
    # Another model customised from the same weights serves as well if its whole mapping network is replaced.
    if wanted == actual or (metadata.get("trainable") == "mapping" and wanted == base.base_hash):
        return
    raise ValueError(
        f'"{metadata.get("name", "")}" was made from "{metadata.get("base_name", "another model")}" (weights '
        f'{wanted[:12]}), not from "{base.name}" (weights {actual[:12]}); load the model it was made from'
    )


def _fill(build: Callable[[], Network], weights: Mapping[str, Tensor], what: str) -> Network:
    """The network that `build` makes, with `weights`, which must match it exactly: eval mode, float32, frozen.

    It is built without storage, so that a file whose shapes do not fit costs no memory.
    """
    with torch.device("meta"):
        net = build()
    expected = net.state_dict()
    _compare_names(expected, weights, what)
    for name, value in expected.items():
        if value.shape != weights[name].shape:
            shapes = f"shape {tuple(weights[name].shape)} where {tuple(value.shape)} is expected"
            raise ValueError(f"{what}: {name} has {shapes}; the file is damaged or of another architecture")
        if value.is_floating_point() and not weights[name].is_floating_point():
            raise ValueError(f"{what}: {name} holds {weights[name].dtype} instead of floating point numbers")
    net.load_state_dict(finite_copies(weights, torch.float32), assign=True)
    return net.eval().requires_grad_(False)


def _compare_names(expected: Iterable[str], actual: Iterable[str], what: str) -> None:
    """Raise ValueError unless both sets of tensor names are equal. what: the subject of the message."""
    expected, actual = set(expected), set(actual)
    for names, problem in ((expected - actual, "lacks tensors"), (actual - expected, "has unexpected tensors")):
        if names:
            examples = ", ".join(sorted(names)[:4]) + (", ..." if len(names) > 4 else "")
            raise ValueError(f"{what} {problem} ({len(names)}: {examples}); the file is damaged or of another kind")


def _without_prefix(tensors: Mapping[str, Tensor], prefix: str) -> dict[str, Tensor]:
    """The tensors whose names begin with `prefix`, under the rest of their names."""
    return {name.removeprefix(prefix): value for name, value in tensors.items() if name.startswith(prefix)}


def _w_mean(value: Tensor | None, generator: Generator) -> Tensor:
    """w_mean [w_dim]: the value in the file, else estimated from samples."""
    if value is None:
        return generator.mean_w()
    if value.numel() != generator.config.w_dim:
        raise ValueError(f"the mean of w has {value.numel()} values instead of {generator.config.w_dim}")
    return finite_copies({"w_mean": value.reshape(-1)}, torch.float32)["w_mean"]
