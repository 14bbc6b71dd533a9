"""The tensor names of rosinality's and NVIDIA's StyleGAN2, mapped to this package's.

Each function takes a network as it is stored in a file and returns Weights: tensors under this package's names, and the
fields of GanConfig that the tensors and the network's attributes determine. Missing and unknown tensors are errors.
Shapes are compared later, when the network is built.
"""

from __future__ import annotations

import re
from collections.abc import Callable, Iterable, Mapping, Sequence
from dataclasses import dataclass, field

import numpy as np
import torch
from einops import rearrange
from torch import Tensor

from .errors import UnsupportedError
from .safe_pickle import Record
from .tensors import compare_names


@dataclass
class Weights:
    """tensors: by this package's names; fields: of GanConfig; w_mean [w_dim], if the file has it."""

    tensors: dict[str, Tensor]
    fields: dict[str, object] = field(default_factory=dict)
    w_mean: Tensor | None = None


def _rename(
    state: Mapping[str, Tensor], names: Mapping[str, str], what: str, ignored: Callable[[str], bool]
) -> dict[str, Tensor]:
    """`state` under our names, without the axes of length 1 that other implementations put around a value.

    Args:
        names: our names -> theirs.
        what: the subject of error messages.
        ignored: tells by a name whether the tensor is left out.
    """
    compare_names(names.values(), [name for name in state if not ignored(name)], what)
    return {ours: _without_outer_axes(ours, state[theirs]) for ours, theirs in names.items()}


def _without_outer_axes(name: str, value: Tensor) -> Tensor:
    leaf = name.rsplit(".", 1)[-1]
    if leaf in ("bias", "w_shift"):
        return value.reshape(-1)
    if leaf == "noise_strength" and value.numel() == 1:
        return value.reshape(())
    axes = {"const": 3, "noise_const": 2}.get(leaf, 4)
    while value.ndim > axes and len(value) == 1:
        value = value[0]
    return value


def _get(state: Mapping[str, Tensor], name: str, axes: int, what: str) -> Tensor:
    """A tensor with a number of axes, whose shape determines a field of GanConfig."""
    if name not in state:
        raise ValueError(f"{what} lacks the tensor {name}; the file is damaged or of another kind")
    if state[name].ndim != axes:
        raise ValueError(f"{what}: {name} has shape {tuple(state[name].shape)}; the file is damaged")
    return state[name]


def _largest(pattern: str, names: Iterable[str]) -> int:
    """The largest number that the group of `pattern` matches at the start of a name; -1 without a match."""
    names = list(names)
    matches = [re.match(pattern, name) for name in names]
    largest = max((int(match[1]) for match in matches if match), default=-1)
    if largest > max(len(names), 1024):
        raise ValueError(f"the file counts to {largest} with {len(names)} tensors; it is damaged")
    return largest


def _check_filter(state: Mapping[str, Tensor], suffix: str, gain: float) -> None:
    """Raise UnsupportedError for a low-pass filter other than that of this package's layers."""
    taps = torch.tensor([1.0, 3.0, 3.0, 1.0])
    expected = torch.outer(taps, taps) * (gain / 64)
    for name, value in state.items():
        if not name.endswith(suffix):
            continue
        if value.shape != (4, 4) or (value.cpu().float() - expected).abs().max() > 1e-3 * gain:
            raise UnsupportedError(f"{name} is another low-pass filter than StyleGAN2's [1, 3, 3, 1]")


# ----------------------------------------------------------------------------------- GANSketching and rosinality (.pt)


def state_dict_kind(names: Iterable[str]) -> str:
    """Which network a state dict is of: "generator", "discriminator", "photosketch", or words for people."""
    names = set(names)
    if names & {"style.1.weight", "to_rgb1.bias", "input.input"}:
        return "generator"
    if names & {"final_linear.0.weight", "final_conv.0.weight"}:
        return "discriminator"
    if "model.1.weight" in names and any(".conv_block." in name for name in names):
        return "photosketch"
    for pattern, kind in _OTHER_NETWORKS.items():
        if any(re.search(pattern, name) for name in names):
            return kind
    return f"an unknown network ({len(names)} entries such as {', '.join(sorted(names)[:3])})"


