"""Builds model files of every foreign format from networks of this package, as the projects concerned write them."""

from __future__ import annotations

import argparse
import pickle
import sys
import types
from collections import OrderedDict
from contextlib import contextmanager
from pathlib import Path

import numpy as np
import torch
from torch import nn

from gansketching_core.checkpoints.hashes import weights_hash
from gansketching_core.checkpoints.native import save_model
from gansketching_core.networks.stylegan2 import Discriminator, GanConfig, GanModel, Generator

SMALL = GanConfig(resolution=32, z_dim=16, w_dim=16, mapping_layers=3, channels=(12, 10, 8, 6))


def small_model(config: GanConfig = SMALL, *, seed: int = 0, discriminator: bool = True) -> GanModel:
    """A network whose every tensor is random, noise strengths and biases included; its w_shift is zero."""
    torch.manual_seed(seed)
    nets = [Generator(config), Discriminator(config)] if discriminator else [Generator(config)]
    for net in nets:
        net.eval().requires_grad_(False)
        for name, value in net.named_parameters():
            if not name.endswith("w_shift"):
                value += 0.2 * torch.randn_like(value)
    w_mean = torch.randn(config.w_dim)
    model = GanModel(nets[0], nets[1] if discriminator else None, config, w_mean, "small")
    model.base_hash = weights_hash(model)
    return model


# ----------------------------------------------------------------------------------------- GANSketching and rosinality


def _kernel(gain: float) -> torch.Tensor:
    taps = torch.tensor([1.0, 3.0, 3.0, 1.0])
    return torch.outer(taps, taps) / 64 * gain


def rosinality_generator(model: GanModel, *, w_shift: bool = False) -> OrderedDict[str, torch.Tensor]:
    """Generator.state_dict() of rosinality's code; with w_shift, of GANSketching's."""
    ours, state = model.generator.state_dict(), OrderedDict()
    depth, blocks = model.config.mapping_layers, model.config.block_count
    for k in range(depth):
        state[f"style.{k + 1}.weight"] = ours[f"mapping.layers.{k}.weight"]
        state[f"style.{k + 1}.bias"] = ours[f"mapping.layers.{k}.bias"]
    if w_shift:
        state[f"style.{depth + 1}.w_shift"] = ours["mapping.w_shift"][None]
    state["input.input"] = ours["synthesis.const"][None]
    for k in range(2 * blocks - 1):
        theirs, layer = f"convs.{k - 1}" if k else "conv1", f"synthesis.layers.{k}"
        state[f"{theirs}.conv.weight"] = ours[f"{layer}.weight"][None]
        if k % 2:
            state[f"{theirs}.conv.blur.kernel"] = _kernel(4)
        state[f"{theirs}.conv.modulation.weight"] = ours[f"{layer}.affine.weight"]
        state[f"{theirs}.conv.modulation.bias"] = ours[f"{layer}.affine.bias"]
        state[f"{theirs}.noise.weight"] = ours[f"{layer}.noise_strength"][None]
        state[f"{theirs}.activate.bias"] = ours[f"{layer}.bias"]
        state[f"noises.noise_{k}"] = ours[f"{layer}.noise_const"][None, None]
    for k in range(blocks):
        theirs, layer = f"to_rgbs.{k - 1}" if k else "to_rgb1", f"synthesis.to_rgb.{k}"
        state[f"{theirs}.bias"] = ours[f"{layer}.bias"][None, :, None, None]
        if k:
            state[f"{theirs}.upsample.kernel"] = _kernel(4)
        state[f"{theirs}.conv.weight"] = ours[f"{layer}.weight"][None]
        state[f"{theirs}.conv.modulation.weight"] = ours[f"{layer}.affine.weight"]
        state[f"{theirs}.conv.modulation.bias"] = ours[f"{layer}.affine.bias"]
    return state


