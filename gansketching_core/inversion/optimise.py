"""Optimisation of latents by gradient descent, as in StyleGAN2's projector (Karras et al., CVPR 2020, appendix D)."""

import math
import warnings
from collections.abc import Callable
from importlib import import_module
from types import ModuleType
from typing import Literal

import torch
import torch.nn.functional as F
from einops import reduce
from torch import Tensor

from ..latents.sampling import sample_z
from ..latents.spaces import Latents, Space, to_w
from ..networks.stylegan2 import GanModel, Noise
from ..options import Options, option
from ..random_streams import stream

# Images [b,3,R,R] and their rows among the latents -> losses [b] to minimise, scores [b] to choose the best state by.
Criterion = Callable[[Tensor, slice], tuple[Tensor, Tensor]]
SearchNoise = Literal["const", "none", "fitted"]


class OptimiserConfig(Options):
    """Gradient descent on latents that starts from the best of many random samples."""

    space: Space = option(
        "z", "z: shared with customised models. w: more exact. w+: most exact, a style for each layer."
    )
    steps: int = option(200, "Optimisation steps.", ge=1, le=10_000)
    learning_rate: float = option(0.1, "Largest step in standard deviations of latents.", gt=0, le=10, advanced=True)
    ramp_up: float = option(0.05, "Share of the steps with a rising learning rate.", ge=0, le=1)
    ramp_down: float = option(0.25, "Share of the steps with a falling learning rate.", ge=0, le=1)
    latent_noise: float = option(0.05, "Noise added to the latents in early steps, in standard deviations.", ge=0, le=2)
    pool: int = option(512, "Random samples to choose starting points from.", ge=1, le=100_000, advanced=True)
    batch: int = option(16, "Images in memory at a time.", ge=1, le=256)
    seed: int = option(0, "Seed of the random samples and noise.", ge=0, le=2**64 - 1)


