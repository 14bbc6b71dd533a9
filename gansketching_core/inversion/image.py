"""Projection: latents of a model whose image looks like a given one."""

import math
from collections.abc import Callable
from dataclasses import dataclass

import torch
from einops import rearrange
from torch import Tensor

from ..evaluation.metrics import psnr
from ..latents.sampling import render_batches, sample_z
from ..latents.spaces import Latents, to_space
from ..networks.stylegan2 import GanModel
from ..options import option
from .cma_es import CmaEs
from .optimise import LatentOptimiser, OptimiserConfig, SearchNoise, import_optional, latent_std


class ProjectConfig(OptimiserConfig):
    """How an image is projected."""

    starts: int = option(4, "Starting points for each image; the best result counts.", ge=1, le=64)
    pixel_weight: float = option(1.0, "Weight of the squared difference of pixels.", ge=0, le=100, advanced=True)
    perceptual_weight: float = option(
        0.1, "Weight of the difference of features of the model's discriminator.", ge=0, le=100, advanced=True
    )
    lpips_weight: float = option(0.0, "Weight of LPIPS; needs the package lpips.", ge=0, le=100, advanced=True)
    noise: SearchNoise = option(
        "const", "Fine texture: the model's own, none, or noise maps fitted to the image.", advanced=True
    )
    noise_weight: float = option(1.0, "Weight of the penalty that keeps fitted noise maps random.", ge=0, le=1000)
    generations: int = option(
        0, "CMA-ES generations first, for hard images; needs the package cma.", ge=0, le=1000, advanced=True
    )
    generation_steps: int = option(10, "Optimisation steps of each CMA-ES candidate.", ge=1, le=1000)


@dataclass(frozen=True)
class Projection:
    """Latents and their images [N,3,R,R]; loss [N]; psnr [N] in dB, inside the mask; noise maps, if fitted."""

    latents: Latents
    images: Tensor
    loss: Tensor
    psnr: Tensor
    noise: list[Tensor]


