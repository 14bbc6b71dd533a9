"""Gradient descent on latents, as in StyleGAN2's projector (Karras et al., CVPR 2020, appendix D)."""

from __future__ import annotations

import math
from collections.abc import Callable, Iterator
from typing import Literal

import torch
import torch.nn.functional as F
from pydantic import BaseModel, ConfigDict, Field
from torch import Tensor

from ..latents.sampling import sample_z
from ..latents.spaces import Latents, to_w, to_w_plus
from ..networks.stylegan2 import GanModel
from ..random_streams import stream

Score = Callable[[Tensor, slice], tuple[Tensor, Tensor]]


class DescentConfig(BaseModel):
    """Gradient descent on latents, from the best of a random pool."""

    model_config = ConfigDict(frozen=True, extra="forbid")

    space: Literal["z", "w", "w+"] = Field(
        "z",
        description="z: shared with customised models. w: nearer to the image. w+: nearest, a style for each layer.",
    )
    steps: int = Field(200, ge=1, le=10_000, description="Descent steps.")
    learning_rate: float = Field(0.1, gt=0, le=10, description="Largest step, in standard deviations of the latents.")
    ramp_up: float = Field(0.05, ge=0, le=1, description="Share of the steps in which the learning rate rises.")
    ramp_down: float = Field(0.25, ge=0, le=1, description="Share of the steps in which the learning rate falls.")
    latent_noise: float = Field(
        0.05, ge=0, le=2, description="Random moves at the start, in standard deviations, to leave poor solutions."
    )
    pool: int = Field(512, ge=1, le=100_000, description="Random samples to look among for the starts.")
    batch: int = Field(16, ge=1, le=256, description="Images in memory at a time.")
    seed: int = Field(0, ge=0, le=2**64 - 1, description="Of the random pool and moves.")


class Descent:
    """Adam on B latents side by side, each with its own loss. Keeps the best of each.

    score(images [b,3,R,R], rows) -> losses [b] to descend, measures [b] to choose by (without gradients). `best`:
    latents [B,...] and noise maps of the smallest `measure` [B] so far, `images` what they give.
    """

    def __init__(self, model: GanModel, start: Latents, config: DescentConfig, *, noise: str = "const"):
        self.model, self.config, self.space, self.labels = model, config, start.space, start.labels
        self.spread = spread(model, start.space)
        self.x = start.data.detach().clone().requires_grad_()
        self.noise: str | list[Tensor] = noise
        self.parameters = [self.x]
        if noise == "fitted":
            rng = stream(config.seed, "fitted noise", 0)
            maps = model.generator.synthesis.noise_maps(len(start), "random", rng)
            self.noise = [noise_map.requires_grad_() for noise_map in maps]
            self.parameters += self.noise
        self.adam = torch.optim.Adam(self.parameters, betas=(0.9, 0.999), eps=1e-8)
        self.done = 0
        self.measure = torch.full((len(start),), math.inf, device=self.x.device)
        self.best = [parameter.detach().clone() for parameter in self.parameters]
        size = model.config.resolution
        self.images = torch.zeros(len(start), 3, size, size).to(self.x)

    def step(self, score: Score, poll: Callable[[], None], noise_weight: float = 0.0) -> None:
        config, at = self.config, self.done / self.config.steps
        rate = 0.5 - 0.5 * math.cos(math.pi * min(1, (1 - at) / config.ramp_down if config.ramp_down else 1))
        rate *= min(1, (self.done + 1) / (config.ramp_up * config.steps) if config.ramp_up else 1)
        self.adam.param_groups[0]["lr"] = config.learning_rate * self.spread * rate
        jitter = config.latent_noise * self.spread * max(0, 1 - at / 0.75) ** 2
        moves = jitter * torch.randn(self.x.shape, generator=stream(config.seed, "latent jitter", self.done)).to(self.x)
        self.adam.zero_grad()
        for start in range(0, len(self.x), config.batch):
            poll()
            self._evaluate(slice(start, start + config.batch), moves, score, noise_weight)
        self.adam.step()
        with torch.no_grad():
            self._constrain()
        self.done += 1

    @torch.enable_grad()
    def _evaluate(self, rows: slice, moves: Tensor, score: Score, noise_weight: float) -> None:
        """Adds up the gradients of some rows, and keeps what is better than before."""
        tried = self.x[rows] + moves[rows]
        if self.space == "z":
            tried = on_sphere(tried)
        noise = self.noise if isinstance(self.noise, str) else [noise_map[rows] for noise_map in self.noise]
        labels = None if self.labels is None else self.labels[rows]
        w = self.model.generator.map(tried, labels) if self.space == "z" else tried
        images = self.model.generator.synthesize(w, noise=noise)
        losses, measure = score(images, rows)
        fitted = [] if isinstance(noise, str) else noise
        if fitted:
            losses = losses + noise_weight * noise_penalty(fitted)
        torch.autograd.backward(losses.sum(), inputs=self.parameters)
        better = measure < self.measure[rows]
        for kept, new in zip([self.measure, self.images, *self.best], [measure, images, tried, *fitted]):
            kept[rows][better] = new.detach()[better]

    def _constrain(self) -> None:
        """z stays on the sphere, fitted noise keeps mean 0 and deviation 1."""
        if self.space == "z":
            self.x.copy_(on_sphere(self.x))
        for noise in self.parameters[1:]:
            noise -= noise.mean(dim=(2, 3), keepdim=True)
            noise *= noise.square().mean(dim=(2, 3), keepdim=True).rsqrt()

    @property
    def finished(self) -> bool:
        return self.done >= self.config.steps


def on_sphere(z: Tensor) -> Tensor:
    """z [B, z_dim] at norm sqrt(z_dim), near which almost all samples of the prior are."""
    return z * (math.sqrt(z.shape[1]) / z.norm(dim=1, keepdim=True))


def spread(model: GanModel, space: str) -> float:
    """Standard deviation of the numbers of z, or of w about their means."""
    if space == "z":
        return 1.0
    return float((to_w(model, sample_z(model, 4096)).data - model.w_mean).square().mean().sqrt())


def noise_penalty(maps: list[Tensor]) -> Tensor:
    """How far noise maps [B,1,s,s] are from white noise -> [B]: correlation of neighbours, at all scales down to 8 px.

    StyleGAN2's noise regularisation, each sample by itself.
    """
    total = maps[0].new_zeros(len(maps[0]))
    for noise in maps:
        for _ in range(max(1, int(math.log2(noise.shape[-1])) - 2)):
            for axis in (2, 3):
                total = total + (noise * noise.roll(1, axis)).mean(dim=(1, 2, 3)).square()
            noise = F.avg_pool2d(noise, 2) * 2
    return total


def in_space(model: GanModel, z: Latents, space: str) -> Latents:
    """z latents as z, w or w+."""
    if space == "z":
        return z
    return to_w(model, z) if space == "w" else to_w_plus(model, z)


@torch.no_grad()
def pool(model: GanModel, z: Latents, batch: int, poll: Callable[[], None]) -> Iterator[tuple[slice, Tensor]]:
    """Images of many z, some rows at a time."""
    for start in range(0, len(z), batch):
        poll()
        rows = slice(start, start + batch)
        yield rows, model.generator.synthesize(to_w(model, z[rows]).data, noise="const")