_OTHER_NETWORKS = {
    r"\blora_|\.lora|lora_(up|down|A|B)": "a LoRA for a diffusion model",
    r"^model\.diffusion_model\.|^first_stage_model\.": "a Stable Diffusion checkpoint",
    r"double_blocks\.|transformer_blocks\.|down_blocks\.|mid_block\.": "a diffusion model or a part of one",
    r"text_model\.|vision_model\.": "a text or image encoder",
    r"^synthesis\.b4\.const$": "the bare weights of an NVIDIA StyleGAN2 without its settings: use NVIDIA's .pkl file",
    r"^synthesis\.(L\d|input)": "a StyleGAN3 network",
    r"^(g_optim|d_optim|optimizer)$": "the state of a training's optimisers",
    r"\.conv_block\.|^model\.\d+\.": "an image-to-image network other than PhotoSketch",
}


def photosketch_size(shapes: Mapping[str, Sequence[int]]) -> tuple[int, int]:
    """Width and number of residual blocks of a PhotoSketch network, from the shapes of its tensors."""
    blocks = {name.split(".")[1] for name in shapes if ".conv_block." in name}
    return shapes["model.1.weight"][0], len(blocks)


def rosinality_generator(state: Mapping[str, Tensor]) -> Weights:
    """The state dict of a Generator of rosinality's or GANSketching's."""
    what = "the generator"
    blocks = _largest(r"to_rgbs\.(\d+)\.", state) + 2
    depth = _largest(r"style\.(\d+)\.(?:weight|bias)$", state)
    names = {"synthesis.const": "input.input"}
    for k in range(depth):
        names |= {f"mapping.layers.{k}.{leaf}": f"style.{k + 1}.{leaf}" for leaf in ("weight", "bias")}
    if f"style.{depth + 1}.w_shift" in state:
        names["mapping.w_shift"] = f"style.{depth + 1}.w_shift"
    for k in range(2 * blocks - 1):
        ours, theirs = f"synthesis.layers.{k}", f"convs.{k - 1}" if k else "conv1"
        names |= _rosinality_convolution(ours, theirs)
        names[f"{ours}.noise_strength"] = f"{theirs}.noise.weight"
        names[f"{ours}.bias"] = f"{theirs}.activate.bias"
        names[f"{ours}.noise_const"] = f"noises.noise_{k}"
    for k in range(blocks):
        ours, theirs = f"synthesis.to_rgb.{k}", f"to_rgbs.{k - 1}" if k else "to_rgb1"
        names |= _rosinality_convolution(ours, theirs)
        names[f"{ours}.bias"] = f"{theirs}.bias"
    _check_filter(state, ".kernel", 4)
    w_dim, z_dim = _get(state, "style.1.weight", 2, what).shape
    weights = [_get(state, f"convs.{2 * k}.conv.weight", 5, what) for k in range(blocks - 1)]
    channels = [_get(state, "conv1.conv.weight", 5, what).shape[1], *(weight.shape[1] for weight in weights)]
    if not any(name.startswith("noises.") for name in state):
        state = {**state, **_noises(blocks)}
    tensors = _rename(state, names, what, lambda name: name.endswith(".kernel"))
    tensors.setdefault("mapping.w_shift", torch.zeros(w_dim))
    fields = {"resolution": 2 ** (blocks + 1), "z_dim": z_dim, "w_dim": w_dim, "mapping_layers": depth}
    return Weights(tensors, {**fields, "channels": tuple(channels)})


def _rosinality_convolution(ours: str, theirs: str) -> dict[str, str]:
    return {
        f"{ours}.weight": f"{theirs}.conv.weight",
        f"{ours}.affine.weight": f"{theirs}.conv.modulation.weight",
        f"{ours}.affine.bias": f"{theirs}.conv.modulation.bias",
    }


