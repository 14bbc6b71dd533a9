"""StyleGAN2 config-f generator and discriminator (Karras et al., CVPR 2020, arXiv 1912.04958) in plain PyTorch.

With the same weights the numbers agree with NVIDIA's and rosinality's implementations. Two computations are formulated
differently, for speed: activations are modulated instead of weights, so that one convolution serves the whole batch,
and FIR filters are depthwise convolutions with a backward pass of their own. No compiled operators are needed.

Sizes in comments: B batch, C, I, O channels, H height and width, R resolution, L styles (layers).
"""

from __future__ import annotations

import copy
import math
from dataclasses import dataclass, field
from typing import Literal

import torch
import torch.nn.functional as F
from pydantic import model_validator
from torch import Tensor, nn

from ..options import Options, option
from .precision import full_precision
from .resampling import downsample, fir, upsample

ACTIVATION_GAIN = math.sqrt(2)


class GanConfig(Options):
    """Architecture of a generator and its discriminator. It is read from model files, never asked of the user."""

    resolution: int = option(256, "Side of the images in pixels; a power of two, 32 to 1024.")
    z_dim: int = option(512, "Length of the latent z.", ge=1, le=4096)
    w_dim: int = option(512, "Length of the intermediate latent w.", ge=1, le=4096)
    mapping_layers: int = option(8, "Depth of the mapping network.", ge=1, le=64)
    mapping_lr_mul: float = option(0.01, "Learning rate multiplier of the mapping network.", gt=0)
    channels: tuple[int, ...] = option((), "Channels at 4, 8, ... pixels; empty: config-f's.")
    class_count: int = option(0, "Number of classes; 0: unconditional.", ge=0, le=100_000)
    conv_clamp: float | None = option(None, "Bound on activations, for float16.", gt=0)
    residual_discriminator: bool = option(True, "False: no skip branches.")
    stddev_group: int = option(4, "Group of the minibatch standard deviation.", ge=1, le=4096)
    cmap_dim: int = option(0, "Projection length of a conditional discriminator.", ge=0, le=4096)
    discriminator_mapping_layers: int = option(8, "Depth of D's label network.", ge=1, le=64)

    @model_validator(mode="after")
    def _fill_and_check(self):
        if self.resolution not in (32, 64, 128, 256, 512, 1024):
            raise ValueError(f"resolution {self.resolution} is not a power of two from 32 to 1024")
        if not self.channels:
            object.__setattr__(self, "channels", config_f_channels(self.resolution))  # frozen only from here on
        if len(self.channels) != self.block_count or not all(1 <= c <= 4096 for c in self.channels):
            raise ValueError(
                f"channels {self.channels} must be {self.block_count} numbers from 1 to 4096, one for each of 4, 8, "
                f"... {self.resolution} px"
            )
        return self

    @property
    def block_count(self) -> int:
        """Number of resolutions from 4 px up."""
        return int(math.log2(self.resolution)) - 1

    @property
    def style_count(self) -> int:
        """L, the number of per-layer styles of a w+: 14 at 256 px, 18 at 1024 px."""
        return 2 * self.block_count


