"""Loading model files of every supported format.

Read are this package's `.safetensors`, GANSketching's `netG.pth` and `netD.pth`, rosinality's `.pt`, and NVIDIA's
`.pkl` of PyTorch and TensorFlow. No code from a file is ever run, and memory is taken only for what a file really
holds: networks are built without storage, their shapes compared with the file's, and the file's tensors put in place.
"""

from __future__ import annotations

import copy
import json
import logging
from collections.abc import Callable, Iterator, Mapping
from contextlib import contextmanager
from pathlib import Path

import torch
from pydantic import ValidationError
from torch import Tensor, nn

from ..networks.photosketch import PhotoSketch
from ..networks.stylegan2 import Discriminator, GanConfig, GanModel, Generator
from .hashes import weights_hash
from .key_maps import Weights, compare_names, state_dict_kind
from .native import FORMAT, cast, check_own, other_metadata, part, read_safetensors
from .safe_pickle import container
from .third_party import Networks, WrongKindError, read_networks, read_photosketch

logger = logging.getLogger(__name__)


@contextmanager
def naming_file(path: Path) -> Iterator[None]:
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
    net.load_state_dict(cast({name: weights[name] for name in expected}, torch.float32), assign=True)
    return net.eval().requires_grad_(False)


def _w_mean(value: Tensor | None, generator: Generator) -> Tensor:
    if value is None:
        return generator.mean_w()
    if value.numel() != generator.config.w_dim:
        raise ValueError(f"the mean of w has {value.numel()} values instead of {generator.config.w_dim}")
    return cast({"w_mean": value.reshape(-1)}, torch.float32)["w_mean"]


def load_model(path: str | Path) -> GanModel:
    """A whole generator from any supported file: eval mode, float32, no gradients, on the CPU.

    base_hash becomes the hash of its weights. Raises ValueError, which says what the file is, for anything else.
    """
    path = existing(path)
    with naming_file(path):
        if container(path) != "safetensors":
            model = _assemble(read_networks(path), _name(path))
        else:
            tensors, metadata = read_safetensors(path)
            if metadata.get("format") == FORMAT:
                model = _own_model(tensors, metadata, path)
            else:
                model = _assemble(read_networks(path, tensors), _name(path))
    if note := model.metadata.get("discriminator", ""):
        logger.info("%s: discriminator %s", path.name, note)
    return model


def _own_model(tensors: dict[str, Tensor], metadata: dict[str, str], path: Path) -> GanModel:
    check_own(metadata, "model")
    generator, discriminator = part(tensors, "generator."), part(tensors, "discriminator.")
    if len(generator) + len(discriminator) + ("w_mean" in tensors) != len(tensors):
        raise ValueError("it holds tensors that belong to no network; the file is damaged or of another kind")
    networks = Networks(
        Weights(generator),
        Weights(discriminator) if discriminator else None,
        json.loads(metadata.get("config", "{}")),
        tensors.get("w_mean"),
        other_metadata(metadata),
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


def load_customised(path: str | Path, base: GanModel) -> GanModel:
    """A copy of `base`, which must be the model it was made from, with the changes that save_customised wrote."""
    path = existing(path)
    with naming_file(path):
        if container(path) != "safetensors":
            raise ValueError("customised models are .safetensors files; load this one as a model")
        tensors, metadata = read_safetensors(path)
        if metadata.get("format") != FORMAT:
            raise WrongKindError(state_dict_kind(tensors), "customised")
        check_own(metadata, "customised")
        name, trainable, wanted = (metadata.get(key, "") for key in ("name", "trainable", "base_hash"))
        # A model customised from the same weights will do as well, if its whole mapping network is replaced.
        if wanted != weights_hash(base) and not (trainable == "mapping" and wanted == base.base_hash):
            origin = metadata.get("base_name", "another model")
            raise ValueError(
                f'"{name}" was made from "{origin}" (weights {wanted[:12]}), not from "{base.name}" (weights '
                f"{weights_hash(base)[:12]}); load the model it was made from"
            )
        weights, changes = base.generator.state_dict(), part(tensors, "generator.")
        changing = [n for n in weights if n.startswith("mapping." if trainable == "mapping" else "mapping.w_shift")]
        compare_names(changing, changes, "the customised model")
        generator = _fill(lambda: Generator(base.config), weights | changes, "the customised model")
        w_mean = _w_mean(tensors.get("w_mean"), generator)
        discriminator = copy.deepcopy(base.discriminator)
        return GanModel(
            generator, discriminator, base.config, w_mean, name or path.stem, wanted, other_metadata(metadata)
        )


def load_photosketch(path: str | Path) -> PhotoSketch:
    """A photo-to-sketch network, ours or the authors' state dict; width and depth are read from the file."""
    path = existing(path)
    with naming_file(path):
        if container(path) != "safetensors":
            return _photosketch(read_photosketch(path))
        tensors, metadata = read_safetensors(path)
        if metadata.get("format") == FORMAT:
            check_own(metadata, "photosketch")
        return _photosketch(read_photosketch(path, tensors))


def _photosketch(tensors: dict[str, Tensor]) -> PhotoSketch:
    width = len(tensors["model.1.weight"])
    blocks = len({name.split(".")[1] for name in tensors if ".conv_block." in name})
    if not 1 <= width <= 1024 or blocks > 64:
        raise ValueError(f"a PhotoSketch network of width {width} with {blocks} blocks is not supported")
    for name in [name for name in tensors if name.endswith(".running_mean")]:
        tensors.setdefault(name.replace("running_mean", "num_batches_tracked"), torch.zeros((), dtype=torch.long))
    return _fill(lambda: PhotoSketch(width=width, blocks=blocks), tensors, "the PhotoSketch network")


def existing(path: str | Path) -> Path:
    path = Path(path)
    if not path.is_file():
        raise ValueError(f"{path} is a folder, not a model file" if path.is_dir() else f"{path} does not exist")
    return path
