"""Models as files of rosinality's StyleGAN2 and of GANSketching, for the programs that are built on them.

Their code accepts fewer architectures than this package. What differs is rewritten so that the images stay the same:

- layers with fewer channels than theirs get further channels, whose weights are zero;
- another learning rate multiplier of the mapping network becomes a factor of its weights;
- rosinality's networks have no shift of w: it becomes a part of the biases of the modulations.

What can't be rewritten is an error, before anything is written. The files are zip archives as `torch.save` makes them:
their data.pkl only lists the names and shapes of tensors, and loads with `torch.load(..., weights_only=True)`. No
function of this package writes a pickle that runs other code when it is opened.
"""

import io
import math
from collections import OrderedDict
from collections.abc import Mapping
from pathlib import Path
from typing import Any

import torch
from torch import Tensor, nn

from ..files import atomic_write
from ..networks.resampling import TAPS
from ..networks.stylegan2 import GanConfig, GanModel
from .native import finite_copies

MAPPING_LR_MUL = 0.01  # lr_mlp, the default of their Generator
STDDEV_GROUP = 4  # of their Discriminator
EQUAL = 1e-4  # largest difference of images, or logits, that counts as none

State = OrderedDict[str, Tensor]


def export_rosinality(model: GanModel, path: str | Path, *, dtype: torch.dtype = torch.float32) -> str:
    """Write a .pt file as rosinality's convert_weight.py does: "g_ema", "latent_avg" and, if it can be, "d".

    Returns a sentence about how their code builds the networks and what was left out. ValueError for models that their
    code can't express: with classes, z and w of different lengths, more channels, clamps that change the images.
    """
    multiplier = _channel_multiplier(model)
    shift = model.generator.mapping.w_shift.detach().cpu()
    content: dict[str, object] = {
        "g_ema": _generator_state(model, multiplier, shift_in_biases=True),
        "latent_avg": finite_copies({"w_mean": model.w_mean.cpu() - shift}, torch.float32)["w_mean"],
    }
    problem = _discriminator_problem(model)
    if not problem:
        content["d"] = _discriminator_state(model, multiplier)
    _save(content, path, dtype)
    return _note(model, multiplier, problem)


def export_gansketching(model: GanModel, path: str | Path, *, dtype: torch.dtype = torch.float32) -> str:
    """Write netG.pth and, if it can be, netD.pth beside it, which GANSketching's train.py and generate.py load.

    Arguments, result and errors are those of `export_rosinality`. path: netG.pth, or a name that ends with netG.pth.
    """
    path = Path(path)
    if not path.name.endswith("netG.pth"):
        raise ValueError(f"{path}: call the file netG.pth; the discriminator, netD.pth, is written beside it")
    multiplier = _channel_multiplier(model)
    problem = _discriminator_problem(model)
    generator = _generator_state(model, multiplier, shift_in_biases=False)
    discriminator = None if problem else _discriminator_state(model, multiplier)
    _save(generator, path, dtype)
    if discriminator is not None:
        _save(discriminator, path.with_name(path.name.removesuffix("netG.pth") + "netD.pth"), dtype)
    return _note(model, multiplier, problem, w_shift=bool(model.generator.mapping.w_shift.any()))


def _note(model: GanModel, multiplier: int, problem: str, *, w_shift: bool = False) -> str:
    config = model.config
    sizes = f"{config.resolution}, {config.w_dim}, {config.mapping_layers}, channel_multiplier={multiplier}"
    note = f"Their code builds the generator as Generator({sizes}{', w_shift=True' if w_shift else ''})."
    return f"{note} The discriminator was left out: {problem}." if problem else note


# ---------------------------------------------------------------------------------------- what their code can express