class Projector:
    """Searches latents for images [N,3,R,R] in -1..1, step by step. The model is not changed.

    Features of its discriminator, if it has one, are part of the loss. Pixels count where the mask [N or 1,1,R,R] in
    0..1 is 1. Without a label, class-conditional models use the classes of the best random samples. `poll` is called
    several times within a step and may raise to stop; result() then still has the best so far.
    """

    def __init__(
        self,
        model: GanModel,
        images: Tensor,
        config: ProjectConfig = ProjectConfig(),  # noqa: B008 (frozen)
        *,
        mask: Tensor | None = None,
        label: int | None = None,
    ):
        size = model.config.resolution
        if images.ndim != 4 or images.shape[1:] != (3, size, size) or not len(images):
            expected = f'the model "{model.name}" makes [N,3,{size},{size}]; resize the images first'
            raise ValueError(f"images have shape {tuple(images.shape)}, {expected}")
        if config.starts > config.pool:
            raise ValueError(f"{config.starts} starts can't be chosen from a pool of {config.pool}; enlarge the pool")
        if config.generations:
            import_optional("cma", "generations")  # so that a missing package is reported at once
        self.model, self.config, self.label = model, config, label
        self.targets = images.to(model.w_mean).clamp(-1, 1)
        self.mask = None if mask is None else _checked_mask(mask, self.targets)
        self.poll: Callable[[], None] = lambda: None
        self.steps_done = 0
        self.steps_total = config.generations * config.generation_steps + config.steps
        self._lpips = None
        if config.lpips_weight:
            lpips = import_optional("lpips", "lpips_weight").LPIPS(net="vgg", verbose=False)
            self._lpips = lpips.to(model.w_mean.device).requires_grad_(False)
        with torch.no_grad():
            self._target_features = self._embed(self.targets)
        self._cma_es: CmaEs | None = None
        self._optimiser: LatentOptimiser | None = None
        self._best: Projection | None = None

    @property
    def finished(self) -> bool:
        return self.steps_done >= self.steps_total

    def step(self) -> dict[str, float]:
        """One step of all images and starts, which the first chooses. -> medians of the best's loss and psnr (dB)."""
        if self.finished:
            raise ValueError(f"all {self.steps_total} steps are done")
        if self._optimiser is None or self._optimiser.finished:
            self._optimiser = self._next_optimiser()
        self._optimiser.step(self._criterion, self.poll, self.config.noise_weight)
        self._keep_best()
        self.steps_done += 1
        return {"loss": float(self._best.loss.median()), "psnr": float(self._best.psnr.median())}

    def result(self) -> Projection:
        """The best so far for each image."""
        if self._best is None:
            raise ValueError("nothing has been projected yet: take a step first")
        return self._best

    def _next_optimiser(self) -> LatentOptimiser:
        config = self.config
        if not config.generations:
            start = self._best_of_pool(config.starts)
        elif self.steps_done < config.generations * config.generation_steps:
            if self._cma_es is None:
                self._cma_es = CmaEs(self._best_of_pool(1), latent_std(self.model, config.space), config.seed)
            else:
                self._cma_es.tell(self._optimiser.best_score)
            start = self._cma_es.ask()
            config = config.model_copy(update={"steps": config.generation_steps})
        else:
            start = self._optimiser.best[self._best_rows(config.starts).flatten()]
        return LatentOptimiser(self.model, start, config, noise=config.noise)

    @torch.no_grad()
    def _best_of_pool(self, count: int) -> Latents:
        """The best random samples for each image, [N * count], those for the first image first."""
        z = sample_z(self.model, self.config.pool, self.config.seed, self.label)
        losses: list[list[Tensor]] = [[] for _ in self.targets]
        for images in render_batches(self.model, z, batch=self.config.batch, on_batch=lambda *_: self.poll()):
            features = self._embed(images)
            for n, target_features in enumerate(self._target_features):
                if self.mask is not None:
                    features = self._embed(self._fill_masked(images, slice(n, n + 1)))
                losses[n].append((features - target_features).square().sum(dim=1))
        losses_of_pool = torch.stack([torch.cat(batches) for batches in losses])  # [N, pool]
        best = losses_of_pool.topk(count, largest=False).indices.flatten()
        return to_space(self.model, z[best], self.config.space)

    def _best_rows(self, count: int) -> Tensor:
        """Rows of the optimiser's `count` best states for each image, best first: [N, count]."""
        losses = rearrange(self._optimiser.best_score, "(n starts) -> n starts", n=len(self.targets))
        order = losses.argsort(dim=1, stable=True)[:, :count]
        return order + losses.shape[1] * torch.arange(len(order), device=order.device)[:, None]

    def _embed(self, images: Tensor) -> Tensor:
        """[B,F] such that the squared distance of two rows is the loss of pixels and discriminator features."""
        parts = [images.flatten(1) * math.sqrt(self.config.pixel_weight / images[0].numel())]
        if self.config.perceptual_weight and self.model.discriminator is not None:
            levels = self.model.discriminator.features(images)
            for level in levels:
                unit = level * (level.square().sum(dim=1, keepdim=True) + 1e-8).rsqrt()
                area = level.shape[2] * level.shape[3]
                parts.append(unit.flatten(1) * math.sqrt(self.config.perceptual_weight / (area * len(levels))))
        return torch.cat(parts, dim=1)

    def _fill_masked(self, images: Tensor, targets: Tensor | slice) -> Tensor:
        """The images with what does not count replaced by their targets (by number), where it makes no difference."""
        return images if self.mask is None else self.targets[targets].lerp(images, self.mask[targets])

    def _criterion(self, images: Tensor, rows: slice) -> tuple[Tensor, Tensor]:
        count = len(self._optimiser.best)
        target = torch.arange(count, device=images.device)[rows] // (count // len(self.targets))
        images = self._fill_masked(images, target)
        loss = (self._embed(images) - self._target_features[target]).square().sum(dim=1)
        if self._lpips is not None:
            loss = loss + self.config.lpips_weight * self._lpips(images, self.targets[target]).flatten()
        return loss, loss.detach()

    def _keep_best(self) -> None:
        """Keeps the best state of each image: the optimiser's, or an earlier one's with a lower loss."""
        optimiser = self._optimiser
        rows = self._best_rows(1)[:, 0]
        images = optimiser.best_images[rows]
        noise = [noise_map[rows] for noise_map in optimiser.best_noise]
        decibels = psnr(images, self.targets, self.mask)
        new = Projection(optimiser.best[rows], images, optimiser.best_score[rows], decibels, noise)
        if self._best is not None:
            worse = new.loss >= self._best.loss
            for tensor, earlier in zip(_tensors(new), _tensors(self._best)):
                tensor[worse] = earlier[worse]
        self._best = new


def _tensors(result: Projection) -> list[Tensor]:
    return [result.latents.data, result.images, result.loss, result.psnr, *result.noise]


def _checked_mask(mask: Tensor, images: Tensor) -> Tensor:
    """The mask for each image [N,1,R,R] in 0..1."""
    count, _, size, _ = images.shape
    if mask.ndim != 4 or mask.shape[0] not in (1, count) or mask.shape[1:] != (1, size, size):
        raise ValueError(f"mask has shape {tuple(mask.shape)}, expected [1 or {count},1,{size},{size}]")
    mask = mask.to(images).clamp(0, 1).expand(count, -1, -1, -1)
    if not bool((mask > 0).flatten(1).any(dim=1).all()):
        raise ValueError("the mask is empty, so that no pixel counts; mark in white what is to be projected")
    return mask
