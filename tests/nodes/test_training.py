"""Fine-tune Mapping without ComfyUI."""

from __future__ import annotations

import gc
from types import SimpleNamespace

import pytest
import torch


def test_finetune_customises_a_copy(pack, trainable):
    before = {name: value.clone() for name, value in trainable["model"].generator.state_dict().items()}
    previews = []
    pack.host.set_hooks(progress=lambda value, total, preview: previews.append((value, total, preview)))
    with torch.inference_mode():  # as ComfyUI does; its tensors must not reach autograd
        trainable["sketches"] = trainable["sketches"] * 1.0
        model, preview, losses, report, loss_map, steps = pack.node("FineTuneMapping").finetune(**trainable)
    after = trainable["model"].generator.state_dict()
    assert all(torch.equal(before[name], after[name]) for name in before)
    changed = {n for n, v in model.generator.state_dict().items() if not torch.equal(v, before[n])}
    assert changed and all(name.startswith("mapping.") for name in changed)
    assert preview.shape[0] == losses.shape[0] == 1 and preview.shape[2] > 4 * 128
    assert "Trained from the start" in report and "4 steps" in report
    assert steps == len(loss_map["loss"]) == 4 and all(value > 0 for value in loss_map["loss"])
    assert [(value, total) for value, total, _ in previews] == [(k, 4) for k in range(1, 5)]
    assert previews[0][2].size[0] > 4 * 128


def test_finetune_does_not_train_twice(pack, trainable):
    first = pack.node("FineTuneMapping").finetune(**trainable)
    steps = []
    pack.host.set_hooks(progress=lambda value, total, preview: steps.append(value))
    again = pack.node("FineTuneMapping").finetune(**trainable)
    assert steps == [] and "no training needed" in again[3]
    weights_hash = pack.core.weights_hash
    assert weights_hash(again[0]) == weights_hash(first[0])
    assert torch.equal(again[1], first[1]) and torch.equal(again[2], first[2])
    trainable["seed"] += 1
    assert "Trained from the start" in pack.node("FineTuneMapping").finetune(**trainable)[3]


def test_cancelled_finetune_goes_on(pack, trainable):
    class Cancelled(Exception):
        pass

    def stop_after_two(value, total, preview):
        if value == 2:
            raise Cancelled

    pack.host.set_hooks(progress=stop_after_two)
    with pytest.raises(Cancelled):
        pack.node("FineTuneMapping").finetune(**trainable)
    steps = []
    pack.host.set_hooks(progress=lambda value, total, preview: steps.append(value))
    model, _, _, report, *_ = pack.node("FineTuneMapping").finetune(**trainable)
    assert steps == [3, 4] and "Went on from step 2" in report
    for run in pack.model_files.runs_folder().iterdir():
        (run / "model.safetensors").unlink()
    uninterrupted = pack.node("FineTuneMapping").finetune(**trainable)[0]
    assert pack.core.weights_hash(model) == pack.core.weights_hash(uninterrupted)


def test_finetune_with_images_masks_and_bad_sketches(pack, trainable):
    trainable["sketches"] = 1 - trainable["sketches"][..., 0]
    report = pack.node("FineTuneMapping").finetune(**trainable, images=torch.rand(3, 40, 50, 3))[3]
    assert "Trained from the start" in report
    trainable["sketches"] = torch.full((1, 20, 20, 3), float("nan"))
    with pytest.raises(ValueError, match="NaN"):
        pack.node("FineTuneMapping").finetune(**trainable)
    trainable["sketches"] = torch.ones(1, 40, 40, 3)
    trainable["sketches"][:, 10:30, 10:30, 1:] = 0.1
    with pytest.raises(ValueError, match="sketch 1 looks like a photo"):
        pack.node("FineTuneMapping").finetune(**trainable)


def test_lists_of_images_are_one_training(pack, trainable):
    """Pictures of different sizes in lists, as core's folder loaders give them, and as one prepared batch."""
    sketches = [trainable["sketches"], 1 - trainable["sketches"][:, :, 5:]]
    photos = [torch.rand(1, 40, 50, 3), torch.rand(2, 33, 32, 3)]
    inputs = {name: [value] for name, value in trainable.items()}
    finetune = pack.node("FineTuneMapping").finetune
    with torch.inference_mode():
        report = finetune(**{**inputs, "sketches": sketches, "images": photos})[3]
    assert "Trained from the start" in report
    same_size = [trainable["sketches"], trainable["sketches"].flip(1)]
    assert "Trained from the start" in finetune(**{**inputs, "sketches": same_size})[3]
    assert "no training needed" in finetune(**{**trainable, "sketches": torch.cat(same_size)})[3]


def test_previews_take_little_time(pack, trainable, monkeypatch):
    """A preview that takes 0.3 s is not made again before its share of the time is earned."""
    clock = SimpleNamespace(now=100.0)
    monkeypatch.setattr(pack.training.time, "perf_counter", lambda: clock.now)
    silent = SimpleNamespace(step=lambda *_: None)
    watcher = pack.training.Watcher(trainable["model"], trainable["options"], silent)
    made = []

    def slow(model):
        clock.now += 0.3
        made.append(clock.now)

    monkeypatch.setattr(watcher, "samples", slow)
    monkeypatch.setattr(watcher, "live", lambda samples: None)
    tuner = SimpleNamespace(result=lambda: None)
    for step in range(400):
        clock.now += 0.05
        watcher(SimpleNamespace(step=step), tuner)
    assert 2 <= len(made) <= 6
    assert sum(0.3 for _ in made[1:]) < 0.1 * (clock.now - 100)


def test_nothing_of_a_training_stays_in_memory(pack, trainable):
    result = pack.node("FineTuneMapping").finetune(**trainable)
    gc.collect()
    kept = [x for x in gc.get_objects() if isinstance(x, (pack.training.SketchFinetuner, torch.optim.Optimizer))]
    assert kept == [] and result[0].generator.mapping is not None