def rosinality_discriminator(model: GanModel) -> OrderedDict[str, torch.Tensor]:
    """Discriminator.state_dict() of rosinality's and GANSketching's code."""
    ours, state = model.discriminator.state_dict(), OrderedDict()
    state["convs.0.0.weight"], state["convs.0.1.bias"] = ours["from_rgb.weight"], ours["from_rgb.bias"]
    for k in range(model.config.block_count - 1):
        theirs, block = f"convs.{k + 1}", f"blocks.{k}"
        state[f"{theirs}.conv1.0.weight"] = ours[f"{block}.conv1.weight"]
        state[f"{theirs}.conv1.1.bias"] = ours[f"{block}.conv1.bias"]
        state[f"{theirs}.conv2.0.kernel"] = _kernel(1)
        state[f"{theirs}.conv2.1.weight"] = ours[f"{block}.conv2.weight"]
        state[f"{theirs}.conv2.2.bias"] = ours[f"{block}.conv2.bias"]
        state[f"{theirs}.skip.0.kernel"] = _kernel(1)
        state[f"{theirs}.skip.1.weight"] = ours[f"{block}.skip"]
    state["final_conv.0.weight"], state["final_conv.1.bias"] = ours["final_conv.weight"], ours["final_conv.bias"]
    for k, layer in enumerate(("hidden", "out")):
        state[f"final_linear.{k}.weight"] = ours[f"{layer}.weight"]
        state[f"final_linear.{k}.bias"] = ours[f"{layer}.bias"]
    return state


def rosinality_training(model: GanModel) -> dict[str, object]:
    """What rosinality's train.py saves, optimiser states shortened."""
    moments = {"step": torch.tensor(7.0), "exp_avg": torch.zeros(3), "exp_avg_sq": torch.zeros(3)}
    optimiser = {"state": {0: moments}, "param_groups": [{"lr": 0.002, "betas": (0.0, 0.99), "params": [0]}]}
    return {
        "g": rosinality_generator(small_model(model.config, seed=9)),
        "d": rosinality_discriminator(model),
        "g_ema": rosinality_generator(model),
        "g_optim": optimiser,
        "d_optim": optimiser,
        "args": argparse.Namespace(path="images.lmdb", size=model.config.resolution, latent=16, n_mlp=3, wandb=False),
        "ada_aug_p": 0.0,
    }


# ------------------------------------------------------------------------------------------------- NVIDIA, PyTorch


@contextmanager
def importable(names: dict[str, object]):
    """Make functions and classes picklable under other names, such as "package.module.name"."""
    added = []
    for path, value in names.items():
        module_name, _, name = path.rpartition(".")
        for k in range(module_name.count(".") + 1):
            parent = ".".join(module_name.split(".")[: k + 1])
            if parent not in sys.modules:
                sys.modules[parent] = types.ModuleType(parent)
                added.append(parent)
        value.__module__, value.__name__, value.__qualname__ = module_name, name, name
        setattr(sys.modules[module_name], name, value)
    try:
        yield
    finally:
        for name in added:
            del sys.modules[name]


def _reconstruct(meta):
    raise AssertionError("code of the file was run")


class EasyDict(dict):
    """Stands for dnnlib.util.EasyDict."""


_NVIDIA = {
    "torch_utils.persistence._reconstruct_persistent_obj": _reconstruct,
    "dnnlib.util.EasyDict": EasyDict,
}


class NvidiaModule(nn.Module):
    """A module that is pickled the way torch_utils.persistence does it: source code, class name, attributes."""

    def __init__(self, class_name: str, **attributes: object):
        super().__init__()
        self._class_name = class_name
        self.__dict__ |= attributes
        self._init_args, self._init_kwargs = (), EasyDict(attributes)

    def __reduce__(self):
        source = "import os\nos.abort()\n"
        meta = {"type": "class", "version": 6, "module_src": source, "class_name": self._class_name}
        return _reconstruct, ({**meta, "state": self.__dict__},), None

    def put(self, weights: dict[str, torch.Tensor], buffers: tuple[str, ...] = ()) -> NvidiaModule:
        for name, value in weights.items():
            if name in buffers:
                self.register_buffer(name, value.clone())
            else:
                self.register_parameter(name, nn.Parameter(value.clone(), requires_grad=False))
        return self