def _noises(blocks: int) -> dict[str, Tensor]:
    """Constant noise for the earliest files, which have none; the same every time."""
    rng = torch.Generator().manual_seed(0)
    sizes = [2 ** ((k + 5) // 2) for k in range(2 * min(blocks, 9) - 1)]
    return {f"noises.noise_{k}": torch.randn(1, 1, size, size, generator=rng) for k, size in enumerate(sizes)}


def rosinality_discriminator(state: Mapping[str, Tensor]) -> Weights:
    """The state dict of a Discriminator of rosinality's or GANSketching's."""
    what = "the discriminator"
    blocks = _largest(r"convs\.(\d+)\.", state)
    names = {
        "from_rgb.weight": "convs.0.0.weight",
        "from_rgb.bias": "convs.0.1.bias",
        "final_conv.weight": "final_conv.0.weight",
        "final_conv.bias": "final_conv.1.bias",
        "hidden.weight": "final_linear.0.weight",
        "hidden.bias": "final_linear.0.bias",
        "out.weight": "final_linear.1.weight",
        "out.bias": "final_linear.1.bias",
    }
    for k in range(blocks):
        ours, theirs = f"blocks.{k}", f"convs.{k + 1}"
        names |= {
            f"{ours}.conv1.weight": f"{theirs}.conv1.0.weight",
            f"{ours}.conv1.bias": f"{theirs}.conv1.1.bias",
            f"{ours}.conv2.weight": f"{theirs}.conv2.1.weight",
            f"{ours}.conv2.bias": f"{theirs}.conv2.2.bias",
            f"{ours}.skip": f"{theirs}.skip.1.weight",
        }
    _check_filter(state, ".kernel", 1)
    weights = [_get(state, names[f"blocks.{k}.conv2.weight"], 4, what) for k in reversed(range(blocks))]
    channels = [weight.shape[0] for weight in weights] + [_get(state, "convs.0.0.weight", 4, what).shape[0]]
    tensors = _rename(state, names, what, lambda name: name.endswith(".kernel"))
    return Weights(tensors, {"resolution": 2 ** (blocks + 2), "channels": tuple(channels)})


# ------------------------------------------------------------------------------------------------- NVIDIA, PyTorch


def nvidia_generator(network: Record) -> Weights:
    """A pickled Generator of stylegan2-ada-pytorch or of the StyleGAN2 in the stylegan3 repository."""
    state = network.tensors()
    if "synthesis.b4.const" not in state:
        if any(re.match(r"synthesis\.(L\d|input\.)", name) for name in state):
            raise ValueError(
                "this is an alias-free StyleGAN3 network, which can't be used here; choose a StyleGAN2 model "
                '(the files called "stylegan2-...")'
            )
        raise ValueError(f'this is a network of class "{network.class_name}", not a StyleGAN2 generator')
    resolution = _largest(r"synthesis\.b(\d+)\.", state)
    block = network.module(f"synthesis.b{resolution}")
    _require("architecture", block.state.get("architecture", "skip"), "skip")
    layer, first = block.module("conv1"), network.module("mapping.fc0")
    _require("noise", layer.state.get("use_noise", True), True)
    for module in (layer, first):
        _require("activation", module.state.get("activation", "lrelu"), "lrelu")
    return _nvidia_generator(state, resolution, layer.state.get("conv_clamp"), float(first.state["bias_gain"]))


def _require(what: str, value: object, wanted: object) -> None:
    if value != wanted:
        raise UnsupportedError(f"its {what} is {value!r}; StyleGAN2 networks with {wanted!r} only can be used")


def _nvidia_generator(state: Mapping[str, Tensor], resolution: int, clamp: float | None, lr_mul: float) -> Weights:
    what = "the generator"
    sizes = [2**k for k in range(2, max(resolution, 4).bit_length())]
    depth = _largest(r"mapping\.fc(\d+)\.", state) + 1
    names = {"synthesis.const": "synthesis.b4.const"}
    classes = 0
    if "mapping.embed.weight" in state:
        names |= {f"mapping.embed.{leaf}": f"mapping.embed.{leaf}" for leaf in ("weight", "bias")}
        classes = _get(state, "mapping.embed.weight", 2, what).shape[1]
    for k in range(depth):
        names |= {f"mapping.layers.{k}.{leaf}": f"mapping.fc{k}.{leaf}" for leaf in ("weight", "bias")}
    affine = ("weight", "bias", "affine.weight", "affine.bias")
    for k in range(2 * len(sizes) - 1):
        theirs = f"synthesis.b{sizes[(k + 1) // 2]}.conv{1 - k % 2}"
        for leaf in (*affine, "noise_strength", "noise_const"):
            names[f"synthesis.layers.{k}.{leaf}"] = f"{theirs}.{leaf}"
    for k, size in enumerate(sizes):
        names |= {f"synthesis.to_rgb.{k}.{leaf}": f"synthesis.b{size}.torgb.{leaf}" for leaf in affine}
    _check_filter(state, ".resample_filter", 1)
    tensors = _rename(state, names, what, lambda name: name.endswith((".resample_filter", "mapping.w_avg")))
    w_dim = _get(state, f"mapping.fc{depth - 1}.weight", 2, what).shape[0]
    tensors["mapping.w_shift"] = torch.zeros(w_dim)
    _require("number of colour channels", len(tensors["synthesis.to_rgb.0.bias"]), 3)
    weights = [_get(tensors, f"synthesis.layers.{2 * k}.weight", 4, what) for k in range(len(sizes))]
    fields = {
        "resolution": resolution,
        "z_dim": _get(state, "mapping.fc0.weight", 2, what).shape[1] - (w_dim if classes else 0),
        "w_dim": w_dim,
        "mapping_layers": depth,
        "mapping_lr_mul": lr_mul,
        "channels": tuple(weight.shape[0] for weight in weights),
        "class_count": classes,
        "conv_clamp": clamp,
    }
    return Weights(tensors, fields, state.get("mapping.w_avg"))


def nvidia_discriminator(network: Record) -> Weights:
    """A pickled Discriminator of the same repositories. UnsupportedError for other architectures than ours."""
    state = network.tensors()
    resolution = _largest(r"b(\d+)\.", state)
    block, last = network.module(f"b{resolution}"), network.module("b4")
    if block is None or last is None:
        raise ValueError(f'"{network.class_name}" is no StyleGAN2 discriminator')
    statistics = last.module("mbstd")
    _require("number of batch statistics", statistics.state.get("num_channels") if statistics else 0, 1)
    architecture = block.state.get("architecture", "resnet")
    _require("architecture", architecture, "orig" if architecture == "orig" else "resnet")
    _require("activation", block.module("conv0").state.get("activation", "lrelu"), "lrelu")
    fields = {
        "conv_clamp": block.module("conv0").state.get("conv_clamp"),
        "stddev_group": statistics.state.get("group_size") or 4096,
    }
    if first := network.module("mapping.fc0"):
        _require("learning rate multiplier", first.state.get("bias_gain"), 0.01)
    return _nvidia_discriminator(state, resolution, architecture == "resnet", fields)


def _nvidia_discriminator(
    state: Mapping[str, Tensor], resolution: int, residual: bool, fields: Mapping[str, object]
) -> Weights:
    what = "the discriminator"
    sizes = [2**k for k in range(max(resolution, 4).bit_length() - 1, 2, -1)]
    names = {f"from_rgb.{leaf}": f"b{sizes[0]}.fromrgb.{leaf}" for leaf in ("weight", "bias")} if sizes else {}
    for k, size in enumerate(sizes):
        for ours, theirs in (("conv1", "conv0"), ("conv2", "conv1")):
            names |= {f"blocks.{k}.{ours}.{leaf}": f"b{size}.{theirs}.{leaf}" for leaf in ("weight", "bias")}
        if residual:
            names[f"blocks.{k}.skip"] = f"b{size}.skip.weight"
    for ours, theirs in (("final_conv", "conv"), ("hidden", "fc"), ("out", "out")):
        names |= {f"{ours}.{leaf}": f"b4.{theirs}.{leaf}" for leaf in ("weight", "bias")}
    fields = {**fields, "resolution": resolution, "residual_discriminator": residual, "class_count": 0}
    if "mapping.embed.weight" in state:
        depth = _largest(r"mapping\.fc(\d+)\.", state) + 1
        names |= {f"mapping.embed.{leaf}": f"mapping.embed.{leaf}" for leaf in ("weight", "bias")}
        for k in range(depth):
            names |= {f"mapping.layers.{k}.{leaf}": f"mapping.fc{k}.{leaf}" for leaf in ("weight", "bias")}
        cmap_dim, fields["class_count"] = _get(state, "mapping.embed.weight", 2, what).shape
        fields |= {"cmap_dim": cmap_dim, "discriminator_mapping_layers": depth}
    _check_filter(state, ".resample_filter", 1)
    tensors = _rename(state, names, what, lambda name: name.endswith(".resample_filter"))
    if "cmap_dim" in fields:
        tensors["mapping.w_shift"] = torch.zeros(fields["cmap_dim"])
    weights = [_get(tensors, f"blocks.{k}.conv2.weight", 4, what) for k in reversed(range(len(sizes)))]
    channels = [weight.shape[0] for weight in weights] + [_get(tensors, "from_rgb.weight", 4, what).shape[0]]
    return Weights(tensors, {**fields, "channels": tuple(channels)})


# ---------------------------------------------------------------------------------------------- NVIDIA, TensorFlow

_TENSORFLOW_NAMES = (  # theirs -> NVIDIA's PyTorch name; {r} stands for a resolution
    (r"dlatent_avg", "mapping.w_avg"),
    (r"mapping/LabelEmbed", "mapping.embed"),
    (r"mapping/Dense(\d+)", r"mapping.fc\1"),
    (r"synthesis/4x4/Const/const", "synthesis.b4.const"),
    (r"synthesis/(\d+)x\d+/Conv0_up", r"synthesis.b\1.conv0"),
    (r"synthesis/(\d+)x\d+/Conv1?", r"synthesis.b\1.conv1"),
    (r"synthesis/(\d+)x\d+/ToRGB", r"synthesis.b\1.torgb"),
    (r"4x4/Conv", "b4.conv"),
    (r"4x4/Dense0", "b4.fc"),
    (r"Output", "b4.out"),
    (r"(\d+)x\d+/FromRGB", r"b\1.fromrgb"),
    (r"(\d+)x\d+/Conv0", r"b\1.conv0"),
    (r"(\d+)x\d+/Conv1_down", r"b\1.conv1"),
    (r"(\d+)x\d+/Skip", r"b\1.skip"),
)
_TENSORFLOW_SETTINGS = {  # settings that change generator and discriminator alike, with this package's values
    "num_channels": 3,
    "nonlinearity": "lrelu",
    "mapping_nonlinearity": "lrelu",
    "resample_kernel": [1, 3, 3, 1],
    "use_noise": True,
    "normalize_latents": True,
    "mbstd_num_features": 1,
}


def _tensorflow(network: Record) -> tuple[dict[str, Tensor], dict, int]:
    """State under NVIDIA's PyTorch names, static_kwargs and resolution of a network of config-e or config-f."""
    if network.state.get("version", 0) < 4:
        raise ValueError("this is a StyleGAN (version 1) network or older; choose a StyleGAN2 model, config-e or -f")
    settings = dict(network.state.get("static_kwargs", {}))
    for name, wanted in _TENSORFLOW_SETTINGS.items():
        value = settings.get(name)
        if value is not None:
            _require(name, list(value) if isinstance(value, tuple) else value, wanted)
    arrays = network.arrays()
    if any(name.endswith("_lod0/weight") for name in arrays):
        raise UnsupportedError("this is a progressively grown network (config-a to -d); choose config-e or -f")
    state = dict(_tensorflow_tensor(name, array) for name, array in arrays.items() if name != "lod")
    return state, settings, _largest(r"(?:synthesis/)?(\d+)x\d+/", arrays)


def _tensorflow_tensor(name: str, array: np.ndarray) -> tuple[str, Tensor]:
    """TensorFlow keeps dense weights as [I, O] and convolutions as [kh, kw, I, O], those that upsample mirrored."""
    if noise := re.fullmatch(r"synthesis/noise(\d+)", name):
        number = int(noise[1])
        name = f"synthesis.b{2 ** ((min(number, 99) + 5) // 2)}.conv{0 if number % 2 else 1}.noise_const"
        return name, torch.from_numpy(np.array(array, np.float32))
    path, _, leaf = name.rpartition("/")
    if leaf in ("const", "dlatent_avg"):
        path, leaf = name, ""
    if leaf == "weight" and path.endswith("/Conv0_up"):
        array = array[::-1, ::-1]
    if leaf in ("weight", "mod_weight"):
        array = rearrange(array, "h w i o -> o i h w" if array.ndim == 4 else "i o -> o i")
    if leaf == "mod_bias":
        array = array + 1
    for pattern, replacement in _TENSORFLOW_NAMES:
        if re.fullmatch(pattern, path):
            leaf = leaf.replace("mod_", "affine.")
            name = re.sub(pattern, replacement, path) + (f".{leaf}" if leaf else "")
            break
    return name, torch.from_numpy(np.array(array, np.float32))


def tensorflow_generator(network: Record) -> Weights:
    """G or Gs of NVIDIA's TensorFlow StyleGAN2 (config-e, config-f) and StyleGAN2-ADA."""
    state, settings, resolution = _tensorflow(network)
    if "mapping/LabelConcat/weight" in state:
        raise UnsupportedError("this is a class-conditional model of the first TensorFlow StyleGAN2; use another model")
    if "synthesis.b4.const" not in state:
        raise ValueError("this is not a StyleGAN2 generator (config-e or config-f)")
    _require("architecture", settings.get("architecture") or "skip", "skip")
    lr_mul = settings.get("mapping_lrmul")
    return _nvidia_generator(state, resolution, settings.get("conv_clamp"), 0.01 if lr_mul is None else lr_mul)


def tensorflow_discriminator(network: Record) -> Weights:
    """D of the same files; UnsupportedError for class-conditional ones."""
    state, settings, resolution = _tensorflow(network)
    _require("number of classes", settings.get("label_size") or 0, 0)
    architecture = settings.get("architecture") or "resnet"
    _require("architecture", architecture, "orig" if architecture == "orig" else "resnet")
    fields = {"conv_clamp": settings.get("conv_clamp"), "stddev_group": settings.get("mbstd_group_size") or 4}
    return _nvidia_discriminator(state, resolution, architecture == "resnet", fields)
