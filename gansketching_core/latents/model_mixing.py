"""Mixing models of one base: by their weights, or by their w."""

import copy
import math
from collections.abc import Sequence
from dataclasses import replace
from typing import Any, Literal, cast, get_args

import torch
from torch import Tensor, nn

from ..networks.stylegan2 import Details, GanModel, Generator
from .sampling import OnBatch, SampleConfig, render
from .spaces import Latents

MixMode = Literal["weights", "w"]


class WeightedMappings(nn.Module):
    """A weighted sum of the w of several mapping networks, for use in place of one."""

    def __init__(self, mappings: Sequence[nn.Module], weights: Sequence[float]):
        super().__init__()
        self.mappings = nn.ModuleList(mappings)
        self.weights = list(weights)

    @property
    def w_shift(self) -> Tensor:
        return _weighted_sum([cast(Tensor, mapping.w_shift) for mapping in self.mappings], self.weights)

    def forward(self, z: Tensor, labels: Tensor | None = None) -> Tensor:
        """z [B, z_dim], labels as in Mapping -> w [B, w_dim]."""
        return _weighted_sum([mapping(z, labels) for mapping in self.mappings], self.weights)


@torch.no_grad()
def compose_models(
    base: GanModel, customised: Sequence[GanModel], weights: Sequence[float], mode: MixMode = "weights"
) -> GanModel:
    """base + sum of weights[k] * (customised[k] - base): "half banana, half pear, minus apple".

    Weights may be negative or above 1. If one weight is 1 and the others are 0, the result is that model bit for bit,
    and if all are 0, the base. The mean w of the result is exact in mode "w"; in mode "weights" it is corrected for the
    non-linearity of the mapping network.

    Args:
        base: the model that the customised ones were made from, or one more customised version of it.
        mode: "weights" mixes the weights of all layers: one network, which can be saved. "w" runs every model's mapping
            network and mixes the w: exactly linear, but it can't be saved or trained, and takes longer with each model.

    Returns:
        A model with the discriminator of `base`. No model is changed.
    """
    if mode not in get_args(MixMode):
        raise ValueError(f'mixing mode "{mode}" is unknown; use "weights" or "w"')
    if len(customised) != len(weights):
        raise ValueError(f"{len(customised)} models and {len(weights)} weights given; give one weight for each model")
    for model, weight in zip(customised, weights):
        check_common_base(base, model)
        if not math.isfinite(weight):
            raise ValueError(f'the weight of "{model.name}" is {weight}; use a finite number, such as 0.5 or -1')
    shares = [(base, 1 - math.fsum(weights)), *zip(customised, weights)]
    shares = [(model, share) for model, share in shares if share != 0]
    models, numbers = [model for model, _ in shares], [share for _, share in shares]
    if numbers == [1]:
        return replace(models[0], discriminator=base.discriminator)
    mix = _mix_weights if mode == "weights" else _mix_w
    details = _common_details(models)
    generator, w_mean = mix(models, numbers)
    terms = [f"{'-' if share < 0 else '+'} {abs(share):g} {model.name}" for model, share in shares]
    name = " ".join(terms).removeprefix("+ ")
    if not bool(w_mean.isfinite().all()):
        raise ValueError(f'the mixture "{name}" has no finite numbers; use weights nearer to 0')
    metadata = {"mixed_from": name}
    return replace(base, generator=generator, w_mean=w_mean, name=name, metadata=metadata, details=details)


def interpolate_models(a: GanModel, b: GanModel, alpha: float, mode: MixMode = "weights") -> GanModel:
    """(1 - alpha) a + alpha b, where a and b share a base; alpha may be below 0 or above 1. See compose_models."""
    return compose_models(a, [b], [alpha], mode)


def render_between(
    a: GanModel,
    b: GanModel,
    latents: Latents,
    alphas: Sequence[float],
    config: SampleConfig = SampleConfig(),  # noqa: B008 (frozen)
    *,
    mode: MixMode = "weights",
    seed: int = 0,
    batch: int = 8,
    on_batch: OnBatch = lambda *_: None,
) -> Tensor:
    """Images [len(alphas) * N,3,R,R] of the same N latents z by models between a and b, which share a base.

    All images of the first alpha come first. Alpha 0 gives exactly the images of a, 1 those of b. Mode "weights" mixes
    all weights of the generators, "w" only their w: nearly the same, and faster. The rest is as in `render`; on_batch
    counts the images of all alphas.
    """
    if latents.space != "z":
        raise ValueError(f"models are mixed by the z latents that they share; these are {latents.space} latents")
    total = len(alphas) * len(latents)
    images = []
    for frame, alpha in enumerate(alphas):
        earlier = frame * len(latents)

        def report(done: int, _total: int, earlier: int = earlier) -> None:
            on_batch(earlier + done, total)

        model = interpolate_models(a, b, alpha, mode)
        images.append(render(model, latents, config, seed=seed, batch=batch, on_batch=report))
    return torch.cat(images)


def check_common_base(a: GanModel, b: GanModel) -> None:
    """Raises ValueError unless both models have the same synthesis network."""
    if a.config == b.config:
        if a.base_hash and a.base_hash == b.base_hash:
            return
        synthesis, other = a.generator.synthesis.state_dict(), b.generator.synthesis.state_dict()
        if all(torch.equal(tensor, other[name].to(tensor)) for name, tensor in synthesis.items()):
            return
    raise ValueError(
        f'"{a.name}" and "{b.name}" come from different base models and cannot be mixed; use models customised '
        "from one base, or a base and its customised versions"
    )


def _common_details(models: Sequence[GanModel]) -> Details | None:
    """What all of the models keep of their base, which may be one of them."""
    (details, *_) = [model.details for model in models if model.details] or [None]
    if details is None:
        return None
    original = details.mapping.state_dict()
    for model in models:
        own = {name: value.to(original[name]) for name, value in model.generator.mapping.state_dict().items()}
        is_base = model.details is None and all(torch.equal(own[name], value) for name, value in original.items())
        if not is_base and (model.details is None or model.details.first != details.first):
            raise ValueError(
                f'"{model.name}" was customised in other layers than the others, so that they can\'t be mixed; train '
                "them with the same shape_resolution"
            )
    return details


def _mix_weights(models: list[GanModel], shares: list[float]) -> tuple[Generator, Tensor]:
    """A generator with the weighted sum of all weights, and its mean w."""
    for model in models:
        model.check_single_mapping()
    generator = copy.deepcopy(models[0].generator)
    states = [model.generator.state_dict() for model in models]
    for name, tensor in generator.state_dict().items():
        tensor.copy_(_weighted_sum([state[name] for state in states], shares))
    w_mean = _weighted_sum([model.w_mean for model in models], shares)
    of_samples = _weighted_sum([model.generator.mean_w() for model in models], shares)
    return generator, w_mean + (generator.mean_w() - of_samples)


def _mix_w(models: list[GanModel], shares: list[float]) -> tuple[Generator, Tensor]:
    """A generator whose w is the weighted sum of those of the models, and its mean w."""
    generator = copy.deepcopy(models[0].generator)
    mappings = [copy.deepcopy(model.generator.mapping) for model in models]
    generator.mapping = cast(Any, WeightedMappings(mappings, shares))  # it takes a mapping network's place
    return generator, _weighted_sum([model.w_mean for model in models], shares)


def _weighted_sum(tensors: Sequence[Tensor], weights: Sequence[float]) -> Tensor:
    """On the device and in the type of the first tensor."""
    total = tensors[0] * weights[0]
    for tensor, weight in zip(tensors[1:], weights[1:]):
        total = total + weight * tensor.to(total)
    return total
