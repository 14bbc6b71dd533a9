"""Generators as ONNX files, for onnxruntime and other programs that have no PyTorch.

The graph is written operator by operator, with scales folded into the weights: torch's exporters would write constants
for the FIR filters' Python code, and differ from version to version. The numbers are those of `Generator`.
"""

import copy
import math
from dataclasses import replace
from pathlib import Path
from typing import Any, Literal

import numpy as np
import torch
from torch import Tensor

from ..files import atomic_write
from ..networks.resampling import TAPS
from ..networks.stylegan2 import ACTIVATION_GAIN, EqualLinear, GanModel, Mapping, StyledConv, ToRGB
from ..options import Options, option
from .native import finite_copies

LOWEST_OPSET = 13  # the first whose Unsqueeze and ReduceSum take their axes as an input
LARGEST_FILE = 2**31 - 2**20  # bytes of one protobuf message


class OnnxConfig(Options):
    """What an ONNX file holds."""

    part: Literal["all", "mapping", "synthesis"] = option(
        "all", "all: z to images; mapping: z to w; synthesis: w+ to images, for latents that were edited."
    )
    noise: Literal["const", "input", "none"] = option(
        "const", "Fine texture: const is stored in the file, input is given with each call, none is smooth."
    )
    opset: int = option(17, "Version of ONNX's operators.", ge=LOWEST_OPSET, le=30, advanced=True)


def export_onnx(
    model: GanModel,
    path: str | Path,
    config: OnnxConfig = OnnxConfig(),  # noqa: B008 (frozen)
    *,
    dtype: torch.dtype = torch.float32,
) -> None:
    """Write a generator, or a part of it, as an ONNX file. B, the batch, may differ from call to call.

    dtype: how weights are stored; torch.float16 halves the file. Inputs, arithmetic and images stay float32.

    Inputs, float32 but for the labels:
        z [B, z_dim]: N(0,1); of "all" and "mapping".
        labels [B]: int64, of class-conditional models; of "all" and "mapping".
        psi [1]: truncation, 1 for none; of "all" and "mapping".
        ws [B, L, w_dim]: one w for each layer; of "synthesis".
        noise_0, noise_1 ... [1 or B,1,s,s]: N(0,1), with noise="input"; not of "mapping".
    Outputs: images [B,3,R,R] in about -1..1 (not clipped); of "mapping" w [B, w_dim], or ws [B, L, w_dim] of
    a model that keeps the w of its finer layers from the original.

    Raises ValueError if the package onnx is missing or too old for the opset, or a weight is NaN or infinite.
    """
    model.check_single_mapping()
    graph = _Graph(config, dtype)
    finite_copies({**model.generator.state_dict(), "w_mean": model.w_mean}, torch.float32)
    if config.part == "synthesis":
        ws = graph.input("ws", "batch", model.config.style_count, model.config.w_dim)
        styles = [graph.run("Gather", ws, graph.integers(k), axis=1) for k in range(model.config.style_count)]
    else:
        styles = _styles(graph, model)
    if config.part == "mapping" and model.details is None:
        graph.output(styles[0], "w", "batch", model.config.w_dim)
    elif config.part == "mapping":
        rows = [graph.run("Unsqueeze", style, graph.integers([1])) for style in styles]
        graph.output(graph.run("Concat", *rows, axis=1), "ws", "batch", model.config.style_count, model.config.w_dim)
    else:
        size = model.config.resolution
        graph.output(_synthesis(graph, model, styles, config.noise), "images", "batch", 3, size, size)
    atomic_write(path, lambda temporary: temporary.write_bytes(graph.file(model)))


