"""The benchmark measures every part it reports, and memory for itself alone."""

from __future__ import annotations

import sys
from dataclasses import asdict

import pytest
import torch

from gansketching_core.experiments.bench import bench
from gansketching_core.experiments.live_tensors import count_live_tensors
from gansketching_core.networks.photosketch import PhotoSketch
from gansketching_core.networks.stylegan2 import GanConfig
from gansketching_core.training.finetune_config import FinetuneConfig

SMALL = GanConfig(resolution=32, channels=(8, 8, 8, 4))


def test_every_part_is_measured_and_memory_used_before_is_not():
    torch.ones(2**30, dtype=torch.uint8)  # 1 GiB, freed at once: the peak of this process, as after a larger resolution
    report = bench(SMALL, 2, FinetuneConfig(r1_every=16, precision="float32"), device=torch.device("cpu"), steps=1)
    assert all(value > 0 for value in asdict(report).values())
    assert report.iteration == pytest.approx(report.discriminators + report.r1 / 16 + report.generator)
    assert report.sampling_memory < report.training_memory < 1


@pytest.mark.skipif(sys.platform == "win32" or not torch.distributed.is_available(), reason="needs torch.distributed")
def test_several_processes_are_measured_and_one_that_fails_ends_all():
    config = FinetuneConfig(batch=8, micro_batch=4, precision="float32")
    report = bench(SMALL, 8, config, device=torch.device("cpu"), steps=1, processes=2)
    assert all(value > 0 for value in asdict(report).values())
    with pytest.raises(ValueError, match="share out micro-batches"):
        bench(SMALL, 8, config.model_copy(update={"micro_batch": 8}), device=torch.device("cpu"), processes=2)


@pytest.mark.skipif(not torch.cuda.is_available(), reason="needs a GPU")
def test_memory_of_a_gpu_is_measured_anew():
    config = FinetuneConfig(precision="float32")
    first, larger, again = (bench(SMALL, batch, config, device=torch.device("cuda"), steps=1) for batch in (2, 16, 2))
    assert larger.sampling_memory > first.sampling_memory
    assert again.sampling_memory == pytest.approx(first.sampling_memory, rel=0.1)


def test_tensors_are_counted_without_computing_them():
    gan = GanConfig(resolution=32, z_dim=8, w_dim=8, mapping_layers=2, channels=(8, 8, 8, 4))
    config = FinetuneConfig(batch=4, precision="float32", style_mixing=1.0, gradient_checkpointing="off")
    sketcher = PhotoSketch(width=4, blocks=2).eval()
    counted = count_live_tensors(gan, config, sketcher)
    assert counted == pytest.approx(count_live_tensors(gan, config, sketcher, compute=True), rel=0.01)
    less = count_live_tensors(gan, config.model_copy(update={"gradient_checkpointing": "on"}), sketcher)
    assert less < 0.8 * counted
