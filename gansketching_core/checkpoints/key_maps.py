"""The tensor names of rosinality's and NVIDIA's StyleGAN2, mapped to this package's.

Each function takes a network as it is stored in a file and returns Weights. Tensors without a rule keep their names,
which makes them unexpected when the network is built; shapes are compared then, too.
"""

import re
from collections.abc import Callable, Iterable, Mapping, Sequence
from dataclasses import dataclass, field
from typing import Any

import numpy as np
import torch
from einops import rearrange
from torch import Tensor

from .errors import UnsupportedError, WrongKindError
from .safe_pickle import Record


@dataclass
class Weights:
    """tensors: by this package's names; fields: of GanConfig; w_mean [w_dim], if the file has it."""

    tensors: dict[str, Tensor]
    fields: dict[str, Any] = field(default_factory=dict)
    w_mean: Tensor | None = None


Rule = tuple[str, str | Callable[[re.Match], str]]


def _rename(state: Mapping[str, Tensor], rules: Iterable[Rule]) -> dict[str, Tensor]:
    """`state` under new names, without the axes of length 1 that other implementations put around a value.

    rules: (pattern, new name); the first pattern that matches a whole name applies, and "" leaves the tensor out.
    """
    tensors = {}
    for name, value in state.items():
        ours = _new_name(name, rules)
        if ours in tensors:
            raise ValueError(f"several tensors are {ours}; the file is damaged or of another kind")
        if ours:
            tensors[ours] = _without_outer_axes(ours, value)
    return tensors


def _new_name(name: str, rules: Iterable[Rule]) -> str:
    for pattern, new_name in rules:
        if match := re.fullmatch(pattern, name):
            return new_name(match) if callable(new_name) else match.expand(new_name)
    return name


def _without_outer_axes(name: str, value: Tensor) -> Tensor:
    leaf = name.rsplit(".", 1)[-1]
    if leaf in ("bias", "w_shift"):
        return value.reshape(-1)
    axes = {"noise_strength": 0, "noise_const": 2, "const": 3}.get(leaf, 4)
    while value.ndim > axes and len(value) == 1:
        value = value[0]
    return value


def _shape(tensors: Mapping[str, Tensor], name: str, axes: int) -> tuple[int, ...]:
    """The shape of a tensor that determines a field of GanConfig."""
    if name not in tensors or tensors[name].ndim != axes:
        raise ValueError(f"it has no tensor {name} of {axes} axes; the file is damaged or of another kind")
    return tensors[name].shape


def _largest(pattern: str, names: Iterable[str]) -> int:
    """The largest number that the group of `pattern` matches at the start of a name; -1 without a match."""
    matches = [re.match(pattern, name) for name in names]
    return max((int(match[1]) for match in matches if match), default=-1)


def _generator_fields(tensors: Mapping[str, Tensor]) -> dict[str, Any]:
    """The fields of GanConfig that the shapes of a generator determine. tensors: under this package's names."""
    blocks = _largest(r"synthesis\.to_rgb\.(\d+)\.", tensors) + 1
    channels = tuple(_shape(tensors, f"synthesis.layers.{2 * k}.weight", 4)[0] for k in range(blocks))
    mapping_layers = _largest(r"mapping\.layers\.(\d+)\.", tensors) + 1
    w_dim = _shape(tensors, f"mapping.layers.{mapping_layers - 1}.weight", 2)[0]
    z_dim = _shape(tensors, "mapping.layers.0.weight", 2)[1]
    class_count = 0
    if "mapping.embed.weight" in tensors:
        class_count = _shape(tensors, "mapping.embed.weight", 2)[1]
        z_dim -= w_dim  # the first layer takes z and the embedded label
    sizes = {"z_dim": z_dim, "w_dim": w_dim, "mapping_layers": mapping_layers, "class_count": class_count}
    return {"resolution": 2 ** (blocks + 1), "channels": channels, **sizes}


def _discriminator_fields(tensors: Mapping[str, Tensor]) -> dict[str, Any]:
    """The fields of GanConfig that the shapes of a discriminator determine. tensors: under this package's names."""
    blocks = _largest(r"blocks\.(\d+)\.", tensors) + 1
    channels = [_shape(tensors, f"blocks.{k}.conv2.weight", 4)[0] for k in reversed(range(blocks))]
    channels.append(_shape(tensors, "from_rgb.weight", 4)[0])
    fields = {"resolution": 2 ** (blocks + 2), "channels": tuple(channels), "class_count": 0}
    if "mapping.embed.weight" in tensors:
        fields["cmap_dim"], fields["class_count"] = _shape(tensors, "mapping.embed.weight", 2)
        fields["discriminator_mapping_layers"] = _largest(r"mapping\.layers\.(\d+)\.", tensors) + 1
    return fields