class _Graph:
    """Operators in the order in which they run, on values that are known by their names."""

    def __init__(self, config: OnnxConfig, dtype: torch.dtype):
        if dtype not in (torch.float32, torch.float16):
            raise ValueError(f"weights in ONNX files are float32 or float16, not {dtype}")
        self.onnx = require_onnx()
        newest = self.onnx.defs.onnx_opset_version()
        if config.opset > newest:
            raise ValueError(
                f"opset {config.opset}: the installed onnx {self.onnx.__version__} has operators up to opset {newest}; "
                f'choose {LOWEST_OPSET} to {newest}, or update it: pip install -U "gansketching[onnx]"'
            )
        self.config, self.dtype = config, dtype
        self.nodes, self.constants, self.inputs, self.outputs = [], {}, [], []
        self.bytes = 0

    def _typed(self, name: str, shape: tuple[str | int, ...], dtype: str = "FLOAT") -> Any:
        return self.onnx.helper.make_tensor_value_info(name, getattr(self.onnx.TensorProto, dtype), shape)

    def input(self, name: str, *shape: str | int, dtype: str = "FLOAT") -> str:
        """An input of the file. Sizes that may differ from call to call are words."""
        self.inputs.append(self._typed(name, shape, dtype))
        return name

    def output(self, value: str, name: str, *shape: str | int) -> None:
        self.nodes.append(self.onnx.helper.make_node("Identity", [value], [name]))
        self.outputs.append(self._typed(name, shape))

    def run(self, operator: str, *inputs: str, **attributes: Any) -> str:
        """One operator -> the name of its output."""
        name = f"{operator}_{len(self.nodes)}"
        self.nodes.append(self.onnx.helper.make_node(operator, list(inputs), [name], **attributes))
        return name

    def numbers(self, value: Tensor | float | list[float]) -> str:
        """A constant of float32 that is stored as such."""
        return self._constant(torch.as_tensor(value, dtype=torch.float32).detach().cpu().numpy())

    def integers(self, values: int | list[int]) -> str:
        """A constant of whole numbers, without axes or with one."""
        return self._constant(np.array(values, np.int64))

    def weights(self, value: Tensor) -> str:
        """A constant of float32 that is stored in the type of the file."""
        if self.dtype == torch.float32:
            return self.numbers(value)
        half = finite_copies({"a weight": value}, self.dtype)["a weight"]
        return self.run("Cast", self._constant(half.numpy()), to=self.onnx.TensorProto.FLOAT)

    def _constant(self, value: np.ndarray) -> str:
        """Equal constants are stored once."""
        key = (value.dtype.str, value.shape, value.tobytes())
        if key not in self.constants:
            self.bytes += value.nbytes
            name = f"constant_{len(self.constants)}"
            self.constants[key] = self.onnx.numpy_helper.from_array(value, name)
        return self.constants[key].name

    def file(self, model: GanModel) -> bytes:
        if self.bytes > LARGEST_FILE:
            raise ValueError(
                f'the weights of "{model.name}" are {self.bytes / 1e9:.1f} GB, and an ONNX file has at most 2 GB; '
                "write them as float16, or mapping and synthesis as two files"
            )
        helper = self.onnx.helper
        graph = helper.make_graph(
            self.nodes, self.config.part, self.inputs, self.outputs, list(self.constants.values())
        )
        opset = helper.make_opsetid("", self.config.opset)
        version = helper.find_min_ir_version_for([opset])
        proto = helper.make_model(graph, opset_imports=[opset], ir_version=version, producer_name="gansketching")
        about = {**model.metadata, "name": model.name, "base_hash": model.base_hash}
        helper.set_model_props(proto, dict(sorted(about.items())))
        self.onnx.checker.check_model(proto)
        return proto.SerializeToString(deterministic=True)


def require_onnx() -> Any:
    """The package onnx. ValueError if it is not installed."""
    try:
        import onnx
        import onnx.checker
        import onnx.defs
        import onnx.helper
        import onnx.numpy_helper
    except ImportError:
        raise ValueError('writing ONNX needs the package onnx: pip install "gansketching[onnx]"') from None
    return onnx


