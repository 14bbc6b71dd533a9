"""Latents: where they come from, how they are combined, and images made of them.

z ~ N(0,1) is what a model and its customised versions share; w = map(z) is one style for all layers; w+ is a style for
each layer. All functions return new Latents and leave their arguments as they are.
"""

from __future__ import annotations

import copy
import math
from collections.abc import Callable, Sequence
from dataclasses import dataclass, replace
from pathlib import Path
from typing import Literal

import torch
from pydantic import BaseModel, ConfigDict, Field
from safetensors import SafetensorError, safe_open
from safetensors.torch import save_file
from torch import Tensor

from . import draws
from .checkpoints import atomic_write
from .metrics import chamfer
from .stylegan2 import GanModel

Space = Literal["z", "w", "w+"]
SPACES = ("z", "w", "w+")
OnBatch = Callable[[int, int], None]


@dataclass(frozen=True)
class Latents:
    """A batch of latents and the space they live in.

    data: z [N, z_dim], w [N, w_dim] or w+ [N, L, w_dim]. labels: [N] of integers or [N, class_count] of weights, for z
    of class-conditional models only: a w has its class built in.
    """

    space: Space
    data: Tensor
    labels: Tensor | None = None

    def __post_init__(self):
        if self.space not in SPACES:
            raise ValueError(f'latent space "{self.space}" is unknown; use "z", "w" or "w+"')
        if self.data.ndim != (3 if self.space == "w+" else 2):
            expected = "[N, layers, w_dim]" if self.space == "w+" else f"[N, {self.space}_dim]"
            raise ValueError(f"{self.space} latents have shape {tuple(self.data.shape)}, expected {expected}")
        if self.labels is not None:
            if self.space != "z":
                raise ValueError(f"{self.space} latents take no labels: their class is part of them")
            if len(self.labels) != len(self.data):
                raise ValueError(f"{len(self.labels)} labels given for {len(self.data)} latents")

    def __len__(self) -> int:
        return len(self.data)

    def __getitem__(self, index: int | slice | Sequence[int] | Tensor) -> Latents:
        """Some of the batch; a single index keeps a batch of one."""
        if isinstance(index, int):
            if not -len(self) <= index < len(self):
                raise IndexError(f"latent {index} of {len(self)}")
            index = slice(index, index + 1 or None)
        return Latents(self.space, self.data[index], None if self.labels is None else self.labels[index])


class SampleConfig(BaseModel):
    """How latents become images."""

    model_config = ConfigDict(frozen=True, extra="forbid")

    truncation: float = Field(
        1.0, ge=0.0, le=2.0, description="Below 1: more typical, less varied images. 0: the average image for all."
    )
    truncation_cutoff: int = Field(
        0, ge=0, le=18, description="Truncate only the first layers (shape), this many of them. 0: all layers."
    )
    noise: Literal["const", "random", "none"] = Field(
        "const", description="Fine texture: const is the same for all images, random differs, none is smooth."
    )


def sample_z(model: GanModel, count: int, seed: int = 0, labels: Tensor | Sequence[int] | int | None = None) -> Latents:
    """`count` latents z. Sample i depends on (seed, i) alone, so a larger count only appends.

    labels: for class-conditional models, one class for all or one a sample; None there: classes in turn.
    """
    if count < 1:
        raise ValueError(f"count is {count}; ask for at least one sample")
    z = torch.stack([torch.randn(model.config.z_dim, generator=draws.generator(seed, i)) for i in range(count)])
    classes = model.config.class_count
    if labels is None and classes:
        labels = [i % classes for i in range(count)]
    if labels is not None:
        if not classes:
            raise ValueError(f'labels are given, but the model "{model.name}" has no classes; leave them out')
        labels = torch.as_tensor(labels).to(model.w_mean.device)
        labels = labels.expand(count) if labels.ndim == 0 else labels
    return Latents("z", z.to(model.w_mean), labels)


# ------------------------------------------------------------------------------------------------------------ spaces


