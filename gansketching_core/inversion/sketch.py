"""Sketch to image: latents of a model whose image, drawn as a sketch, looks like a given one."""

from collections.abc import Callable
from dataclasses import dataclass

import torch
from torch import Tensor

from ..latents.sampling import Sketcher, render, render_batches, sample_z
from ..latents.spaces import Latents, to_space
from ..networks.stylegan2 import GanModel
from ..options import option
from ..sketches.distance import ChamferToSketches, SketchDistance
from .optimise import LatentOptimiser, OptimiserConfig


class SketchSearchConfig(OptimiserConfig):
    """How latents are searched for sketches."""

    steps: int = option(40, "Optimisation steps; 0: the best random samples.", ge=0, le=10_000)
    count: int = option(8, "How many latents to search for.", ge=1, le=256)


@dataclass(frozen=True)
class SketchMatches:
    """Latents [k], nearest first; images [k,3,R,R]; drawings [k,1,R,R]; Chamfer distances [k] in image sides."""

    latents: Latents
    images: Tensor
    drawings: Tensor
    distance: Tensor


class SketchSearch:
    """Searches different latents whose images, drawn by `photosketch`, look like sketches [M,1,R,R] in -1..1, paper +1.

    The first step chooses the `count` nearest of many random samples by Chamfer distance; each further step improves
    them by gradients through the sketcher, each for the sketch that it was nearest to at first. The model is not
    changed. `poll` is as in Projector.
    """

    def __init__(
        self,
        model: GanModel,
        sketches: Tensor,
        photosketch: Sketcher,
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
        self.poll: Callable[[], None] = lambda: None
        self.steps_done = 0
        self.steps_total = config.steps + 1
        self._chamfer = ChamferToSketches(self.sketches)
        self._soft_distances = [SketchDistance(sketch) for sketch in self.sketches]
        self._optimiser: LatentOptimiser | None = None

    @property
    def finished(self) -> bool:
        return self.steps_done >= self.steps_total

    def step(self) -> dict[str, float]:
        """The choice of random samples, or an optimisation step. -> the median over the latents of the distance."""
        if self.finished:
            raise ValueError(f"all {self.steps_total} steps are done")
        if self._optimiser is None:
            self._choose_samples()
        else:
            self._optimiser.step(self._criterion, self.poll)
        self.steps_done += 1
        return {"distance": float(self._optimiser.best_score.median())}

    @torch.no_grad()
    def result(self) -> SketchMatches:
        """The best so far."""
        if self._optimiser is None:
            raise ValueError("nothing has been searched yet: take a step first")
        order = self._optimiser.best_score.argsort()
        images = self._optimiser.best_images[order]
        return SketchMatches(self._optimiser.best[order], images, self._draw(images), self._optimiser.best_score[order])

    def _draw(self, images: Tensor) -> Tensor:
        return self.photosketch(images.clamp(-1, 1))

    @torch.no_grad()
    def _choose_samples(self) -> None:
        config = self.config
        z = sample_z(self.model, config.pool, config.seed, self.label)
        batches = render_batches(self.model, z, batch=config.batch, on_batch=lambda *_: self.poll())
        distances = torch.cat([self._chamfer(self._draw(images)) for images in batches])
        distance, sketch = distances.min(dim=1)
        chosen = distance.argsort()[: config.count]
        z = z[chosen]
        self._sketch_of_latent = sketch[chosen]
        self._optimiser = LatentOptimiser(self.model, to_space(self.model, z, config.space), config)
        self._optimiser.best_images.copy_(render(self.model, z, batch=config.batch))
        self._optimiser.best_score.copy_(distance[chosen])

    def _criterion(self, images: Tensor, rows: slice) -> tuple[Tensor, Tensor]:
        """The soft distance is minimised; the exact one decides which state is best."""
        drawings, sketch = self._draw(images), self._sketch_of_latent[rows]
        soft = [self._soft_distances[k].distance(drawing) for k, drawing in zip(sketch.tolist(), drawings)]
        exact = self._chamfer(drawings.detach()).gather(1, sketch[:, None]).squeeze(1)
        return torch.stack(soft), exact.to(images)
