"""Projection: latents of a model whose image looks like a given one."""

from __future__ import annotations

import math
import time
import warnings
from collections.abc import Callable
from dataclasses import dataclass
from typing import Literal

import numpy as np
import torch
from pydantic import Field
from torch import Tensor

from ..evaluation.metrics import psnr
from ..latents.sampling import sample_z
from ..latents.spaces import Latents
from ..networks.stylegan2 import GanModel
from .optimise import Descent, DescentConfig, in_space, pool, spread


class ProjectConfig(DescentConfig):
    """How an image is projected."""

    starts: int = Field(4, ge=1, le=64, description="Descents for each image; the best one counts.")
    pixel_weight: float = Field(1.0, ge=0, le=100, description="Weight of the mean squared difference of pixels.")
    perceptual_weight: float = Field(
        0.1, ge=0, le=100, description="Weight of the difference in the features of the model's own discriminator."
    )
    lpips_weight: float = Field(0.0, ge=0, le=100, description="Weight of LPIPS; needs the package lpips.")
    noise: Literal["const", "none", "fitted"] = Field(
        "const", description="Fine texture: the model's own, none, or noise maps fitted to the image."
    )
    noise_weight: float = Field(
        1.0, ge=0, le=1000, description="Keeps fitted noise maps noise: no image hides in them."
    )
    generations: int = Field(
        0, ge=0, le=1000, description="Rounds of CMA-ES before the descent, for hard images; needs the package cma."
    )
    generation_steps: int = Field(10, ge=1, le=1000, description="Descent steps of each candidate in such a round.")


@dataclass(frozen=True)
class ProjectReport:
    """After a step: loss and psnr (dB) are those of the best so far, the median over images."""

    step: int
    total: int
    loss: float
    psnr: float
    seconds: float


@dataclass(frozen=True)
class Projection:
    """Latents and their images [N,3,R,R]; loss [N]; psnr [N] in dB (where the mask is); noise maps, if fitted."""

    latents: Latents
    images: Tensor
    loss: Tensor
    psnr: Tensor
    noise: list[Tensor]


class Projector:
    """Finds latents for images.

    images [N,3,R,R] in -1..1 at the model's resolution. mask [N or 1,1,R,R] in 0..1: only pixels where it is 1 count.
    label: the class, for class-conditional models; None: the pool finds it. `poll` is called several times within a
    step and may raise to stop; result() then still has the best so far. The model is not changed.
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
        _check_images(model, images)
        if config.starts > config.pool:
            raise ValueError(f"{config.starts} starts can't be chosen from a pool of {config.pool}; enlarge the pool")
        self.model, self.config, self.label = model, config, label
        self.targets = images.to(model.w_mean).clamp(-1, 1)
        self.mask = None if mask is None else _checked_mask(mask, self.targets)
        self.poll: Callable[[], None] = lambda: None
        self.steps_done = 0
        self.steps_total = config.generations * config.generation_steps + config.steps
        self._lpips = _load_lpips(model.w_mean.device) if config.lpips_weight else None
        self._cma = _load_cma() if config.generations else None
        self._evolution: _Evolution | None = None
        with torch.no_grad():
            self._goal = self._embed(self.targets)
        self._descent: Descent | None = None
        self._best: Projection | None = None

    @property
    def finished(self) -> bool:
        return self.steps_done >= self.steps_total

    def step(self) -> ProjectReport:
        """One descent step of all images and starts; the first one also looks for the starts."""
        began = time.perf_counter()
        if self.finished:
            raise ValueError(f"all {self.steps_total} steps are done")
        if self._descent is None or self._descent.finished:
            self._descent = self._next_descent()
        self._descent.step(self._score, self.poll, self.config.noise_weight)
        self._record()
        self.steps_done += 1
        loss, decibels = float(self._best.loss.median()), float(self._best.psnr.median())
        return ProjectReport(self.steps_done, self.steps_total, loss, decibels, time.perf_counter() - began)

    def result(self) -> Projection:
        """The best so far for each image."""
        if self._best is None:
            raise ValueError("nothing has been projected yet: take a step first")
        return self._best

    def _next_descent(self) -> Descent:
        config = self.config
        if not config.generations:
            return Descent(self.model, self._best_of_pool(config.starts), config, noise=config.noise)
        if self._evolution is None:
            self._evolution = _Evolution(
                self._cma, self._best_of_pool(1), spread(self.model, config.space), config.seed
            )
        else:
            self._evolution.tell(self._descent.measure)
        if self.steps_done < config.generations * config.generation_steps:
            config = config.model_copy(update={"steps": config.generation_steps})
            return Descent(self.model, self._evolution.ask(), config, noise=config.noise)
        found = self._descent
        order = found.measure.view(len(self.targets), -1).argsort(dim=1)[:, : config.starts]
        rows = (order + torch.arange(len(order), device=order.device)[:, None] * self._evolution.population).flatten()
        return Descent(self.model, Latents(found.space, found.best[0], found.labels)[rows], config, noise=config.noise)

    def _record(self) -> None:
        """Keeps the best start of each image, where it is better than what there was."""
        descent = self._descent
        loss, which = descent.measure.view(len(self.targets), -1).min(dim=1)
        rows = which + torch.arange(len(which), device=which.device) * (len(descent.measure) // len(which))
        latents, *noise = (kept[rows] for kept in descent.best)
        images = descent.images[rows]
        if self._best is not None:
            old = self._best
            worse = loss >= old.loss
            pairs = zip([latents, images, loss, *noise], [old.latents.data, old.images, old.loss, *old.noise])
            for new, before in pairs:
                new[worse] = before[worse]
        labels = None if descent.labels is None else descent.labels[rows]
        found = Latents(descent.space, latents, labels)
        self._best = Projection(found, images, loss, psnr(images, self.targets, self.mask), noise)

    def _embed(self, images: Tensor) -> Tensor:
        """[B,F]: the squared distance of two rows is the loss of pixels and discriminator features."""
        parts = [images.flatten(1) * math.sqrt(self.config.pixel_weight / images[0].numel())]
        if self.config.perceptual_weight and self.model.discriminator is not None:
            levels = self.model.discriminator.features(images)
            for level in levels:
                unit = level * (level.square().sum(dim=1, keepdim=True) + 1e-8).rsqrt()
                area = level.shape[2] * level.shape[3]
                parts.append(unit.flatten(1) * math.sqrt(self.config.perceptual_weight / (area * len(levels))))
        return torch.cat(parts, dim=1)

    def _compose(self, images: Tensor, owner: Tensor) -> Tensor:
        """What doesn't count is taken from the target, so that it makes no difference."""
        return images if self.mask is None else self.targets[owner].lerp(images, self.mask[owner])

    def _score(self, images: Tensor, rows: slice) -> tuple[Tensor, Tensor]:
        starts = len(self._descent.measure) // len(self.targets)
        owner = torch.arange(len(self._descent.measure), device=images.device)[rows] // starts
        images = self._compose(images, owner)
        loss = (self._embed(images) - self._goal[owner]).square().sum(dim=1)
        if self._lpips is not None:
            loss = loss + self.config.lpips_weight * self._lpips(images, self.targets[owner]).flatten()
        return loss, loss.detach()

    @torch.no_grad()
    def _best_of_pool(self, count: int) -> Latents:
        z = sample_z(self.model, self.config.pool, self.config.seed, self.label)
        scores = torch.zeros(len(self.targets), len(z)).to(self._goal)
        for rows, images in pool(self.model, z, self.config.batch, self.poll):
            features = self._embed(images) if self.mask is None else None
            for n in range(len(self.targets)):
                if self.mask is not None:
                    features = self._embed(self._compose(images, torch.full((len(images),), n, device=images.device)))
                scores[n, rows] = (features - self._goal[n]).square().sum(dim=1)
        best = scores.topk(count, largest=False).indices.flatten()
        return in_space(self.model, z[best], self.config.space)