class LatentOptimiser:
    """Adam on B latents at once, each with its own loss.

    The state with the lowest score so far is kept for each: `best` latents [B,...], `best_score` [B], `best_images`
    [B,3,R,R] and, for noise "fitted", `best_noise` maps [B,1,s,s] of each layer.
    """

    def __init__(self, model: GanModel, start: Latents, config: OptimiserConfig, *, noise: SearchNoise = "const"):
        self.model, self.config = model, config
        self.noise: Noise = "const" if noise == "fitted" else noise
        self.std = latent_std(model, start.space)
        self.steps_done = 0
        self.data = start.data.detach().clone().requires_grad_()
        self.noise_maps: list[Tensor] = []
        if noise == "fitted":
            rng = stream(config.seed, "fitted noise", 0)
            maps = model.generator.synthesis.noise_maps(len(start), "random", rng)
            self.noise_maps = [noise_map.requires_grad_() for noise_map in maps]
        self.parameters = [self.data, *self.noise_maps]
        self.adam = torch.optim.Adam(self.parameters, betas=(0.9, 0.999), eps=1e-8)
        size = model.config.resolution
        self.best = Latents(start.space, start.data.detach().clone(), start.labels)
        self.best_score = torch.full((len(start),), math.inf, device=self.data.device)
        self.best_images = torch.zeros(len(start), 3, size, size).to(self.data)
        self.best_noise = [noise_map.detach().clone() for noise_map in self.noise_maps]

    @property
    def finished(self) -> bool:
        return self.steps_done >= self.config.steps

    def step(self, criterion: Criterion, poll: Callable[[], None], noise_weight: float = 0.0) -> None:
        """One step of all latents. poll is called before each batch; if it raises, the best state remains valid.

        noise_weight: of the penalty that keeps fitted noise maps random.
        """
        config = self.config
        progress = self.steps_done / config.steps
        self.adam.param_groups[0]["lr"] = config.learning_rate * self.std * self._learning_rate_factor(progress)
        jitter_std = config.latent_noise * self.std * max(0, 1 - progress / 0.75) ** 2
        rng = stream(config.seed, "latent jitter", self.steps_done)
        jitter = jitter_std * torch.randn(self.data.shape, generator=rng).to(self.data)
        self.adam.zero_grad()
        for start in range(0, len(self.data), config.batch):
            poll()
            self._accumulate_gradients(slice(start, start + config.batch), jitter, criterion, noise_weight)
        self.adam.step()
        self._constrain()
        self.steps_done += 1

    def _learning_rate_factor(self, progress: float) -> float:
        """Linear ramp up, then constant, then a cosine to 0."""
        config = self.config
        down = min(1, (1 - progress) / config.ramp_down) if config.ramp_down else 1
        up = min(1, (self.steps_done + 1) / (config.ramp_up * config.steps)) if config.ramp_up else 1
        return (0.5 - 0.5 * math.cos(math.pi * down)) * up

    @torch.enable_grad()
    def _accumulate_gradients(self, rows: slice, jitter: Tensor, criterion: Criterion, noise_weight: float) -> None:
        """Adds the gradients of some rows, and keeps their state where it is the best so far."""
        generator, space, labels = self.model.generator, self.best.space, self.best.labels
        w = latents = self.data[rows] + jitter[rows]
        if space == "z":
            latents = on_sphere(latents)
            w = self.model.styles(latents, None if labels is None else labels[rows])
        noise_maps = [noise_map[rows] for noise_map in self.noise_maps]
        images = generator.synthesize(w, noise=noise_maps or self.noise)
        losses, scores = criterion(images, rows)
        if noise_maps:
            losses = losses + noise_weight * noise_penalty(noise_maps)
        torch.autograd.backward(losses.sum(), inputs=self.parameters)
        better = scores < self.best_score[rows]
        best = [self.best_score, self.best_images, self.best.data, *self.best_noise]
        for kept, new in zip(best, [scores, images, latents, *noise_maps]):
            kept[rows][better] = new.detach()[better]

    @torch.no_grad()
    def _constrain(self) -> None:
        """Puts z back on the sphere, and fitted noise back to mean 0 and standard deviation 1."""
        if self.best.space == "z":
            self.data.copy_(on_sphere(self.data))
        for noise_map in self.noise_maps:
            noise_map -= noise_map.mean(dim=(2, 3), keepdim=True)
            noise_map *= noise_map.square().mean(dim=(2, 3), keepdim=True).rsqrt()


def on_sphere(z: Tensor) -> Tensor:
    """z [B, z_dim] scaled to norm sqrt(z_dim), near which almost all of N(0,1) lies."""
    return z * (math.sqrt(z.shape[1]) / z.norm(dim=1, keepdim=True))


def latent_std(model: GanModel, space: Space) -> float:
    """Standard deviation of the elements of z, or of w (also in w+) about their means."""
    if space == "z":
        return 1.0
    return float((to_w(model, sample_z(model, 4096)).data - model.w_mean).square().mean().sqrt())


def noise_penalty(maps: list[Tensor]) -> Tensor:
    """StyleGAN2's regularisation of the noise maps [B,1,s,s] of each layer -> [B]: squared correlation of neighbours.

    Each map is also halved in size again and again, down to 8 px.
    """
    total = maps[0].new_zeros(len(maps[0]))
    for noise in maps:
        for _ in range(max(1, int(math.log2(noise.shape[-1])) - 2)):
            for axis in (2, 3):
                correlation = reduce(noise * noise.roll(1, axis), "b 1 h w -> b", "mean")
                total = total + correlation.square()
            noise = F.avg_pool2d(noise, 2) * 2
    return total


def import_optional(package: str, option: str) -> ModuleType:
    """A package that one option needs. Raises ValueError if it is not installed."""
    try:
        with warnings.catch_warnings():
            warnings.simplefilter("ignore")  # of matplotlib, which cma would need to plot
            return import_module(package)
    except ImportError as error:
        raise ValueError(f"{option} needs the package {package}: pip install {package}, or set it to 0") from error