def _styles(graph: _Graph, model: GanModel) -> list[str]:
    """z, labels and psi -> the truncated w [B, w_dim] of each layer."""
    config, details = model.config, model.details
    z = _normalise(graph, graph.input("z", "batch", config.z_dim), config.z_dim)
    label = graph.input("labels", "batch", dtype="INT64") if config.class_count else None
    psi = graph.input("psi", 1)
    w = _mapping(graph, model.generator.mapping, model.w_mean, z, label, psi)
    if details is None:
        return [w] * config.style_count
    original = _mapping(graph, details.mapping, details.w_mean, z, label, psi)
    return [w] * details.first + [original] * (config.style_count - details.first)


def _mapping(graph: _Graph, mapping: Mapping, w_mean: Tensor, z: str, label: str | None, psi: str) -> str:
    """Normalised z, labels and psi -> truncated w [B, w_dim]."""
    x = z
    if mapping.embed is not None and label is not None:
        weight, bias = mapping.embed.folded()
        table = weight.t() + bias  # [classes, w_dim]
        embedded = graph.run("Gather", graph.weights(table), label, axis=0)
        x = graph.run("Concat", x, _normalise(graph, embedded, len(w_mean)), axis=1)
    for layer in mapping.layers:
        x = graph.run("LeakyRelu", _linear(graph, x, layer), alpha=0.2)
    centred = graph.run("Add", x, graph.numbers(mapping.w_shift - w_mean))
    return graph.run("Add", graph.run("Mul", centred, psi), graph.numbers(w_mean))


def _normalise(graph: _Graph, x: str, size: int) -> str:  # [B, size]
    """The mean of the squares is a product with 1 / size: the operator for means differs from opset to opset."""
    mean = graph.run("MatMul", graph.run("Mul", x, x), graph.numbers(torch.full((size, 1), 1 / size)))
    return graph.run("Div", x, graph.run("Sqrt", graph.run("Add", mean, graph.numbers(1e-8))))


def _linear(graph: _Graph, x: str, layer: Any, gain: float = 1.0) -> str:
    assert isinstance(layer, EqualLinear)
    weight, bias = layer.folded()
    return graph.run("Gemm", x, graph.weights(weight * gain), graph.weights(bias * gain), transB=1)


