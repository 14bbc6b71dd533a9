"""Seconds and peak memory of fine-tuning steps and of sampling, on networks with random weights."""

import math
import multiprocessing
import statistics
import sys
import time
from concurrent.futures import ProcessPoolExecutor, as_completed
from dataclasses import dataclass
from pathlib import Path

import torch

from ..datasets import ImageSet
from ..networks.photosketch import PhotoSketch
from ..networks.stylegan2 import Discriminator, GanConfig, GanModel, Generator
from ..training import distributed
from ..training.distributed import ALONE, Team
from ..training.finetune import SketchFinetuner
from ..training.finetune_config import FinetuneConfig

try:
    import resource
except ImportError:  # not on Windows
    resource = None


@dataclass(frozen=True)
class BenchReport:
    """Times are medians in seconds. Memory is a peak in GiB, of the process (CPU) or the allocator (CUDA), in one of
    the processes."""

    discriminators: float  # the three parts of a step
    r1: float
    generator: float
    iteration: float  # a step with its share of R1
    training_memory: float  # of sampling and training; NaN where it is unknown, on Windows' CPUs
    sample: float  # one image, sampled in batches, a batch in each process
    sampling_memory: float


def bench(
    gan: GanConfig,
    batch: int,
    config: FinetuneConfig,
    *,
    device: torch.device,
    steps: int = 2,
    processes: int = 1,
) -> BenchReport:
    """Sample, then train `steps` steps after one that is not counted, each with R1, regularised by images.

    On a CPU this runs in a process of its own, because the peak memory of a process never falls. Several processes
    share out PyTorch's threads on a CPU, and take a GPU each.
    """
    if device.type == "cuda" and processes == 1:
        torch.cuda.reset_peak_memory_stats(device)
        return _measure(gan, batch, config, device, steps)
    port = distributed.unused_port()
    threads = max(1, torch.get_num_threads() // processes)
    arguments = (gan, batch, config, device, steps)
    with ProcessPoolExecutor(processes, mp_context=multiprocessing.get_context("spawn")) as pool:
        ranks = [pool.submit(_measure_together, rank, processes, port, threads, arguments) for rank in range(processes)]
        for done in as_completed(ranks):
            done.result()  # raises what the first that failed has raised
        return ranks[0].result()


def _measure_together(rank: int, processes: int, port: int, threads: int, arguments: tuple) -> BenchReport:
    """_measure(*arguments) in one of several processes, or the only one."""
    torch.set_num_threads(threads)
    distributed.announce(rank, processes, port)
    gan, batch, config, device, steps = arguments
    team, device = distributed.join(device)
    try:
        return _measure(gan, batch, config, device, steps, team)
    finally:
        distributed.leave()  # ends the others, which would wait for this one


def _measure(
    gan: GanConfig, batch: int, config: FinetuneConfig, device: torch.device, steps: int, team: Team = ALONE
) -> BenchReport:
    generator = Generator(gan).eval().requires_grad_(False).to(device)
    discriminator = Discriminator(gan).eval().requires_grad_(False).to(device)
    model = GanModel(generator, discriminator, gan, generator.mean_w())
    sample = _sampling_seconds(generator, batch, device, team) / (batch * team.size)
    sampling_memory = _peak_memory(device)

    sketches = torch.rand(batch, 1, gan.resolution, gan.resolution) * 2 - 1
    photos = ImageSet(torch.rand(batch, gan.resolution, gan.resolution, 3), gan.resolution)
    changes = {"r1_every": 1, "batch": batch, "regularisation": "images", "warm_start": 0.0}
    every_step = config.model_copy(update=changes)
    finetuner = SketchFinetuner(
        model, sketches, PhotoSketch().eval(), every_step, images=photos, device=device, team=team
    )
    finetuner.step()
    timings = [finetuner.step().timings for _ in range(steps)]  # reading the losses waits for the device

    def median(part: str) -> float:
        return statistics.median(sum(s for name, s in step.items() if name.startswith(part)) for step in timings)

    discriminators = median("D ")
    r1 = median("R1")
    return BenchReport(
        discriminators=discriminators,
        r1=r1,
        generator=median("G"),
        iteration=discriminators + r1 / config.r1_every + median("G"),
        training_memory=_peak_memory(device),
        sample=sample,
        sampling_memory=sampling_memory,
    )


@torch.no_grad()
def _sampling_seconds(generator: Generator, batch: int, device: torch.device, team: Team) -> float:
    """Median of three runs, which all processes start together, after a first that is not counted."""
    seconds = []
    for _ in range(4):
        team.agree(lambda: None)
        started = time.perf_counter()
        z = torch.randn(batch, generator.config.z_dim, device=device)
        generator.synthesize(generator.map(z))
        if device.type == "cuda":
            torch.cuda.synchronize(device)
        seconds.append(time.perf_counter() - started)
    return statistics.median(seconds[1:])


def _peak_memory(device: torch.device) -> float:
    """GiB."""
    if device.type == "cuda":
        return torch.cuda.max_memory_allocated(device) / 2**30
    status = Path("/proc/self/status")
    if status.exists():  # Linux, where a new process inherits ru_maxrss from the one that starts it
        fields = dict(line.split(":", 1) for line in status.read_text().splitlines())
        return int(fields["VmHWM"].removesuffix("kB")) / 2**20
    if resource is None:
        return math.nan
    unit = 1 if sys.platform == "darwin" else 1024  # ru_maxrss counts bytes on macOS, KiB elsewhere
    return resource.getrusage(resource.RUSAGE_SELF).ru_maxrss * unit / 2**30