def config_f_channels(resolution: int, channel_base: int = 32768, channel_max: int = 512) -> tuple[int, ...]:
    """Channels of config-f: min(channel_base / r, channel_max) for r = 4, 8 ... resolution.

    A channel_base of 32768 is "channel multiplier 2"; the half-width models of stylegan2-ada have 16384.
    """
    return tuple(min(channel_base // 2**k, channel_max) for k in range(2, int(math.log2(resolution)) + 1))


def _normal(*shape: int, std: float = 1.0) -> Tensor:
    """Random values from N(0, std^2); no values on the meta device, on which loaders look at shapes only."""
    values = torch.empty(shape)
    return values if values.is_meta else values.normal_(std=std)


def _activate(x: Tensor, clamp: float | None = None) -> Tensor:
    """Leaky ReLU 0.2, in place, then a clamp. Its gain of sqrt(2) is already in x: scaling commutes with the ReLU."""
    x = F.leaky_relu_(x, 0.2)
    return x if clamp is None else x.clamp(-clamp, clamp)


class EqualLinear(nn.Module):
    """Equalised fully connected layer: weight * lr_mul / sqrt(fan_in), bias * lr_mul; then, on demand, a leaky ReLU."""

    def __init__(self, fan_in: int, fan_out: int, *, lr_mul: float = 1.0, bias: float = 0.0, activate: bool = False):
        super().__init__()
        self.weight = nn.Parameter(_normal(fan_out, fan_in, std=1 / lr_mul))
        self.bias = nn.Parameter(torch.full((fan_out,), bias / lr_mul))
        self.activate = activate
        self.scale = lr_mul * (ACTIVATION_GAIN if activate else 1.0)

    def folded(self) -> tuple[Tensor, Tensor]:
        """Weight and bias as plain layers have them, with their scales."""
        return self.weight * (self.scale / math.sqrt(self.weight.shape[1])), self.bias * self.scale

    def forward(self, x: Tensor) -> Tensor:  # [B, fan_in] -> [B, fan_out]
        with full_precision(x):
            x = F.linear(x, *self.folded())
        return _activate(x) if self.activate else x


class EqualConv(nn.Module):
    """Equalised convolution (weight / sqrt(fan_in)), padded if not strided, and clamped leaky ReLU, for D."""

    def __init__(self, fan_in: int, fan_out: int, kernel: int, *, stride: int = 1, clamp: float | None):
        super().__init__()
        self.weight = nn.Parameter(_normal(fan_out, fan_in, kernel, kernel))
        self.bias = nn.Parameter(torch.zeros(fan_out))
        self.stride = stride
        self.clamp = clamp
        self.padding = kernel // 2 if stride == 1 else 0

    def forward(self, x: Tensor) -> Tensor:  # [B, fan_in, H, H]
        weight = self.weight * (ACTIVATION_GAIN / math.sqrt(self.weight[0].numel()))
        bias = self.bias * ACTIVATION_GAIN
        return _activate(F.conv2d(x, weight, bias, stride=self.stride, padding=self.padding), self.clamp)


def _normalise(z: Tensor) -> Tensor:  # [B, C]
    return z * torch.rsqrt(z.square().mean(dim=1, keepdim=True) + 1e-8)


def _one_hot(labels: Tensor | None, class_count: int) -> Tensor:
    """Labels, integers [B] or weights [B, class_count] -> weights [B, class_count]."""
    if labels is None:
        raise ValueError(f"this model is class-conditional: give labels, integers from 0 to {class_count - 1}")
    if labels.ndim == 1:
        if labels.numel() and not 0 <= int(labels.min()) <= int(labels.max()) < class_count:
            raise ValueError(f"class {labels.tolist()} is outside 0 to {class_count - 1}")
        labels = F.one_hot(labels.long(), class_count)
    if labels.shape[1] != class_count:
        raise ValueError(f"labels have {labels.shape[1]} classes, the model {class_count}")
    return labels


class Mapping(nn.Module):
    """Mapping network: normalised z and embedded label, equalised layers with leaky ReLU, and a shift of w.

    z_dim 0: the label alone is mapped. class_count 0: there are no labels. `w_shift` is zero unless the model was
    customised with `trainable="w_shift"` (the reference's "style.9.w_shift").
    """

    def __init__(self, z_dim: int, w_dim: int, layers: int, lr_mul: float, class_count: int):
        super().__init__()
        self.class_count = class_count
        self.embed = EqualLinear(class_count, w_dim) if class_count else None
        fan_in = z_dim + (w_dim if class_count else 0)
        sizes = [fan_in] + [w_dim] * layers
        self.layers = nn.ModuleList(EqualLinear(a, b, lr_mul=lr_mul, activate=True) for a, b in zip(sizes, sizes[1:]))
        self.w_shift = nn.Parameter(torch.zeros(w_dim))

    def forward(self, z: Tensor | None, labels: Tensor | None = None) -> Tensor:
        """z [B, z_dim] ~ N(0,1), labels [B] or [B, class_count] of conditional models -> w [B, w_dim]."""
        parts = [] if z is None else [_normalise(z)]
        if self.embed is not None:
            weights = _one_hot(labels, self.class_count).to(self.w_shift)
            parts.append(_normalise(self.embed(weights if z is None else weights.expand(len(z), -1))))
        x = torch.cat(parts, dim=1)
        for layer in self.layers:
            x = layer(x)
        return x + self.w_shift


class StyledConv(nn.Module):
    """Modulated 3x3 convolution (eq. 1 to 3 of the StyleGAN2 paper, on activations), noise, bias and leaky ReLU."""

    noise_const: Tensor  # [size, size]
    can_be_recomputed = True  # by gradient checkpointing

    def __init__(self, fan_in: int, fan_out: int, w_dim: int, size: int, *, up: bool, clamp: float | None):
        super().__init__()
        self.affine = EqualLinear(w_dim, fan_in, bias=1.0)
        self.weight = nn.Parameter(_normal(fan_out, fan_in, 3, 3))
        self.bias = nn.Parameter(torch.zeros(fan_out))
        self.noise_strength = nn.Parameter(torch.zeros(()))
        self.register_buffer("noise_const", _normal(size, size))
        self.size = size  # height and width of the output, with `up` twice those of the input
        self.up = up
        self.clamp = clamp

    def forward(self, x: Tensor, w: Tensor, noise: Tensor | None) -> Tensor:
        """x [B,I,H,H], w [B,w_dim], noise [1 or B,1,size,size] or None -> [B,O,size,size]."""
        style = self.affine(w)  # [B, I]
        weight = self.weight / math.sqrt(self.weight[0].numel())  # [O, I, 3, 3]
        with full_precision(w):
            energy = weight.square().sum(dim=(2, 3))  # [O, I]
            demodulation = ACTIVATION_GAIN * torch.rsqrt(style.square() @ energy.t() + 1e-8)  # [B, O]
        x = x * style.to(x.dtype)[:, :, None, None]
        if self.up:
            x = fir(F.conv_transpose2d(x, weight.transpose(0, 1) * 4, stride=2), pad=(1, 1))
        else:
            x = F.conv2d(x, weight, padding=1)
        bias = (self.bias * ACTIVATION_GAIN).to(x.dtype)[None, :, None, None]
        x = torch.addcmul(bias, x, demodulation.to(x.dtype)[:, :, None, None])
        if noise is not None:
            x = x + (noise * (self.noise_strength * ACTIVATION_GAIN)).to(x.dtype)
        return _activate(x, self.clamp)


class ToRGB(nn.Module):
    """Modulated 1x1 convolution to colours, without demodulation or activation."""

    can_be_recomputed = True  # by gradient checkpointing

    def __init__(self, fan_in: int, w_dim: int, *, clamp: float | None):
        super().__init__()
        self.affine = EqualLinear(w_dim, fan_in, bias=1.0)
        self.weight = nn.Parameter(_normal(3, fan_in, 1, 1))
        self.bias = nn.Parameter(torch.zeros(3))
        self.clamp = clamp

    def forward(self, x: Tensor, w: Tensor) -> Tensor:  # [B,I,H,H], [B,w_dim] -> [B,3,H,H]
        style = self.affine(w) / math.sqrt(self.weight.shape[1])
        rgb = F.conv2d(x * style.to(x.dtype)[:, :, None, None], self.weight).to(self.bias.dtype)
        rgb = rgb + self.bias[None, :, None, None]
        return rgb if self.clamp is None else rgb.clamp(-self.clamp, self.clamp)


Noise = Literal["none", "const", "random"] | list[Tensor]


class Synthesis(nn.Module):
    """Synthesis network with RGB skip connections: layer 0 at 4 px, then two layers at each resolution."""

    def __init__(self, config: GanConfig):
        super().__init__()
        channels, w_dim, clamp = config.channels, config.w_dim, config.conv_clamp
        self.const = nn.Parameter(_normal(channels[0], 4, 4))
        self.layers = nn.ModuleList([StyledConv(channels[0], channels[0], w_dim, 4, up=False, clamp=clamp)])
        self.to_rgb = nn.ModuleList([ToRGB(channels[0], w_dim, clamp=clamp)])
        for k, (fan_in, fan_out) in enumerate(zip(channels, channels[1:])):
            size = 8 * 2**k
            self.layers.append(StyledConv(fan_in, fan_out, w_dim, size, up=True, clamp=clamp))
            self.layers.append(StyledConv(fan_out, fan_out, w_dim, size, up=False, clamp=clamp))
            self.to_rgb.append(ToRGB(fan_out, w_dim, clamp=clamp))

    def noise_maps(self, batch: int, mode: Noise, generator: torch.Generator | None = None) -> list[Tensor | None]:
        """One noise map [1 or batch,1,s,s] or None for each layer; a list of such maps is checked and returned."""
        layers = [layer for layer in self.layers if isinstance(layer, StyledConv)]  # all, with their type
        if mode == "none":
            return [None] * len(layers)
        if mode == "const":
            return [layer.noise_const[None, None] for layer in layers]
        if mode == "random":
            device = self.const.device if generator is None else generator.device
            shapes = [(batch, 1, layer.size, layer.size) for layer in layers]
            return [torch.randn(shape, generator=generator, device=device).to(self.const) for shape in shapes]
        if isinstance(mode, str):
            raise ValueError(f'noise "{mode}" is unknown; use "none", "const", "random" or a list of tensors')
        if len(mode) != len(layers):
            raise ValueError(f"{len(mode)} noise maps given, the model has {len(layers)} layers")
        for k, (noise, layer) in enumerate(zip(mode, layers)):
            if noise.ndim != 4 or noise.shape[0] not in (1, batch) or noise.shape[1:] != (1, layer.size, layer.size):
                raise ValueError(
                    f"noise map {k} has shape {tuple(noise.shape)}, expected [1 or {batch},1,{layer.size},{layer.size}]"
                )
        return list(mode)

    def forward(self, ws: Tensor, noise: Noise = "random", generator: torch.Generator | None = None) -> Tensor:
        """ws [B,L,w_dim], noise as in `Generator.synthesize` -> images [B,3,R,R]."""
        maps = self.noise_maps(len(ws), noise, generator)
        x = self.layers[0](self.const.expand(len(ws), -1, -1, -1), ws[:, 0], maps[0])
        rgb = self.to_rgb[0](x, ws[:, 1])
        for k in range(1, len(self.to_rgb)):
            x = self.layers[2 * k - 1](x, ws[:, 2 * k - 1], maps[2 * k - 1])
            x = self.layers[2 * k](x, ws[:, 2 * k], maps[2 * k])
            rgb = upsample(rgb) + self.to_rgb[k](x, ws[:, 2 * k + 1])
        return rgb


class Generator(nn.Module):
    """StyleGAN2 generator: `map` z to w, then `synthesize` images [B,3,R,R] in about -1..1 (not clipped)."""

    def __init__(self, config: GanConfig):
        super().__init__()
        self.config = config
        lr_mul = config.mapping_lr_mul
        self.mapping = Mapping(config.z_dim, config.w_dim, config.mapping_layers, lr_mul, config.class_count)
        self.synthesis = Synthesis(config)

    def map(self, z: Tensor, labels: Tensor | None = None) -> Tensor:
        """z [B, z_dim] ~ N(0,1) -> w [B, w_dim]; labels [B] of integers for class-conditional models."""
        if z.ndim != 2 or z.shape[1] != self.config.z_dim:
            raise ValueError(f"z has shape {tuple(z.shape)}, expected [B, {self.config.z_dim}]")
        return self.mapping(z, labels)

    def synthesize(self, ws: Tensor, *, noise: Noise = "random", generator: torch.Generator | None = None) -> Tensor:
        """w [B, w_dim] or w+ [B, L, w_dim] -> images [B,3,R,R] in about -1..1 (not clipped).

        noise: "const" (the maps stored in the model), "none", one map [1 or B,1,s,s] for each layer, or "random", from
        the stream `generator` (None: torch's global one).
        """
        if ws.ndim == 2:
            ws = ws[:, None].expand(-1, self.config.style_count, -1)
        if ws.ndim != 3 or ws.shape[1:] != (self.config.style_count, self.config.w_dim):
            expected = f"[B, {self.config.w_dim}] or [B, {self.config.style_count}, {self.config.w_dim}]"
            raise ValueError(f"w has shape {tuple(ws.shape)}, expected {expected}")
        return self.synthesis(ws, noise, generator)

    @torch.no_grad()
    def mean_w(self, samples: int = 4096, seed: int = 0) -> Tensor:
        """Mean w [w_dim] of random z and classes, for files without a w_mean."""
        rng = torch.Generator().manual_seed(seed)
        z = torch.randn(samples, self.config.z_dim, generator=rng).to(self.mapping.w_shift)
        classes = self.config.class_count
        labels = torch.randint(classes, (samples,), generator=rng).to(z.device) if classes else None
        return self.map(z, labels).mean(dim=0)


class _Block(nn.Module):
    """Discriminator block: convolution, filtered and strided convolution; if residual: (out + skip) / sqrt(2)."""

    can_be_recomputed = True  # by gradient checkpointing

    def __init__(self, fan_in: int, fan_out: int, *, residual: bool, clamp: float | None):
        super().__init__()
        self.conv1 = EqualConv(fan_in, fan_in, 3, clamp=clamp)
        self.conv2 = EqualConv(fan_in, fan_out, 3, stride=2, clamp=clamp)
        self.skip = nn.Parameter(_normal(fan_out, fan_in, 1, 1)) if residual else None

    def forward(self, x: Tensor) -> Tensor:  # [B, I, H, H] -> [B, O, H/2, H/2]
        out = self.conv2(fir(self.conv1(x), pad=(2, 2)))
        if self.skip is None:
            return out
        # Downsampling before the 1x1 convolution gives the same numbers for a quarter of the work.
        skip = F.conv2d(downsample(x), self.skip / math.sqrt(2 * self.skip.shape[1]))
        return torch.add(skip, out, alpha=1 / math.sqrt(2))


class Discriminator(nn.Module):
    """StyleGAN2 discriminator: images [B,3,R,R] in -1..1 -> logits [B,1], high for real."""

    def __init__(self, config: GanConfig):
        super().__init__()
        self.config = config
        channels, clamp = config.channels[::-1], config.conv_clamp
        self.from_rgb = EqualConv(3, channels[0], 1, clamp=clamp)
        self.blocks = nn.ModuleList(
            _Block(a, b, residual=config.residual_discriminator, clamp=clamp) for a, b in zip(channels, channels[1:])
        )
        last = channels[-1]
        self.final_conv = EqualConv(last + 1, last, 3, clamp=clamp)
        self.hidden = EqualLinear(last * 16, last, activate=True)
        self.mapping = None
        if config.class_count:
            cmap_dim = config.cmap_dim or last
            self.mapping = Mapping(0, cmap_dim, config.discriminator_mapping_layers, 0.01, config.class_count)
            self.mapping.w_shift.requires_grad_(False)
        self.out = EqualLinear(last, self.mapping.w_shift.numel() if self.mapping else 1)

    def features(self, x: Tensor) -> list[Tensor]:
        """Images [B,3,R,R] -> activations [B,C,H,H] after each block, from R/2 down to 4 px, for perceptual losses."""
        size = self.config.resolution
        if x.ndim != 4 or x.shape[1:] != (3, size, size):
            raise ValueError(f"images have shape {tuple(x.shape)}, expected [B,3,{size},{size}]")
        x = self.from_rgb(x)
        activations = []
        for block in self.blocks:
            x = block(x)
            activations.append(x)
        return activations

    def forward(self, x: Tensor, labels: Tensor | None = None) -> Tensor:
        """Images [B,3,R,R] in -1..1, labels [B] or [B, class_count] of conditional models -> logits [B,1]."""
        x = self.features(x)[-1].to(self.out.bias.dtype)
        with full_precision(x):
            x = torch.cat([x, _minibatch_std(x, self.config.stddev_group)], dim=1)
            x = self.out(self.hidden(self.final_conv(x).flatten(1)))
        if self.mapping is not None:
            direction = self.mapping(None, labels)
            x = (x * direction).sum(dim=1, keepdim=True) / math.sqrt(direction.shape[1])
        return x


def _minibatch_std(x: Tensor, group: int) -> Tensor:
    """Minibatch standard deviation: [B,C,H,W] -> [B,1,H,W], the mean deviation over each sample's group.

    Groups have at most `group` samples and are strided as in the reference: sample i is with i + B/group. If the batch
    is no multiple of the group size, which the reference does not support, group sizes differ by one.
    """
    groups = math.ceil(len(x) / group)
    deviations = [(x[k::groups].var(dim=0, unbiased=False) + 1e-8).sqrt().mean() for k in range(groups)]
    group_of_sample = torch.arange(len(x), device=x.device) % groups
    return torch.stack(deviations)[group_of_sample][:, None, None, None].expand(-1, 1, *x.shape[2:])


@dataclass
class Details:
    """What a customised model keeps of its original: the w of the finer layers, which decide colours and textures."""

    first: int  # layers from this one on take the original's w
    mapping: Mapping  # the original's mapping network
    w_mean: Tensor  # [w_dim], the original's

    def styles(self, w: Tensor, z: Tensor, labels: Tensor | None, layers: int) -> Tensor:
        """w [B, w_dim] for the first layers, and the original's w of the same z for the others -> w+ [B, L, w_dim]."""
        original = self.mapping(z, labels)
        return torch.stack([w] * self.first + [original] * (layers - self.first), dim=1)

    def to(self, device: torch.device) -> Details:
        """A copy on the device."""
        return Details(self.first, copy.deepcopy(self.mapping).to(device), self.w_mean.to(device))


@dataclass
class GanModel:
    """A generator with its discriminator, its mean w, and what its file says about it."""

    generator: Generator  # with the averaged (EMA) weights
    discriminator: Discriminator | None  # None if the file has none
    config: GanConfig
    w_mean: Tensor  # [w_dim], the w that truncation moves towards (with `details`, in the layers before them)
    name: str = "model"  # for people
    base_hash: str = ""  # identifies the weights that a customised file belongs to
    metadata: dict[str, str] = field(default_factory=dict)  # training, licence and other text of the file
    details: Details | None = None

    def styles(self, z: Tensor, labels: Tensor | None = None) -> Tensor:
        """z [B, z_dim], labels as in `Generator.map` -> w [B, w_dim], or with `details` w+ [B, L, w_dim]."""
        w = self.generator.map(z, labels)
        return w if self.details is None else self.details.styles(w, z, labels, self.config.style_count)

    def style_means(self) -> Tensor:
        """What truncation moves towards: w [w_dim], or with `details` w+ [L, w_dim]."""
        if self.details is None:
            return self.w_mean
        means = self.w_mean.repeat(self.config.style_count, 1)
        means[self.details.first :] = self.details.w_mean
        return means

    def check_single_mapping(self) -> None:
        """Raises ValueError for a mixture in w, whose mapping networks can't be saved, trained or shifted as one."""
        if not isinstance(self.generator.mapping, Mapping):
            raise ValueError(
                f'"{self.name}" is mixed in w: it has several mapping networks, which can\'t be saved, trained or '
                'shifted as one; mix it in "weights" instead'
            )

    def check_one_w(self) -> None:
        """Raises ValueError for models that other formats can't hold: mixtures in w, and models with `details`."""
        self.check_single_mapping()
        if self.details is not None:
            raise ValueError(
                f'"{self.name}" takes the w of its finer layers from the original, which this format can\'t hold; save '
                "it as a customised model, or train with shape_resolution 0"
            )