def _check_images(model: GanModel, images: Tensor) -> None:
    size = model.config.resolution
    if images.ndim != 4 or images.shape[1:] != (3, size, size) or not len(images):
        raise ValueError(
            f'images have shape {tuple(images.shape)}, the model "{model.name}" makes [N,3,{size},{size}]; resize the '
            "images first"
        )


def _checked_mask(mask: Tensor, images: Tensor) -> Tensor:
    """The mask for each image [N,1,R,R] in 0..1."""
    count, _, size, _ = images.shape
    if mask.ndim != 4 or mask.shape[0] not in (1, count) or mask.shape[1:] != (1, size, size):
        raise ValueError(f"mask has shape {tuple(mask.shape)}, expected [1 or {count},1,{size},{size}]")
    mask = mask.to(images).clamp(0, 1).expand(count, -1, -1, -1)
    if not bool((mask > 0).flatten(1).any(dim=1).all()):
        raise ValueError("the mask is empty, so that no pixel counts; mark in white what is to be projected")
    return mask


def _load_lpips(device: torch.device):
    try:
        import lpips
    except ImportError as error:
        raise ValueError("lpips_weight needs the package lpips: pip install lpips, or set it to 0") from error
    return lpips.LPIPS(net="vgg", verbose=False).to(device).requires_grad_(False)


def _load_cma():
    try:
        with warnings.catch_warnings():
            warnings.simplefilter("ignore")  # that it can't plot
            import cma
    except ImportError as error:
        raise ValueError("CMA-ES needs the package cma: pip install cma, or set generations to 0") from error
    return cma


class _Evolution:
    """CMA-ES with a diagonal covariance, one for each image; its candidates are judged after a short descent."""

    def __init__(self, cma, centres: Latents, spread: float, seed: int):
        self.centres, self.searches = centres, []
        for k, centre in enumerate(centres.data):
            rng = np.random.default_rng([seed, k])
            options = {"CMA_diagonal": True, "verbose": -9, "seed": np.nan, "maxiter": np.inf}
            options["randn"] = lambda *shape, rng=rng: rng.standard_normal(shape)
            start = centre.flatten().double().cpu().numpy()
            self.searches.append(cma.CMAEvolutionStrategy(start, spread / 2, options))
        self.population = self.searches[0].popsize

    def ask(self) -> Latents:
        """[N * population] candidates."""
        self.candidates = [search.ask() for search in self.searches]
        data = torch.from_numpy(np.concatenate(self.candidates)).to(self.centres.data)
        labels = self.centres.labels
        labels = None if labels is None else labels.repeat_interleave(self.population, dim=0)
        return Latents(self.centres.space, data.view(-1, *self.centres.data.shape[1:]), labels)

    def tell(self, measure: Tensor) -> None:
        """measure [N * population] of the last candidates."""
        for search, candidates, values in zip(self.searches, self.candidates, measure.view(len(self.searches), -1)):
            search.tell(candidates, values.double().tolist())