def _fitting(model: GanModel, latents: Latents) -> Tensor:
    """latents.data on the model's device and in its type, once its shape is known to fit the model."""
    config = model.config
    expected = {"z": (config.z_dim,), "w": (config.w_dim,), "w+": (config.style_count, config.w_dim)}[latents.space]
    if latents.data.shape[1:] != expected:
        raise ValueError(
            f'{latents.space} latents of shape {tuple(latents.data.shape[1:])} do not fit the model "{model.name}", '
            f"which takes {expected}; use latents made with this model or a customised version of it"
        )
    return latents.data.to(model.w_mean)


@torch.no_grad()
def to_w(model: GanModel, latents: Latents) -> Latents:
    """z -> w through the model's mapping network; w stays."""
    data = _fitting(model, latents)
    if latents.space == "w+":
        raise ValueError("w+ latents differ from layer to layer and can't be turned into w; keep them as w+")
    if latents.space == "w":
        return Latents("w", data)
    labels = None if latents.labels is None else latents.labels.to(data.device)
    return Latents("w", model.generator.map(data, labels))


def to_w_plus(model: GanModel, latents: Latents) -> Latents:
    """z or w -> w+ with equal styles in all layers; w+ stays."""
    if latents.space == "w+":
        return Latents("w+", _fitting(model, latents))
    w = to_w(model, latents).data
    return Latents("w+", w[:, None].expand(-1, model.config.style_count, -1))


def truncate(model: GanModel, latents: Latents, psi: float, cutoff: int = 0) -> Latents:
    """w_mean + psi (w - w_mean), in the first `cutoff` layers (0: all) -> w, or w+ where layers differ."""
    count = model.config.style_count
    if not 0 <= cutoff <= count:
        raise ValueError(f'truncation cutoff {cutoff}: the model "{model.name}" has {count} layers; use 0 to {count}')
    if psi == 1:
        return to_w_plus(model, latents) if latents.space == "w+" else to_w(model, latents)
    if latents.space != "w+" and cutoff in (0, count):
        w = to_w(model, latents)
        return Latents("w", model.w_mean.lerp(w.data, psi))
    ws = to_w_plus(model, latents).data.clone()
    layers = slice(0, cutoff or count)
    ws[:, layers] = model.w_mean.lerp(ws[:, layers], psi)
    return Latents("w+", ws)


def layer_range(model: GanModel, first: int = 0, last: int | None = None) -> slice:
    """Layers first..last, both included (None: to the end), as a slice; refuses layers the model has not."""
    count = model.config.style_count
    last = count - 1 if last is None else last
    if not 0 <= first <= last < count:
        raise ValueError(
            f'layers {first} to {last}: the model "{model.name}" has layers 0 to {count - 1}, give a range within them'
        )
    return slice(first, last + 1)


# ------------------------------------------------------------------------------------------------------------ images


@torch.no_grad()
def render(
    model: GanModel,
    latents: Latents,
    config: SampleConfig = SampleConfig(),  # noqa: B008 (frozen)
    *,
    seed: int = 0,
    batch: int = 8,
    on_batch: OnBatch | None = None,
) -> Tensor:
    """Images [N,3,R,R] in about -1..1 (not clipped), on the model's device.

    seed: of random noise; sample i's noise depends on (seed, i), so that the batch size changes nothing. on_batch is
    called with (images done, images in all) after each batch and may raise to stop.
    """
    if batch < 1:
        raise ValueError(f"batch is {batch}; use 1 or more")
    synthesis, images = model.generator.synthesis, []
    for start in range(0, len(latents), batch):
        part = truncate(model, latents[start : start + batch], config.truncation, config.truncation_cutoff)
        noise = config.noise
        if noise == "random":
            maps = [synthesis.draw_noise(1, "random", draws.generator(seed, start + i, 1)) for i in range(len(part))]
            noise = [torch.cat(layer) for layer in zip(*maps)]
        images.append(model.generator.synthesize(part.data, noise=noise))
        if on_batch is not None:
            on_batch(min(start + batch, len(latents)), len(latents))
    return torch.cat(images)


# ------------------------------------------------------------------------------------------------------ combinations