def _synthesis(graph: _Graph, model: GanModel, styles: list[str], noise: str) -> str:
    """styles: w [B, w_dim] of each layer -> images [B,3,R,R]."""
    synthesis = model.generator.synthesis
    x, rgb = graph.weights(synthesis.const[None]), ""
    for k, layer in enumerate(synthesis.layers):
        x = _styled_conv(graph, x, styles[k], layer, k, noise)
        if k % 2 == 0:  # the last layer of a resolution
            colours = _to_rgb(graph, x, styles[k + 1], synthesis.to_rgb[k // 2])
            rgb = graph.run("Add", _upsample(graph, rgb), colours) if rgb else colours
    return rgb


def _styled_conv(graph: _Graph, x: str, w: str, layer: Any, number: int, noise: str) -> str:
    assert isinstance(layer, StyledConv)
    style = _linear(graph, w, layer.affine)  # [B, I]
    kernel = layer.weight / math.sqrt(layer.weight[0].numel())
    weight = graph.weights(kernel.transpose(0, 1) * 4 if layer.up else kernel)  # [I,O,3,3] or [O,I,3,3]
    x = graph.run("Mul", x, _as_maps(graph, style))
    if layer.up:
        x = graph.run("ConvTranspose", x, weight, strides=[2, 2])
        x = graph.run("Conv", x, _fir(graph, len(kernel), 1), group=len(kernel), pads=[1] * 4)
    else:
        x = graph.run("Conv", x, weight, pads=[1] * 4)
    # Demodulation: x * gain / sqrt(energy + 1e-8), with the gain inside the square root.
    squares = graph.run("ReduceSum", graph.run("Mul", weight, weight), graph.integers([2, 3]), keepdims=0)
    alpha = 1 / (ACTIVATION_GAIN**2 * (16 if layer.up else 1))
    eps = graph.numbers([1e-8 / ACTIVATION_GAIN**2])
    energy = graph.run("Gemm", graph.run("Mul", style, style), squares, eps, alpha=alpha, transB=int(not layer.up))
    x = graph.run("Div", x, _as_maps(graph, graph.run("Sqrt", energy)))
    if noise != "none":
        strength = layer.noise_strength * ACTIVATION_GAIN
        if noise == "const":
            added = graph.weights(layer.noise_const[None, None] * strength)
        else:
            given = graph.input(f"noise_{number}", f"noise_batch_{number}", 1, layer.size, layer.size)
            added = graph.run("Mul", given, graph.numbers(strength))
        x = graph.run("Add", x, added)
    x = graph.run("Add", x, graph.weights(layer.bias[:, None, None] * ACTIVATION_GAIN))
    return _clamp(graph, graph.run("LeakyRelu", x, alpha=0.2), layer.clamp)


def _to_rgb(graph: _Graph, x: str, w: str, layer: Any) -> str:
    assert isinstance(layer, ToRGB)
    style = _linear(graph, w, layer.affine, 1 / math.sqrt(layer.weight.shape[1]))
    x = graph.run("Conv", graph.run("Mul", x, _as_maps(graph, style)), graph.weights(layer.weight))
    return _clamp(graph, graph.run("Add", x, graph.weights(layer.bias[:, None, None])), layer.clamp)


def _as_maps(graph: _Graph, x: str) -> str:  # [B, C] -> [B, C, 1, 1]
    return graph.run("Unsqueeze", x, graph.integers([2, 3]))


def _clamp(graph: _Graph, x: str, bound: float | None) -> str:
    return x if bound is None else graph.run("Clip", x, graph.numbers(-bound), graph.numbers(bound))


def _fir(graph: _Graph, channels: int, gain: float) -> str:
    """The low-pass filter for each channel, [channels,1,4,4]."""
    taps = torch.tensor(TAPS)
    return graph.numbers((torch.outer(taps, taps) * (gain / taps.sum() ** 2)).expand(channels, 1, 4, 4))


def _upsample(graph: _Graph, rgb: str) -> str:  # [B,3,H,H] -> [B,3,2H,2H]
    return graph.run("ConvTranspose", rgb, _fir(graph, 3, 4), strides=[2, 2], pads=[1] * 4, group=3)


@torch.no_grad()
def onnx_difference(model: GanModel, path: str | Path, config: OnnxConfig = OnnxConfig()) -> float | None:  # noqa: B008
    """Largest difference of what onnxruntime computes with a file of `export_onnx` from the model's own numbers.

    Two samples on the CPU, truncated to 0.7. None if onnxruntime is not installed.
    """
    try:
        import onnxruntime
    except ImportError:
        return None
    rng = torch.Generator().manual_seed(0)
    generator, classes = copy.deepcopy(model.generator).cpu(), model.config.class_count
    z = torch.randn(2, model.config.z_dim, generator=rng)
    labels = torch.arange(2) % classes if classes else None
    maps: Any = generator.synthesis.noise_maps(2, "random", rng) if config.noise == "input" else config.noise
    details = model.details and model.details.to(torch.device("cpu"))
    model = replace(model, generator=generator, w_mean=model.w_mean.cpu(), details=details)
    w = model.style_means().lerp(model.styles(z, labels), 0.7)
    ws = w if w.ndim == 3 else w[:, None].repeat(1, model.config.style_count, 1)
    values = {"z": z, "psi": torch.tensor([0.7]), "ws": ws, "labels": labels}
    values |= {f"noise_{k}": noise for k, noise in enumerate(maps if isinstance(maps, list) else [])}
    session = onnxruntime.InferenceSession(path, providers=["CPUExecutionProvider"])
    (result,) = session.run(None, {entry.name: values[entry.name].numpy() for entry in session.get_inputs()})
    expected = w if config.part == "mapping" else generator.synthesize(ws, noise=maps)
    return float((torch.from_numpy(result) - expected).abs().max())