def _leaves(state: dict[str, torch.Tensor], prefix: str) -> dict[str, torch.Tensor]:
    tensors = {name.removeprefix(f"{prefix}."): value for name, value in state.items() if name.startswith(f"{prefix}.")}
    return {name: value for name, value in tensors.items() if "." not in name}


def _dense(state, prefix: str, lr_mul: float = 1.0, activation: str = "linear") -> NvidiaModule:
    leaves = _leaves(state, prefix)
    gains = {"weight_gain": np.float64(lr_mul / np.sqrt(leaves["weight"].shape[1])), "bias_gain": lr_mul}
    return NvidiaModule("FullyConnectedLayer", activation=activation, **gains).put(leaves)


def _nvidia_mapping(state, depth: int, lr_mul: float, **attributes) -> NvidiaModule:
    net = NvidiaModule("MappingNetwork", num_layers=depth, **attributes)
    if "mapping.embed.weight" in state:
        net.embed = _dense(state, "mapping.embed")
    for k in range(depth):
        setattr(net, f"fc{k}", _dense(state, f"mapping.layers.{k}", lr_mul, "lrelu"))
    return net


def nvidia_generator(model: GanModel, *, architecture: str = "skip", activation: str = "lrelu") -> NvidiaModule:
    config, state = model.config, model.generator.state_dict()
    common = {"z_dim": config.z_dim, "c_dim": config.class_count, "w_dim": config.w_dim}
    net = NvidiaModule("Generator", **common, img_resolution=config.resolution, img_channels=3)
    net.synthesis = NvidiaModule("SynthesisNetwork", num_ws=config.style_count)
    for k in range(config.block_count):
        size = 4 * 2**k
        block = NvidiaModule("SynthesisBlock", resolution=size, architecture=architecture, use_fp16=size > 8)
        block.register_buffer("resample_filter", _kernel(1))
        if k == 0:
            block.put({"const": state["synthesis.const"]})
        for number, name in ((2 * k - 1, "conv0"), (2 * k, "conv1")):
            if number >= 0:
                settings = {"use_noise": True, "activation": activation, "conv_clamp": config.conv_clamp}
                layer = NvidiaModule("SynthesisLayer", **settings)
                layer.register_buffer("resample_filter", _kernel(1))
                layer.affine = _dense(state, f"synthesis.layers.{number}.affine")
                setattr(block, name, layer.put(_leaves(state, f"synthesis.layers.{number}"), ("noise_const",)))
        block.torgb = NvidiaModule("ToRGBLayer", conv_clamp=config.conv_clamp)
        block.torgb.affine = _dense(state, f"synthesis.to_rgb.{k}.affine")
        block.torgb.put(_leaves(state, f"synthesis.to_rgb.{k}"))
        setattr(net.synthesis, f"b{size}", block)
    net.mapping = _nvidia_mapping(state, config.mapping_layers, config.mapping_lr_mul, w_avg_beta=0.995)
    net.mapping.register_buffer("w_avg", model.w_mean.clone())
    return net


