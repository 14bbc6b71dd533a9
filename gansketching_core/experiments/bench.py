"""Seconds and peak memory of fine-tuning steps and of sampling, on full-size config-f networks with random weights."""

from __future__ import annotations

import math
import statistics
import sys
import time
from collections.abc import Callable
from dataclasses import dataclass

import torch

from ..datasets import ImageSet
from ..networks.photosketch import PhotoSketch
from ..networks.stylegan2 import Discriminator, GanConfig, GanModel, Generator
from ..training.finetune import SketchFinetuner
from ..training.finetune_config import FinetuneConfig

try:
    import resource
except ImportError:  # not on Windows
    resource = None


@dataclass
class BenchReport:
    """Medians in seconds; memory is the peak of the process (CPU) or of the allocator (CUDA), in GiB; NaN: unknown.

    discriminators, r1, generator: the three kinds of work in a step; iteration: a step with its share of R1;
    sample: one image, sampled in batches of `batch`.
    """

    discriminators: float
    r1: float
    generator: float
    iteration: float
    training_memory: float
    sample: float
    sampling_memory: float


def bench(
    resolution: int,
    batch: int,
    config: FinetuneConfig,
    *,
    device: torch.device | str = "cpu",
    steps: int = 2,
    on_step: Callable[[int], None] | None = None,
) -> BenchReport:
    """Sample, then train `steps` steps after one that is not counted, each with R1, regularised by images.

    Raises ValueError for a resolution that GanConfig does not take.
    """
    device = torch.device(device)
    gan = GanConfig(resolution=resolution)
    torch.manual_seed(0)
    generator = Generator(gan).eval().requires_grad_(False).to(device)
    discriminator = Discriminator(gan).eval().requires_grad_(False).to(device)
    model = GanModel(generator, discriminator, gan, generator.mean_w())
    sample = _seconds(lambda: _sample(generator, batch), device) / batch
    sampling_memory = _peak_memory(device)
    sketches = torch.rand(batch, 1, resolution, resolution) * 2 - 1
    photos = ImageSet(torch.rand(batch, resolution, resolution, 3), resolution)
    every_step = config.model_copy(update={"r1_every": 1, "batch": batch, "regularisation": "images"})
    finetuner = SketchFinetuner(model, sketches, PhotoSketch().eval(), every_step, images=photos, device=device)
    reports = []
    for k in range(steps + 1):
        report = finetuner.step()  # reading the losses waits for the device
        if k:
            reports.append(report.timings)
        if on_step:
            on_step(k)
    parts = [
        statistics.median(sum(s for name, s in timings.items() if name.startswith(kind)) for timings in reports)
        for kind in ("D ", "R1", "G")
    ]
    iteration = parts[0] + parts[1] / config.r1_every + parts[2]
    return BenchReport(*parts, iteration, _peak_memory(device), sample, sampling_memory)


@torch.no_grad()
def _sample(generator: Generator, batch: int) -> torch.Tensor:
    z = torch.randn(batch, generator.config.z_dim, device=generator.mapping.w_shift.device)
    return generator.synthesize(generator.map(z))


def _seconds(work: Callable[[], object], device: torch.device) -> float:
    """Median of three runs after a first that is not counted."""
    found = []
    for _ in range(4):
        started = time.perf_counter()
        work()
        if device.type == "cuda":
            torch.cuda.synchronize(device)
        found.append(time.perf_counter() - started)
    return statistics.median(found[1:])


def _peak_memory(device: torch.device) -> float:
    if device.type == "cuda":
        return torch.cuda.max_memory_allocated(device) / 2**30
    if resource is None:
        return math.nan
    unit = 1 if sys.platform == "darwin" else 1024  # ru_maxrss counts bytes on macOS, KiB elsewhere
    return resource.getrusage(resource.RUSAGE_SELF).ru_maxrss * unit / 2**30
