"""Gradient checkpointing: the same numbers from less memory, on where the memory that is free is too small."""

from __future__ import annotations

import pytest
import torch
from tiny import same_weights, some_sketches, tiny_model

from gansketching_core.networks.photosketch import PhotoSketch
from gansketching_core.networks.stylegan2 import GanConfig
from gansketching_core.training import finetune, memory
from gansketching_core.training.finetune import SketchFinetuner
from gansketching_core.training.finetune_config import FinetuneConfig


def trained(checkpointing: str, **changes):
    options = {"batch": 4, "r1_every": 2, "warm_start": 0, "precision": "float32"} | changes
    config = FinetuneConfig(gradient_checkpointing=checkpointing, **options)
    with torch.random.fork_rng(devices=[]):
        torch.manual_seed(0)
        photosketch = PhotoSketch(width=4, blocks=2).eval()
    finetuner = SketchFinetuner(tiny_model(), some_sketches(), photosketch, config)
    reports = [finetuner.step() for _ in range(3)]
    return finetuner.result(), [report.losses for report in reports]


@pytest.mark.parametrize("changes", [{}, {"precision": "bfloat16"}, {"micro_batch": 4, "batch": 8}])
def test_checkpointing_changes_no_bit(changes):
    (plain, losses), (recomputed, same_losses) = trained("off", **changes), trained("on", **changes)
    assert same_weights(plain, recomputed)
    assert losses == same_losses and "R1 sketch" in losses[0]


def test_inner_activations_are_not_kept():
    photosketch, kept = PhotoSketch(width=4, blocks=9), []
    photo = torch.rand(1, 3, 32, 32, requires_grad=True)

    def saved() -> int:
        kept.clear()
        with torch.autograd.graph.saved_tensors_hooks(lambda x: kept.append(x.nbytes) or x, lambda x: x):
            photosketch(photo)
        return sum(kept)

    before = saved()
    memory.use_gradient_checkpointing(photosketch)
    assert saved() < before / 2


@pytest.mark.parametrize(("gib", "recomputes"), [(8, True), (64, False)])
def test_auto_asks_for_the_free_memory(monkeypatch, tmp_path, gib, recomputes):
    meminfo = tmp_path / "meminfo"
    meminfo.write_text(f"MemTotal: 999999999 kB\nMemAvailable:   {gib * 2**20} kB\n")
    monkeypatch.setattr(memory, "MEMINFO", meminfo)
    assert memory.free_bytes(torch.device("cpu")) == gib * 2**30
    needed = memory.needed_bytes(GanConfig(resolution=1024), PhotoSketch(), 4, sketch_scale=0.25)
    assert (needed > memory.SHARE * memory.free_bytes(torch.device("cpu"))) is recomputes


def test_auto_is_on_for_a_training_that_would_not_fit(monkeypatch):
    config = FinetuneConfig(batch=4)
    assert not SketchFinetuner(tiny_model(), some_sketches(), PhotoSketch(width=4), config)._recomputes
    monkeypatch.setattr(finetune, "free_bytes", lambda _device: 1e5)
    assert SketchFinetuner(tiny_model(), some_sketches(), PhotoSketch(width=4), config)._recomputes