def join(parts: Sequence[Latents]) -> Latents:
    """One batch of several. All in the same space."""
    if not parts:
        raise ValueError("there are no latents to join")
    spaces = sorted({part.space for part in parts})
    shapes = sorted({tuple(part.data.shape[1:]) for part in parts})
    if len(spaces) > 1 or len(shapes) > 1:
        raise ValueError(
            f"can't join latents of spaces {', '.join(spaces)} and shapes {shapes}; bring them to one space first"
        )
    labels = [part.labels for part in parts]
    if any(label is None for label in labels) != all(label is None for label in labels):
        raise ValueError("some of the latents to join have labels and some have none")
    return Latents(
        parts[0].space,
        torch.cat([part.data.to(parts[0].data) for part in parts]),
        None if labels[0] is None else torch.cat([label.to(labels[0].device) for label in labels]),
    )


def split(latents: Latents) -> list[Latents]:
    """Batches of one."""
    return [latents[i] for i in range(len(latents))]


def _pair(a: Latents, b: Latents, t: float | Tensor) -> tuple[Tensor, Tensor, Tensor, Tensor | None]:
    """Data of both, t shaped to multiply them, and their common labels."""
    if a.space != b.space or a.data.shape[1:] != b.data.shape[1:]:
        raise ValueError(
            f"can't interpolate between {a.space} {tuple(a.data.shape)} and {b.space} {tuple(b.data.shape)}; "
            "bring both to one space first"
        )
    same = (a.labels is None) == (b.labels is None) and (a.labels is None or bool((a.labels == b.labels).all()))
    if not same:
        raise ValueError("can't interpolate between z of different classes; turn them into w first")
    t = torch.as_tensor(t, dtype=a.data.dtype, device=a.data.device)
    labels = a.labels if a.labels is None or len(a) >= len(b) else b.labels
    return a.data, b.data.to(a.data), t.reshape(-1, *[1] * (a.data.ndim - 1)), labels


def lerp(a: Latents, b: Latents, t: float | Tensor) -> Latents:
    """Straight line from a (t = 0) to b (t = 1) and beyond; t one number or one for each sample [N]."""
    first, second, t, labels = _pair(a, b, t)
    return Latents(a.space, torch.lerp(first, second, t), labels)


def slerp(a: Latents, b: Latents, t: float | Tensor) -> Latents:
    """Great circle from a to b, for z: the norm goes evenly from one's to the other's, so that it stays typical."""
    if a.space != "z":
        raise ValueError(f"slerp follows the sphere on which z lies; use lerp for {a.space} latents")
    first, second, t, labels = _pair(a, b, t)
    norms = [x.norm(dim=1, keepdim=True) for x in (first, second)]
    if any(bool((norm == 0).any()) for norm in norms):
        raise ValueError("a latent of norm 0 has no direction; use lerp")
    cosine = (first / norms[0] * (second / norms[1])).sum(dim=1, keepdim=True).clamp(-1, 1)
    if bool((cosine < -1 + 1e-6).any()):
        raise ValueError("two of the latents are exact opposites, with no shortest way; put another one between them")
    angle = cosine.acos()
    near = angle < 1e-3  # on so small an arc a straight line is the same, and sin(angle) no divisor
    safe = torch.where(near, torch.ones_like(angle), angle)
    weights = [torch.where(near, s, (s * safe).sin() / safe.sin()) for s in (1 - t, t)]
    norm = torch.lerp(*norms, t)
    return Latents("z", weights[0] * (norm / norms[0]) * first + weights[1] * (norm / norms[1]) * second, labels)


def walk(keys: Latents, frames: int, *, loop: bool = False, mode: Literal["auto", "lerp", "slerp"] = "auto") -> Latents:
    """`frames` latents through all `keys` in order, evenly spaced.

    Without loop the first and last frame are the first and last key; with loop the way returns to the first key, and
    the last frame is the one before it, so that the film repeats seamlessly. auto: slerp for z, lerp for w and w+.
    """
    count = len(keys)
    if count < 2:
        raise ValueError(f"a walk needs at least two latents, {count} given")
    if frames < 1:
        raise ValueError(f"frames is {frames}; use 1 or more")
    legs = count if loop else count - 1
    steps = frames if loop else max(frames - 1, 1)
    position = [i * legs / steps for i in range(frames)]
    leg = [min(math.floor(p), legs - 1) for p in position]
    t = torch.tensor([p - k for p, k in zip(position, leg)])
    between = slerp if mode == "slerp" or (mode == "auto" and keys.space == "z") else lerp
    return between(keys[leg], keys[[(k + 1) % count for k in leg]], t)