def nvidia_discriminator(model: GanModel, *, architecture: str = "") -> NvidiaModule:
    config, state = model.config, model.discriminator.state_dict()
    architecture = architecture or ("resnet" if config.residual_discriminator else "orig")
    net = NvidiaModule("Discriminator", c_dim=config.class_count, img_resolution=config.resolution)

    def convolution(weights, frozen: bool = False) -> NvidiaModule:
        layer = NvidiaModule("Conv2dLayer", activation="lrelu", conv_clamp=config.conv_clamp)
        layer.register_buffer("resample_filter", _kernel(1))
        if "bias" not in weights:
            layer.bias = None
        return layer.put(weights, tuple(weights) if frozen else ())

    for k in range(config.block_count - 1):
        block = NvidiaModule("DiscriminatorBlock", architecture=architecture)
        block.register_buffer("resample_filter", _kernel(1))
        if k == 0:
            block.fromrgb = convolution(_leaves(state, "from_rgb"), frozen=True)
        block.conv0 = convolution(_leaves(state, f"blocks.{k}.conv1"))
        block.conv1 = convolution(_leaves(state, f"blocks.{k}.conv2"))
        if config.residual_discriminator:
            block.skip = convolution({"weight": state[f"blocks.{k}.skip"]})
        setattr(net, f"b{config.resolution >> k}", block)
    if config.class_count:
        net.mapping = _nvidia_mapping(state, config.discriminator_mapping_layers, 0.01, num_ws=None)
    net.b4 = NvidiaModule("DiscriminatorEpilogue", architecture=architecture)
    net.b4.mbstd = NvidiaModule("MinibatchStdLayer", group_size=config.stddev_group, num_channels=1)
    net.b4.conv = convolution(_leaves(state, "final_conv"))
    net.b4.fc, net.b4.out = _dense(state, "hidden"), _dense(state, "out")
    return net


def write_nvidia(path: Path, data: object, protocol: int = 4) -> Path:
    with importable(_NVIDIA):
        path.write_bytes(pickle.dumps(data, protocol))
    return path


def nvidia_snapshot(model: GanModel, **changes: object) -> dict[str, object]:
    """What NVIDIA's training loops save."""
    other = small_model(model.config, seed=9)
    data = {
        "training_set_kwargs": EasyDict(path="images.zip", resolution=model.config.resolution),
        "G": nvidia_generator(other),
        "D": nvidia_discriminator(model) if model.discriminator else None,
        "G_ema": nvidia_generator(model),
        "augment_pipe": NvidiaModule("AugmentPipe", xflip=1.0, filters=nn.ModuleList()),
    }
    return data | changes


# ---------------------------------------------------------------------------------------------- NVIDIA, TensorFlow


class TensorFlowNetwork:
    """Stands for dnnlib.tflib.network.Network."""

    def __init__(self, name: str, variables: dict[str, np.ndarray], settings: dict, components: dict | None = None):
        self.state = {
            "version": 4,
            "name": name,
            "static_kwargs": settings,
            "components": components or {},
            "build_module_src": "import os\nos.abort()\n",
            "build_func_name": f"{name}_main",
            "variables": list(variables.items()),
        }

    def __getstate__(self):
        return self.state


def _numpy(value: torch.Tensor) -> np.ndarray:
    return value.numpy().copy()


def _tf_convolution(value: torch.Tensor) -> np.ndarray:
    """[O, I, kh, kw] -> [kh, kw, I, O]."""
    return _numpy(value.permute(2, 3, 1, 0))