def _check_filter(state: Mapping[str, Tensor], suffix: str, gain: float) -> None:
    """Raise UnsupportedError for a low-pass filter other than that of this package's layers."""
    taps = torch.tensor([1.0, 3.0, 3.0, 1.0])
    expected = torch.outer(taps, taps) * (gain / 64)
    for name in [name for name in state if name.endswith(suffix)]:
        value = state[name]
        if value.shape != (4, 4) or (value.cpu().float() - expected).abs().max() > 1e-3 * gain:
            raise UnsupportedError(f"{name} is another low-pass filter than StyleGAN2's [1, 3, 3, 1]")


def state_dict_kind(names: Iterable[str]) -> str:
    """What a state dict is of: "generator", "discriminator", "photosketch", "stylegan3", or words for people."""
    names = set(names)
    if "model.1.weight" in names and any(".conv_block." in name for name in names):
        return "photosketch"
    for pattern, kind in _KINDS.items():
        if any(re.search(pattern, name) for name in names):
            return kind
    return f"an unknown network ({len(names)} entries such as {', '.join(sorted(names)[:3])})"


_KINDS = {  # pattern of a tensor's name: kind of the network
    r"^(style\.1\.weight|to_rgb1\.bias|input\.input)$": "generator",
    r"^final_(linear|conv)\.0\.weight$": "discriminator",
    r"\blora_|\.lora|lora_(up|down|A|B)": "a LoRA for a diffusion model",
    r"^model\.diffusion_model\.|^first_stage_model\.": "a Stable Diffusion checkpoint",
    r"double_blocks\.|transformer_blocks\.|down_blocks\.|mid_block\.": "a diffusion model or a part of one",
    r"text_model\.|vision_model\.": "a text or image encoder",
    r"^synthesis\.b4\.const$": "the bare weights of an NVIDIA StyleGAN2 without its settings: use NVIDIA's .pkl file",
    r"^synthesis\.(L\d|input)": "stylegan3",
    r"^(g_optim|d_optim|optimizer)$": "the state of a training's optimisers",
    r"\.conv_block\.|^model\.\d+\.": "an image-to-image network other than PhotoSketch",
}


def photosketch_size(shapes: Mapping[str, Sequence[int]]) -> tuple[int, int]:
    """Width and number of residual blocks of a PhotoSketch network, from the shapes of its tensors."""
    blocks = {name.split(".")[1] for name in shapes if ".conv_block." in name}
    return shapes["model.1.weight"][0], len(blocks)


_ROSINALITY_LAYER: tuple[Rule, ...] = (
    (r"conv\.weight", "weight"),
    (r"conv\.modulation\.(weight|bias)", r"affine.\1"),
    (r"noise\.weight", "noise_strength"),
    (r"activate\.bias", "bias"),
)


def _rosinality_layer(match: re.Match) -> str:
    """conv1, convs.0, convs.1 ... are one sequence, and so are to_rgb1, to_rgbs.0, to_rgbs.1 ..."""
    kind = "to_rgb" if match["kind"] == "to_rgb" else "layers"
    number = int(match["number"]) + 1 if match["number"] else 0
    return f"synthesis.{kind}.{number}.{_new_name(match['leaf'], _ROSINALITY_LAYER)}"


_ROSINALITY_GENERATOR: tuple[Rule, ...] = (
    (r".*\.kernel", ""),
    (r"input\.input", "synthesis.const"),
    (r"style\.(\d+)\.(weight|bias)", lambda match: f"mapping.layers.{int(match[1]) - 1}.{match[2]}"),
    (r"style\.\d+\.w_shift", "mapping.w_shift"),
    (r"noises\.noise_(\d+)", r"synthesis.layers.\1.noise_const"),
    (r"(?P<kind>conv|to_rgb)(1|s\.(?P<number>\d+))\.(?P<leaf>.+)", _rosinality_layer),
)
_ROSINALITY_DISCRIMINATOR: tuple[Rule, ...] = (
    (r".*\.kernel", ""),
    (r"convs\.0\.[01]\.(weight|bias)", r"from_rgb.\1"),
    (r"convs\.(\d+)\.(conv[12])\.\d\.(weight|bias)", lambda match: f"blocks.{int(match[1]) - 1}.{match[2]}.{match[3]}"),
    (r"convs\.(\d+)\.skip\.1\.weight", lambda match: f"blocks.{int(match[1]) - 1}.skip"),
    (r"final_conv\.[01]\.(weight|bias)", r"final_conv.\1"),
    (r"final_linear\.0\.(weight|bias)", r"hidden.\1"),
    (r"final_linear\.1\.(weight|bias)", r"out.\1"),
)


