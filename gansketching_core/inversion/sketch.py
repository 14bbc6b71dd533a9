"""Sketch to image: latents of a model whose image, drawn as a sketch, looks like a given one."""

from __future__ import annotations

import time
from collections.abc import Callable
from dataclasses import dataclass

import torch
from pydantic import Field
from torch import Tensor

from ..latents.sampling import render, sample_z
from ..latents.spaces import Latents
from ..networks.stylegan2 import GanModel
from ..sketches.distance import SketchDistance, chamfer
from .optimise import Descent, DescentConfig, in_space, pool


class SketchSearchConfig(DescentConfig):
    """How latents are found for sketches."""

    steps: int = Field(40, ge=0, le=10_000, description="Descent steps; 0: the best of the pool as they are.")
    count: int = Field(8, ge=1, le=256, description="Latents to find.")


@dataclass(frozen=True)
class SketchReport:
    """After a step: the Chamfer distance of the best so far, the median over the latents, in image sides."""

    step: int
    total: int
    distance: float
    seconds: float


@dataclass(frozen=True)
class SketchMatches:
    """Latents [k], nearest first, images [k,3,R,R], drawings [k,1,R,R], Chamfer distances [k] in image sides."""

    latents: Latents
    images: Tensor
    drawings: Tensor
    distance: Tensor


class SketchSearch:
    """Finds different latents whose images, drawn by `photosketch`, look like the sketches.

    sketches [M,1,R,R] in -1..1, paper +1; with several, each latent goes for the one it is nearest to. The first step
    draws a random pool and takes the `count` nearest by Chamfer distance, each further one refines them by gradients
    through the sketcher. `poll` as in Projector.
    """

    def __init__(
        self,
        model: GanModel,
        sketches: Tensor,
        photosketch: Callable[[Tensor], Tensor],
        config: SketchSearchConfig = SketchSearchConfig(),  # noqa: B008 (frozen)
        *,
        label: int | None = None,
    ):
        size = model.config.resolution
        if sketches.ndim != 4 or sketches.shape[1:] != (1, size, size) or not len(sketches):
            raise ValueError(f"sketches have shape {tuple(sketches.shape)}, expected [M,1,{size},{size}]")
        blank = [str(k) for k, sketch in enumerate(sketches) if not bool((sketch < 0).any())]
        if blank:
            raise ValueError(f"sketch {', '.join(blank)} is blank; draw in dark lines on white paper")
        if config.count > config.pool:
            raise ValueError(f"{config.count} latents can't be chosen from a pool of {config.pool}; enlarge the pool")
        self.model, self.photosketch, self.config, self.label = model, photosketch, config, label
        self.sketches = sketches.to(model.w_mean)
        self.lines = [SketchDistance(sketch) for sketch in self.sketches]
        self.poll: Callable[[], None] = lambda: None
        self.steps_done, self.steps_total = 0, config.steps + 1
        self._descent: Descent | None = None

    @property
    def finished(self) -> bool:
        return self.steps_done >= self.steps_total

    def step(self) -> SketchReport:
        began = time.perf_counter()
        if self.finished:
            raise ValueError(f"all {self.steps_total} steps are done")
        if self._descent is None:
            self._search_pool()
        else:
            self._descent.step(self._score, self.poll)
        self.steps_done += 1
        distance = float(self._descent.measure.median())
        return SketchReport(self.steps_done, self.steps_total, distance, time.perf_counter() - began)

    @torch.no_grad()
    def result(self) -> SketchMatches:
        """The best so far."""
        if self._descent is None:
            raise ValueError("nothing has been found yet: take a step first")
        found, order = self._descent, self._descent.measure.argsort()
        latents = Latents(found.space, found.best[0], found.labels)[order]
        images = found.images[order]
        return SketchMatches(latents, images, self._draw(images), found.measure[order])

    def _draw(self, images: Tensor) -> Tensor:
        return self.photosketch(images.clamp(-1, 1))

    @torch.no_grad()
    def _search_pool(self) -> None:
        z = sample_z(self.model, self.config.pool, self.config.seed, self.label)
        distance = torch.cat(
            [
                chamfer(self._draw(images), self.sketches)
                for _, images in pool(self.model, z, self.config.batch, self.poll)
            ]
        )
        nearest, self.aims = distance.min(dim=1)
        chosen = nearest.argsort()[: self.config.count]
        self.aims, z = self.aims[chosen], z[chosen.to(z.data.device)]
        self._descent = Descent(self.model, in_space(self.model, z, self.config.space), self.config)
        self._descent.images.copy_(render(self.model, z, batch=self.config.batch))
        self._descent.measure.copy_(nearest[chosen])

    def _score(self, images: Tensor, rows: slice) -> tuple[Tensor, Tensor]:
        drawings, aims = self._draw(images), self.aims[rows].tolist()
        loss = torch.stack([self.lines[aim].distance(drawing) for aim, drawing in zip(aims, drawings)])
        measured = [chamfer(one[None].detach(), self.sketches[aim : aim + 1])[0, 0] for aim, one in zip(aims, drawings)]
        return loss, torch.stack(measured).to(loss)