def tensorflow_generator(model: GanModel, **settings: object) -> TensorFlowNetwork:
    config, ours = model.config, model.generator.state_dict()
    mapping = {}
    for k in range(config.mapping_layers):
        mapping[f"Dense{k}/weight"] = _numpy(ours[f"mapping.layers.{k}.weight"].t())
        mapping[f"Dense{k}/bias"] = _numpy(ours[f"mapping.layers.{k}.bias"])
    synthesis = {"4x4/Const/const": _numpy(ours["synthesis.const"][None])}
    modulated = {f"synthesis.to_rgb.{k}": f"{4 * 2**k}x{4 * 2**k}/ToRGB" for k in range(config.block_count)}
    for k in range(2 * config.block_count - 1):
        size = 4 * 2 ** ((k + 1) // 2)
        theirs = f"{size}x{size}/{'Conv' if k == 0 else 'Conv0_up' if k % 2 else 'Conv1'}"
        modulated[f"synthesis.layers.{k}"] = theirs
        synthesis[f"noise{k}"] = _numpy(ours[f"synthesis.layers.{k}.noise_const"][None, None])
        synthesis[f"{theirs}/noise_strength"] = _numpy(ours[f"synthesis.layers.{k}.noise_strength"])
    for layer, theirs in modulated.items():
        weight = ours[f"{layer}.weight"]
        synthesis[f"{theirs}/weight"] = _tf_convolution(weight.flip(2, 3) if theirs.endswith("_up") else weight)
        synthesis[f"{theirs}/bias"] = _numpy(ours[f"{layer}.bias"])
        synthesis[f"{theirs}/mod_weight"] = _numpy(ours[f"{layer}.affine.weight"].t())
        synthesis[f"{theirs}/mod_bias"] = _numpy(ours[f"{layer}.affine.bias"] - 1)
    parts = {"mapping": TensorFlowNetwork("G_mapping", mapping, {})}
    parts["synthesis"] = TensorFlowNetwork("G_synthesis", synthesis, {})
    static = {"num_channels": 3, "resolution": config.resolution, "label_size": 0, "latent_size": config.z_dim}
    static |= {"dlatent_size": config.w_dim, "mapping_layers": config.mapping_layers, **settings}
    return TensorFlowNetwork("Gs", {"dlatent_avg": _numpy(model.w_mean)}, static, parts)


def tensorflow_discriminator(model: GanModel, **settings: object) -> TensorFlowNetwork:
    config, ours = model.config, model.discriminator.state_dict()
    size = config.resolution
    layers = {"from_rgb": f"{size}x{size}/FromRGB", "final_conv": "4x4/Conv", "hidden": "4x4/Dense0", "out": "Output"}
    variables = {}
    for k in range(config.block_count - 1):
        size = config.resolution >> k
        layers |= {f"blocks.{k}.conv1": f"{size}x{size}/Conv0", f"blocks.{k}.conv2": f"{size}x{size}/Conv1_down"}
        variables[f"{size}x{size}/Skip/weight"] = _tf_convolution(ours[f"blocks.{k}.skip"])
    for layer, theirs in layers.items():
        weight = ours[f"{layer}.weight"]
        variables[f"{theirs}/weight"] = _numpy(weight.t()) if weight.ndim == 2 else _tf_convolution(weight)
        variables[f"{theirs}/bias"] = _numpy(ours[f"{layer}.bias"])
    static = {"num_channels": 3, "resolution": config.resolution, "label_size": 0, **settings}
    return TensorFlowNetwork("D", variables, static)


def write_tensorflow(path: Path, networks: object, protocol: int = 4) -> Path:
    with importable({"dnnlib.tflib.network.Network": TensorFlowNetwork}):
        path.write_bytes(pickle.dumps(networks, protocol))
    return path


def tensorflow_snapshot(model: GanModel) -> tuple[TensorFlowNetwork, ...]:
    """(G, D, Gs), as NVIDIA's TensorFlow files hold them."""
    other = small_model(model.config, seed=9)
    return tensorflow_generator(other), tensorflow_discriminator(model), tensorflow_generator(model)


# ------------------------------------------------------------------------------------------------------- all formats


def write_every_format(folder: Path, model: GanModel) -> list[Path]:
    """A file of `model` in each format that models can be loaded from."""
    save_model(model, folder / "ours.safetensors")
    torch.save(rosinality_generator(model), folder / "gansketching.pth")
    torch.save(rosinality_generator(model), folder / "old.pth", _use_new_zipfile_serialization=False)
    torch.save(rosinality_training(model), folder / "rosinality.pt")
    write_nvidia(folder / "nvidia.pkl", nvidia_snapshot(model))
    write_tensorflow(folder / "tensorflow.pkl", tensorflow_snapshot(model))
    return sorted(folder.iterdir())