def _widths(config: GanConfig, multiplier: int) -> list[int]:
    """The channels of their networks at 4, 8, ... pixels."""
    sizes = [2**k for k in range(2, 2 + config.block_count)]
    return [512 if size <= 32 else 256 * multiplier * 64 // size for size in sizes]


def _channel_multiplier(model: GanModel) -> int:
    """The smallest channel_multiplier with which their networks are wide enough. ValueError for other obstacles."""
    model.check_one_w()
    config = model.config
    if config.class_count:
        raise ValueError(
            f'"{model.name}" is class-conditional, and networks of this format have no classes; write it as .onnx or '
            ".safetensors"
        )
    if config.z_dim != config.w_dim:
        raise ValueError(
            f'"{model.name}" has z of {config.z_dim} and w of {config.w_dim} numbers, which are equal in this format; '
            "write it as .onnx or .safetensors"
        )
    for multiplier in range(1, 9):
        if all(ours <= theirs for ours, theirs in zip(config.channels, _widths(config, multiplier))):
            break
    else:
        raise ValueError(
            f'"{model.name}" has {config.channels} channels, and networks of this format at most '
            f"{tuple(_widths(config, 8))}; write it as .onnx or .safetensors"
        )
    difference = _effect_of_clamps(model, model.generator)
    if difference > EQUAL:
        raise ValueError(
            f'"{model.name}" limits activations to {config.conv_clamp}, which networks of this format do not: its '
            f"images would differ by {difference:.2g}; write it as .onnx or .safetensors"
        )
    return multiplier


def _discriminator_problem(model: GanModel) -> str:
    """Why the discriminator can't be written; "" if it can."""
    if model.discriminator is None:
        return "the model has none"
    if not model.config.residual_discriminator:
        return "theirs has skip branches, this one has none"
    if model.config.stddev_group != STDDEV_GROUP:
        return f"theirs compares {STDDEV_GROUP} images with each other, this one {model.config.stddev_group}"
    if _effect_of_clamps(model, model.discriminator) > EQUAL:
        return f"it limits activations to {model.config.conv_clamp}"
    return ""


@torch.no_grad()
def _effect_of_clamps(model: GanModel, network: nn.Module) -> float:
    """How much the largest of some images, or their logits, differ from those of the network without clamps."""
    config = model.config
    if config.conv_clamp is None:
        return 0.0
    unclamped: Any = type(network)(config.model_copy(update={"conv_clamp": None})).eval()
    unclamped.load_state_dict(network.state_dict())
    unclamped.to(model.w_mean.device)
    z = torch.randn(4, config.z_dim, generator=torch.Generator().manual_seed(0)).to(model.w_mean)
    x = model.generator.synthesize(model.generator.map(z), noise="const")
    if network is model.generator:
        return float((x - unclamped.synthesize(unclamped.map(z), noise="const")).abs().max())
    return float((network(x) - unclamped(x)).abs().max())


# ------------------------------------------------------------------------------------------------------ state dicts


def _kernel(gain: float) -> Tensor:
    taps = torch.tensor(TAPS)
    return torch.outer(taps, taps) * (gain / taps.sum() ** 2)


def _widen(weight: Tensor, *shape: int) -> Tensor:
    """`weight` with zeros up to `shape`. Layers divide by the square root of axis 1 times a constant: it is undone."""
    wide = torch.zeros(shape)
    gain = math.sqrt(shape[1] / weight.shape[1]) if len(shape) > 1 else 1.0
    wide[tuple(slice(size) for size in weight.shape)] = weight * gain
    return wide


def _generator_state(model: GanModel, multiplier: int, *, shift_in_biases: bool) -> State:
    """Generator.state_dict() of their code, with "style.N.w_shift" of GANSketching if w is shifted."""
    config, ours = model.config, finite_copies(model.generator.state_dict(), torch.float32)
    widths, shift, state = _widths(config, multiplier), ours["mapping.w_shift"], State()
    factor = config.mapping_lr_mul / MAPPING_LR_MUL
    for k in range(config.mapping_layers):
        for leaf in ("weight", "bias"):
            state[f"style.{k + 1}.{leaf}"] = ours[f"mapping.layers.{k}.{leaf}"] * factor
    if shift.any() and not shift_in_biases:
        state[f"style.{config.mapping_layers + 1}.w_shift"] = shift[None]

    def modulation(theirs: str, layer: str, channels: int) -> None:
        weight, bias = ours[f"{layer}.affine.weight"], ours[f"{layer}.affine.bias"]
        if shift_in_biases:
            bias = bias + weight @ shift / math.sqrt(config.w_dim)
        state[f"{theirs}.conv.modulation.weight"] = _widen(weight, channels, config.w_dim)
        state[f"{theirs}.conv.modulation.bias"] = _widen(bias, channels)

    state["input.input"] = _widen(ours["synthesis.const"], widths[0], 4, 4)[None]
    for k in range(config.style_count - 1):
        theirs, layer = f"convs.{k - 1}" if k else "conv1", f"synthesis.layers.{k}"
        fan_in, fan_out = widths[k // 2], widths[(k + 1) // 2]
        state[f"{theirs}.conv.weight"] = _widen(ours[f"{layer}.weight"], fan_out, fan_in, 3, 3)[None]
        modulation(theirs, layer, fan_in)
        if k % 2:  # it doubles the resolution
            state[f"{theirs}.conv.blur.kernel"] = _kernel(4)
        state[f"{theirs}.noise.weight"] = ours[f"{layer}.noise_strength"][None]
        state[f"{theirs}.activate.bias"] = _widen(ours[f"{layer}.bias"], fan_out)
        state[f"noises.noise_{k}"] = ours[f"{layer}.noise_const"][None, None]
    for k, fan_in in enumerate(widths):
        theirs, layer = f"to_rgbs.{k - 1}" if k else "to_rgb1", f"synthesis.to_rgb.{k}"
        state[f"{theirs}.bias"] = ours[f"{layer}.bias"][None, :, None, None]
        state[f"{theirs}.conv.weight"] = _widen(ours[f"{layer}.weight"], 3, fan_in, 1, 1)[None]
        modulation(theirs, layer, fan_in)
        if k:
            state[f"{theirs}.upsample.kernel"] = _kernel(4)
    return state


def _discriminator_state(model: GanModel, multiplier: int) -> State:
    """Discriminator.state_dict() of their code.

    The batch statistic is the mean deviation over all channels. Those that are added count as 1e-4, sqrt(1e-8): a
    factor of the statistic's weights, and one added channel that is 1 everywhere, undo this.
    """
    assert model.discriminator is not None
    ours, state = finite_copies(model.discriminator.state_dict(), torch.float32), State()
    widths, last = _widths(model.config, multiplier)[::-1], model.config.channels[0]
    state["convs.0.0.weight"] = _widen(ours["from_rgb.weight"], widths[0], 3, 1, 1)
    state["convs.0.1.bias"] = _widen(ours["from_rgb.bias"], widths[0])
    for k, (fan_in, fan_out) in enumerate(zip(widths, widths[1:])):
        theirs, block = f"convs.{k + 1}", f"blocks.{k}"
        state[f"{theirs}.conv1.0.weight"] = _widen(ours[f"{block}.conv1.weight"], fan_in, fan_in, 3, 3)
        state[f"{theirs}.conv1.1.bias"] = _widen(ours[f"{block}.conv1.bias"], fan_in)
        state[f"{theirs}.conv2.0.kernel"] = _kernel(1)
        state[f"{theirs}.conv2.1.weight"] = _widen(ours[f"{block}.conv2.weight"], fan_out, fan_in, 3, 3)
        state[f"{theirs}.conv2.2.bias"] = _widen(ours[f"{block}.conv2.bias"], fan_out)
        state[f"{theirs}.skip.0.kernel"] = _kernel(1)
        state[f"{theirs}.skip.1.weight"] = _widen(ours[f"{block}.skip"], fan_out, fan_in, 1, 1)
    width = widths[-1]
    final = ours["final_conv.weight"]  # [last, last + 1, 3, 3]: features, then the batch statistic
    wide = torch.zeros(width, width + 1, 3, 3)
    wide[:last, :last] = final[:, :last]
    wide[:last, width] = final[:, last] * (width / last)
    if width > last:
        wide[:last, last] = final[:, last] * (-1e-4 * (width - last) / last)
        state[f"convs.{len(widths) - 1}.conv2.2.bias"][last] = 1
    state["final_conv.0.weight"] = wide * math.sqrt((width + 1) / (last + 1))
    state["final_conv.1.bias"] = _widen(ours["final_conv.bias"], width)
    hidden = ours["hidden.weight"].reshape(last, last, 16)
    state["final_linear.0.weight"] = _widen(hidden, width, width, 16).reshape(width, width * 16)
    state["final_linear.0.bias"] = _widen(ours["hidden.bias"], width)
    state["final_linear.1.weight"] = _widen(ours["out.weight"], 1, width)
    state["final_linear.1.bias"] = ours["out.bias"]
    return state


def _save(content: Mapping[str, object], path: str | Path, dtype: torch.dtype) -> None:
    """torch.save of dicts of tensors, to a stream: it would write the name of a file into it."""

    def stored(value: object) -> object:
        if isinstance(value, Tensor):
            return finite_copies({"a weight": value}, dtype)["a weight"]
        assert isinstance(value, Mapping)
        return OrderedDict((name, stored(entry)) for name, entry in value.items())

    stream = io.BytesIO()
    torch.save(stored(content), stream)
    atomic_write(path, lambda temporary: temporary.write_bytes(stream.getbuffer()))
