"""The benchmark measures every part it reports."""

from dataclasses import asdict

import pytest

from gansketching_core.experiments.bench import bench
from gansketching_core.training.finetune_config import FinetuneConfig


def test_bench_reports_every_part(monkeypatch):
    monkeypatch.setattr("gansketching_core.networks.stylegan2.config_f_channels", lambda _resolution: (8, 8, 8, 4))
    seen = []
    report = bench(32, 2, FinetuneConfig(r1_every=16, precision="float32"), steps=1, on_step=seen.append)
    assert seen == [0, 1]
    assert all(value > 0 for value in asdict(report).values())
    parts = report.discriminators + report.r1 / 16 + report.generator
    assert report.iteration == pytest.approx(parts)
    assert report.training_memory >= report.sampling_memory