def style_mix(model: GanModel, base: Latents, styles: Latents, first: int = 0, last: int | None = None) -> Latents:
    """w+ of `base` with layers first..last (both included) taken from `styles` (as many samples, or one for all).

    Early layers carry pose and shape, late ones colour and texture.
    """
    layers = layer_range(model, first, last)
    if len(styles) not in (1, len(base)):
        raise ValueError(f"{len(styles)} styles given for {len(base)} latents; give as many, or one for all")
    mixed = to_w_plus(model, base).data.clone()
    mixed[:, layers] = to_w_plus(model, styles).data[:, layers]
    return Latents("w+", mixed)


# ------------------------------------------------------------------------------------------------------------- files


def save_latents(latents: Latents, path: str | Path) -> None:
    """Writes a .safetensors file."""
    tensors = {"latents": latents.data, "labels": latents.labels}
    tensors = {name: tensor.cpu().contiguous() for name, tensor in tensors.items() if tensor is not None}
    metadata = {"kind": "gansketching latents", "space": latents.space}
    atomic_write(Path(path), lambda partial: save_file(tensors, partial, metadata=metadata))


def load_latents(path: str | Path) -> Latents:
    """Reads what save_latents wrote; ValueError for anything else."""
    try:
        with safe_open(path, "pt") as file:
            space = (file.metadata() or {}).get("space")
            tensors = {name: file.get_tensor(name) for name in ("latents", "labels") if name in file.keys()}  # noqa: SIM118
    except SafetensorError as error:
        raise ValueError(f"{path} is not a readable safetensors file: {error}") from error
    if "latents" not in tensors or space is None:
        raise ValueError(f"{path} holds no latents; give a file written by saving latents")
    data, labels = tensors["latents"], tensors.get("labels")
    if not data.is_floating_point() or not data.numel() or not bool(data.isfinite().all()):
        raise ValueError(f"{path} is damaged: its latents are empty or not finite numbers")
    try:
        return Latents(space, data.float(), labels)
    except ValueError as error:
        raise ValueError(f"{path} is damaged: {error}") from error


# ------------------------------------------------------------------------------------------------------------ models


def _check_common_base(a: GanModel, b: GanModel) -> None:
    known = a.base_hash and a.base_hash == b.base_hash
    ours, theirs = a.generator.synthesis.state_dict(), b.generator.synthesis.state_dict()
    if a.config != b.config or not (known or all(torch.equal(ours[k], theirs[k].to(ours[k])) for k in ours)):
        raise ValueError(
            f'"{a.name}" and "{b.name}" come from different base models and cannot be mixed; use two models customised '
            "from one base, or a base and its customised version"
        )


@torch.no_grad()
def interpolate_models(a: GanModel, b: GanModel, alpha: float) -> GanModel:
    """The model with weights (1 - alpha) a + alpha b: a at 0, b at 1, beyond both outside. Chain it for more models.

    Both must share a base. The result's w_mean is a's and b's mixed likewise, plus what the non-linear mapping network
    adds between them. It keeps a's discriminator.
    """
    _check_common_base(a, b)
    generator = copy.deepcopy(a.generator)
    theirs = b.generator.state_dict()
    for name, tensor in generator.state_dict().items():
        tensor.lerp_(theirs[name].to(tensor), alpha)
    bend = generator.mean_w() - a.generator.mean_w().lerp(b.generator.mean_w().to(a.w_mean), alpha)
    w_mean = a.w_mean.lerp(b.w_mean.to(a.w_mean), alpha) + bend
    name = f"{1 - alpha:g} {a.name} + {alpha:g} {b.name}"
    return replace(a, generator=generator, w_mean=w_mean, name=name, metadata={"mixed_from": name})


def mix_w(a: GanModel, b: GanModel, latents: Latents, alpha: float, psi: float = 1.0, cutoff: int = 0) -> Latents:
    """(1 - alpha) w_a + alpha w_b of the same z, each truncated in its own model; to be rendered by either one."""
    _check_common_base(a, b)
    if latents.space != "z":
        raise ValueError(f"models are mixed from z latents, which they share; these are {latents.space} latents")
    return lerp(truncate(a, latents, psi, cutoff), truncate(b, latents, psi, cutoff), alpha)


