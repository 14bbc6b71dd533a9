"""Random latents, and images and line drawings rendered from latents."""

from collections.abc import Callable, Iterable, Iterator, Sequence
from typing import Any, Literal

import torch
from torch import Tensor

from ..networks.stylegan2 import GanModel
from ..options import Options, option
from ..random_streams import stream
from .spaces import Latents, truncate

NoiseMode = Literal["const", "random", "none"]
OnBatch = Callable[[int, int], None]  # (samples done, samples in all); may raise to stop

Share = Callable[..., Iterable[Tensor]]  # `map`, or one that shares out its items among processes
Sketcher = Callable[[Tensor], Tensor]  # photo [B,3,R,R] in -1..1 -> line drawing [B,1,R,R] in -1..1, paper +1


class SampleConfig(Options):
    """How latents become images."""

    truncation: float = option(1.0, "Below 1: more typical images. 0: all are the average one.", ge=0.0, le=2.0)
    truncation_cutoff: int = option(
        0, "Layers to truncate, from the first (shape). 0: all.", ge=0, le=18, advanced=True
    )
    noise: NoiseMode = option(
        "const", "Fine texture: const is the same in all images, random differs, none is smooth.", advanced=True
    )


def sample_z(model: GanModel, count: int, seed: int = 0, labels: Tensor | Sequence[int] | int | None = None) -> Latents:
    """`count` random latents z. Sample i depends on (seed, i) alone, so that a larger count only appends.

    labels: for class-conditional models, one class for all samples or one for each; None: the classes in turn.
    """
    if count < 1:
        raise ValueError(f"count is {count}; ask for at least one sample")
    z = torch.stack([torch.randn(model.config.z_dim, generator=stream(seed, "latents", i)) for i in range(count)])
    z, classes = z.to(model.w_mean), model.config.class_count
    if not classes:
        if labels is not None:
            raise ValueError(
                f'a class is given, but the model "{model.name}" has no classes; leave it out (class_index -1)'
            )
        return Latents("z", z)
    label = torch.arange(count) % classes if labels is None else torch.as_tensor(labels)
    return Latents("z", z, (label.expand(count) if label.ndim == 0 else label).to(z.device))


@torch.no_grad()
def render_batches(
    model: GanModel,
    latents: Latents,
    config: SampleConfig = SampleConfig(),  # noqa: B008 (frozen)
    *,
    seed: int = 0,
    batch: int = 8,
    on_batch: OnBatch = lambda *_: None,
    use: Callable[[Tensor], Tensor] = lambda images: images,
    share: Share = map,
) -> Iterator[Tensor]:
    """Yields the images of `render`, or what `use` makes of them, batch by batch."""
    if batch < 1:
        raise ValueError(f"batch is {batch}; use 1 or more")
    synthesis = model.generator.synthesis

    def render_one(start: int) -> Tensor:
        part = truncate(model, latents[start : start + batch], config.truncation, config.truncation_cutoff)
        noise = config.noise
        if noise == "random":
            maps = [synthesis.noise_maps(1, "random", stream(seed, "noise", start + i)) for i in range(len(part))]
            noise = [torch.cat(layer) for layer in zip(*maps)]
        result = use(model.generator.synthesize(part.data, noise=noise))
        on_batch(start + len(part), len(latents))
        return result

    yield from share(render_one, range(0, len(latents), batch))


def render(
    model: GanModel,
    latents: Latents,
    config: SampleConfig = SampleConfig(),  # noqa: B008 (frozen)
    *,
    seed: int = 0,
    **options: Any,
) -> Tensor:
    """Images [N,3,R,R] in about -1..1 (not clipped) of N latents in any space.

    Random noise of sample i depends on (seed, i) alone, so that the batch size changes nothing.

    Options:
        batch: images made at a time, by default 8.
        on_batch: called after every batch.
        share: `map`, or one that shares out the batches among processes (`training.distributed.Team.map`).
    """
    return torch.cat(list(render_batches(model, latents, config, seed=seed, **options)))


def render_drawings(model: GanModel, latents: Latents, photosketch: Sketcher, **options: Any) -> Tensor:
    """Line drawings [N,1,R,R] in -1..1, paper +1, of N latents; options as in `render`."""
    return torch.cat(list(render_batches(model, latents, use=photosketch, **options)))


def sample_drawings(
    model: GanModel, photosketch: Sketcher, *, count: int = 8, seed: int = 0, label: int | None = None, **options: Any
) -> Tensor:
    """Line drawings [count,1,R,R] of random samples; arguments as in `sample_z`, options as in `render_drawings`."""
    return render_drawings(model, sample_z(model, count, seed, label), photosketch, **options)