def rosinality_generator(state: Mapping[str, Tensor]) -> Weights:
    """The state dict of a Generator of rosinality's or GANSketching's."""
    _check_filter(state, ".kernel", 4)
    tensors = _rename(state, _ROSINALITY_GENERATOR)
    fields = _generator_fields(tensors)
    tensors.setdefault("mapping.w_shift", torch.zeros(fields["w_dim"]))
    if not any(name.endswith("noise_const") for name in tensors):  # the earliest files: the same noise every time
        rng = torch.Generator().manual_seed(0)
        for k in range(2 * min(len(fields["channels"]), 9) - 1):
            size = 2 ** ((k + 5) // 2)
            tensors[f"synthesis.layers.{k}.noise_const"] = torch.randn(size, size, generator=rng)
    return Weights(tensors, fields)


def rosinality_discriminator(state: Mapping[str, Tensor]) -> Weights:
    """The state dict of a Discriminator of rosinality's or GANSketching's."""
    tensors = _rename(state, _ROSINALITY_DISCRIMINATOR)
    return Weights(tensors, _discriminator_fields(tensors))


def _block(size: str | int) -> int:
    """The number of the block for a resolution: 0 for 4 px, 1 for 8 px ..."""
    return int(size).bit_length() - 3


_NVIDIA_GENERATOR: tuple[Rule, ...] = (
    (r".*\.resample_filter|mapping\.w_avg", ""),
    (r"mapping\.fc(\d+)\.(.+)", r"mapping.layers.\1.\2"),
    (r"synthesis\.b4\.const", "synthesis.const"),
    (
        r"synthesis\.b(\d+)\.conv([01])\.(.+)",
        lambda match: f"synthesis.layers.{2 * _block(match[1]) - 1 + int(match[2])}.{match[3]}",
    ),
    (r"synthesis\.b(\d+)\.torgb\.(.+)", lambda match: f"synthesis.to_rgb.{_block(match[1])}.{match[2]}"),
)


def _nvidia_discriminator_rules(last: int) -> tuple[Rule, ...]:
    """last: the number of the block for the largest resolution, which is a discriminator's first."""

    def block(match: re.Match) -> str:
        return f"blocks.{last - _block(match[1])}"

    return (
        (r".*\.resample_filter", ""),
        (r"mapping\.fc(\d+)\.(.+)", r"mapping.layers.\1.\2"),
        (r"b4\.conv\.(.+)", r"final_conv.\1"),
        (r"b4\.fc\.(.+)", r"hidden.\1"),
        (r"b4\.out\.(.+)", r"out.\1"),
        (r"b\d+\.fromrgb\.(.+)", r"from_rgb.\1"),
        (r"b(\d+)\.conv([01])\.(.+)", lambda match: f"{block(match)}.conv{int(match[2]) + 1}.{match[3]}"),
        (r"b(\d+)\.skip\.weight", lambda match: f"{block(match)}.skip"),
    )


def nvidia_generator(network: Record) -> Weights:
    """A pickled Generator of stylegan2-ada-pytorch or of the StyleGAN2 in the stylegan3 repository."""
    state = network.tensors()
    if "synthesis.b4.const" not in state:
        if state_dict_kind(state) == "stylegan3":
            raise WrongKindError("stylegan3", "model")
        raise ValueError(f'this is a network of class "{network.class_name}", not a StyleGAN2 generator')
    resolution = _largest(r"synthesis\.b(\d+)\.", state)
    block = network.module(f"synthesis.b{resolution}")
    _require("architecture", block.state.get("architecture", "skip"), "skip")
    layer, first = block.module("conv1"), network.module("mapping.fc0")
    _require("noise", layer.state.get("use_noise", True), True)
    for module in (layer, first):
        _require("activation", module.state.get("activation", "lrelu"), "lrelu")
    return _nvidia_generator(state, layer.state.get("conv_clamp"), float(first.state["bias_gain"]))


def _require(what: str, value: object, wanted: object) -> None:
    if value != wanted:
        raise UnsupportedError(f"its {what} is {value!r}; StyleGAN2 networks with {wanted!r} only can be used")


def _nvidia_generator(state: Mapping[str, Tensor], clamp: float | None, lr_mul: float) -> Weights:
    _check_filter(state, ".resample_filter", 1)
    tensors = _rename(state, _NVIDIA_GENERATOR)
    fields = {**_generator_fields(tensors), "mapping_lr_mul": lr_mul, "conv_clamp": clamp}
    _require("number of colour channels", len(tensors["synthesis.to_rgb.0.bias"]), 3)
    tensors["mapping.w_shift"] = torch.zeros(fields["w_dim"])
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
    layer = block.module("conv0").state
    _require("activation", layer.get("activation", "lrelu"), "lrelu")
    fields = {"conv_clamp": layer.get("conv_clamp"), "stddev_group": statistics.state.get("group_size") or 4096}
    if first := network.module("mapping.fc0"):
        _require("learning rate multiplier", first.state.get("bias_gain"), 0.01)
    return _nvidia_discriminator(state, block.state.get("architecture", "resnet"), fields)


def _nvidia_discriminator(state: Mapping[str, Tensor], architecture: str, fields: Mapping[str, Any]) -> Weights:
    _require("architecture", architecture, "orig" if architecture == "orig" else "resnet")
    _check_filter(state, ".resample_filter", 1)
    resolution = _largest(r"b(\d+)\.", state)
    tensors = _rename(state, _nvidia_discriminator_rules(_block(resolution)))
    fields = {**fields, **_discriminator_fields(tensors), "residual_discriminator": architecture == "resnet"}
    if "cmap_dim" in fields:
        tensors["mapping.w_shift"] = torch.zeros(fields["cmap_dim"])
    return Weights(tensors, fields)


_TENSORFLOW: tuple[Rule, ...] = (  # paths of variables, and NVIDIA's PyTorch names
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


def _tensorflow(network: Record) -> tuple[dict[str, Tensor], dict[str, Any]]:
    """State under NVIDIA's PyTorch names, and static_kwargs, of a network of config-e or config-f."""
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
    return state, settings


def _tensorflow_tensor(name: str, array: np.ndarray) -> tuple[str, Tensor]:
    """TensorFlow keeps dense weights as [I, O] and convolutions as [kh, kw, I, O], those that upsample mirrored."""
    path, _, leaf = name.rpartition("/")
    if noise := re.fullmatch(r"synthesis/noise(\d+)", name):
        number = int(noise[1])
        name = f"synthesis.b{2 ** ((min(number, 99) + 5) // 2)}.conv{0 if number % 2 else 1}.noise_const"
    elif leaf in ("const", "dlatent_avg"):
        name = _new_name(name, _TENSORFLOW)
    else:
        name = f"{_new_name(path, _TENSORFLOW)}.{leaf.replace('mod_', 'affine.')}"
    if leaf == "weight" and path.endswith("/Conv0_up"):
        array = array[::-1, ::-1]
    if leaf in ("weight", "mod_weight"):
        array = rearrange(array, "h w i o -> o i h w" if array.ndim == 4 else "i o -> o i")
    if leaf == "mod_bias":
        array = array + 1
    return name, torch.from_numpy(np.array(array, np.float32))


def tensorflow_generator(network: Record) -> Weights:
    """G or Gs of NVIDIA's TensorFlow StyleGAN2 (config-e, config-f) and StyleGAN2-ADA."""
    state, settings = _tensorflow(network)
    if "mapping/LabelConcat.weight" in state:
        raise UnsupportedError("this is a class-conditional model of the first TensorFlow StyleGAN2; use another model")
    if "synthesis.b4.const" not in state:
        raise ValueError("this is not a StyleGAN2 generator (config-e or config-f)")
    _require("architecture", settings.get("architecture") or "skip", "skip")
    lr_mul = settings.get("mapping_lrmul")
    return _nvidia_generator(state, settings.get("conv_clamp"), 0.01 if lr_mul is None else lr_mul)


def tensorflow_discriminator(network: Record) -> Weights:
    """D of the same files; UnsupportedError for class-conditional ones."""
    state, settings = _tensorflow(network)
    _require("number of classes", settings.get("label_size") or 0, 0)
    fields = {"conv_clamp": settings.get("conv_clamp"), "stddev_group": settings.get("mbstd_group_size") or 4}
    return _nvidia_discriminator(state, settings.get("architecture") or "resnet", fields)