def render_between(
    a: GanModel,
    b: GanModel,
    latents: Latents,
    alphas: float | Sequence[float],
    config: SampleConfig = SampleConfig(),  # noqa: B008 (frozen)
    *,
    mode: Literal["weights", "w"] = "weights",
    seed: int = 0,
    batch: int = 8,
    on_batch: OnBatch | None = None,
) -> Tensor:
    """The same latents z seen through models between a and b -> images [len(alphas) * N,3,R,R], alpha by alpha.

    mode "weights" mixes the networks, "w" only what they make of z: about alike in the middle, "w" is faster. At 0 and
    1 both give exactly the images of a and b.
    """
    if mode not in ("weights", "w"):
        raise ValueError(f'interpolation mode "{mode}" is unknown; use "weights" or "w"')
    alphas = [alphas] if isinstance(alphas, int | float) else list(alphas)
    images, total = [], len(alphas) * len(latents)
    for frame, alpha in enumerate(alphas):
        report = None if on_batch is None else lambda done, _, k=frame: on_batch(k * len(latents) + done, total)
        options = {"seed": seed, "batch": batch, "on_batch": report}
        if mode == "weights":
            images.append(render(interpolate_models(a, b, alpha), latents, config, **options))
        else:
            mixed = mix_w(a, b, latents, alpha, config.truncation, config.truncation_cutoff)
            images.append(render(a, mixed, SampleConfig(noise=config.noise), **options))
    return torch.cat(images)


@torch.no_grad()
def shift_towards(
    model: GanModel,
    sketches: Tensor,
    photosketch: Callable[[Tensor], Tensor],
    *,
    pool: int = 512,
    nearest: int = 16,
    per_sketch: bool = False,
    strength: float = 1.0,
    spread: float = 1.0,
    seed: int = 0,
    label: int | None = None,
    batch: int = 16,
    distance: Callable[[Tensor, Tensor], Tensor] = chamfer,
    on_batch: OnBatch | None = None,
) -> GanModel:
    """A copy of `model` whose w are shifted towards samples that look like the sketches: instant, without training.

    sketches [M,1,R,R] in -1..1, paper +1. Of `pool` samples the `nearest` to the sketches by `distance` of their
    drawings, [N,1,R,R] and [M,1,R,R] -> [N,M], are averaged; the shift is `strength` times the way from w_mean to
    there. This is the vector arithmetic baseline of "Sketch Your Own GAN".
    per_sketch: all sketches count (ours): the samples nearest to each are averaged, `nearest` in all but at least two
    each, so that sketches which samples easily meet don't stand for the others.
    spread: below 1, all w also move together, to that share of their distances (ours; the paper has 1): nearer to the
    sketches and less varied. It is exact, and costs nothing: the mapping network's last layer is scaled.
    label: the class, for class-conditional models.
    """
    if not 1 <= nearest <= pool:
        raise ValueError(f"nearest is {nearest}; use 1 to {pool}, the size of the pool")
    if not 0 < spread <= 1:
        raise ValueError(f"spread is {spread}; use more than 0, at most 1")
    w = to_w(model, sample_z(model, pool, seed, label))
    images = render(model, w, batch=batch, on_batch=on_batch)
    drawings = torch.cat([photosketch(part.clamp(-1, 1)) for part in images.split(batch)])
    distances = distance(drawings, sketches)
    if per_sketch:
        each = min(pool, max(2, math.ceil(nearest / len(sketches))))
        best = distances.topk(each, dim=0, largest=False).indices.unique()
    else:
        best = distances.min(dim=1).values.argsort()[:nearest]
    shift = strength * (w.data[best.to(w.data.device)].mean(dim=0) - model.w_mean)
    generator = copy.deepcopy(model.generator)
    mapping, last = generator.mapping, generator.mapping.layers[-1]
    last.weight *= spread  # leaky ReLU lets a positive factor pass
    last.bias *= spread
    mapping.w_shift += shift + (1 - spread) * (model.w_mean - mapping.w_shift)
    return replace(model, generator=generator, w_mean=model.w_mean + shift, name=f"{model.name} shifted")
