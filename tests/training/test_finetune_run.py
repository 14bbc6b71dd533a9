"""Runs on disk: nothing is trained twice, nothing is lost, and resuming after kill -9 is exact."""

import copy
import json
import signal
import subprocess
import sys
from dataclasses import replace
from pathlib import Path

import pytest
import torch
from mutations import mutated
from tiny import same_weights, some_sketches, tiny_model

from gansketching_core.checkpoints.describe import describe
from gansketching_core.datasets import ImageSet
from gansketching_core.latents.sampling import sample_drawings
from gansketching_core.networks.line_extractor import LineExtractor
from gansketching_core.networks.photosketch import PhotoSketch
from gansketching_core.sketches.prepare import prepare_sketches
from gansketching_core.training import finetune_run, loop
from gansketching_core.training.finetune_config import FinetuneConfig

CONFIG = FinetuneConfig(steps=6, batch=4, r1_every=2, warm_start=0, precision="float32")


def customise(folder, config=CONFIG, **options):
    return finetune_run.customise(tiny_model(), some_sketches(), LineExtractor(), config, folder=folder, **options)


def test_the_same_inputs_return_at_once(tmp_path):
    steps = []
    first = customise(tmp_path, on_step=lambda report, _finetuner: steps.append(report.step))
    assert steps == list(range(6)) and first.trained_steps == 6 and not first.from_cache
    again = customise(tmp_path, on_step=lambda *_: pytest.fail("trained again"))
    assert again.from_cache and same_weights(first.model, again.model)
    assert again.match == first.match and 0 <= first.match.nearer <= 1
    assert [r.losses for r in again.history] == [r.losses for r in first.history]
    assert again.model.base_hash == tiny_model().base_hash
    torch.testing.assert_close(again.model.w_mean, first.model.w_mean)
    assert {p.name for p in first.path.iterdir()} == {"model.safetensors", "history.json"}


def test_stop_keeps_the_model_as_it_is(tmp_path):
    seen = []
    kept = customise(tmp_path, on_step=lambda report, _: seen.append(report.step), stop=lambda: len(seen) == 4)
    assert kept.stopped and kept.trained_steps == len(kept.history) == 4 and kept.total_steps == 6
    four = customise(tmp_path / "four", CONFIG.model_copy(update={"steps": 4}))
    assert same_weights(kept.model, four.model) and not four.stopped
    again = customise(tmp_path, on_step=lambda *_: pytest.fail("trained again"))
    assert again.stopped and again.from_cache and same_weights(again.model, kept.model)
    assert len(again.history) == 4 and again.total_steps == 6


def test_a_stopped_training_goes_on_when_asked(tmp_path):
    customise(tmp_path, stop=lambda: True)
    known = []
    rest = customise(tmp_path, go_on=True, on_start=known.extend)
    assert [report.step for report in known] == [0]
    assert rest.trained_steps == 5 and not rest.stopped and len(rest.history) == 6
    assert same_weights(rest.model, customise(tmp_path / "whole").model)
    assert {p.name for p in rest.path.iterdir()} == {"model.safetensors", "history.json"}
    assert customise(tmp_path, go_on=True).from_cache


def test_the_result_is_small_and_names_its_settings(tmp_path):
    result = customise(tmp_path)
    assert (result.path / "model.safetensors").stat().st_size < 10_000
    assert "learning_rate" in json.dumps(describe(result.path / "model.safetensors"))


def key(model=None, sketches=None, sketcher=None, config=CONFIG, images=None):
    sketches = some_sketches() if sketches is None else sketches
    return finetune_run.run_key(model or tiny_model(), sketches, sketcher or LineExtractor(), config, images)


def test_every_input_and_the_revision_of_the_training_count_in_the_key(monkeypatch):
    torch.manual_seed(0)
    clamped = tiny_model()
    clamped = replace(clamped, config=clamped.config.model_copy(update={"conv_clamp": 256.0}))
    other_judge = replace(tiny_model(), discriminator=tiny_model(1).discriminator)
    sketcher = PhotoSketch(width=4, blocks=1)
    other_sketcher = copy.deepcopy(sketcher)
    other_sketcher.model[2].eps = 0.1
    keys = [
        key(),
        key(model=tiny_model(1)),
        key(model=clamped),
        key(model=other_judge),
        key(model=replace(tiny_model(), discriminator=None)),
        key(model=replace(tiny_model(), w_mean=tiny_model().w_mean + 0.1)),
        key(sketches=some_sketches(2)),
        key(sketcher=sketcher),
        key(sketcher=other_sketcher),
        key(sketcher=LineExtractor(threshold=0.5)),
        key(sketcher=LineExtractor(sharpness=0.5)),
        key(config=FinetuneConfig(steps=7)),
        key(images=ImageSet(torch.rand(2, 32, 32, 3), 32)),
    ]
    assert len(set(keys)) == len(keys) and key() == keys[0]
    monkeypatch.setattr(finetune_run, "REVISION", finetune_run.REVISION + 1)
    assert key() not in keys


def test_rounding_on_another_device_does_not_change_the_key():
    model = replace(tiny_model(), w_mean=torch.linspace(-1, 1, 8))
    same = replace(model, w_mean=model.w_mean * (1 + 1e-6))
    sketches = (some_sketches() * 0.995).clamp(-1, 1)
    noise = 1e-6 * torch.randn(sketches.shape, generator=torch.Generator().manual_seed(0))
    assert key(model=model, sketches=sketches) == key(model=same, sketches=sketches + noise)
    assert key(sketcher=LineExtractor().train()) == key(sketcher=LineExtractor().eval())


def test_drawings_made_on_another_device_do_not_change_the_key():
    """Strokes are matched to drawings of the model's samples, whose last bits depend on the device."""
    model = tiny_model()
    drawings = sample_drawings(model, LineExtractor(), count=8)
    noise = 1e-3 * torch.randn(drawings.shape, generator=torch.Generator().manual_seed(0))
    picture = (some_sketches(2, size=128)[:, 0, :, :, None] + 1) / 2
    first, second = (prepare_sketches(picture, 32, reference=reference) for reference in (drawings, drawings + noise))
    assert key(sketches=first) == key(sketches=second)


def test_the_model_that_comes_in_is_not_changed(tmp_path):
    model = replace(tiny_model(), base_hash="")
    run = finetune_run.customise(model, some_sketches(), LineExtractor(), SHORT, folder=tmp_path)
    assert model.base_hash == "" and run.model.base_hash == tiny_model().base_hash


def test_a_cancelled_run_goes_on_where_it_stopped(tmp_path):
    whole = customise(tmp_path / "whole")

    def cancel(report, _finetuner):
        if report.step == 3:
            raise KeyboardInterrupt

    with pytest.raises(KeyboardInterrupt):
        customise(tmp_path / "parts", on_step=cancel)
    steps = []
    rest = customise(tmp_path / "parts", on_step=lambda report, _finetuner: steps.append(report.step))
    assert steps == [4, 5] and rest.trained_steps == 2 and len(rest.history) == 6
    assert same_weights(whole.model, rest.model)


def test_starting_afresh(tmp_path):
    customise(tmp_path)
    assert customise(tmp_path, resume=False).trained_steps == 6


def test_damaged_files_are_made_again(tmp_path, caplog):
    run = customise(tmp_path).path
    (run / "model.safetensors").write_bytes(b"damaged")
    assert customise(tmp_path).trained_steps == 6
    (run / "history.json").unlink()
    assert customise(tmp_path).trained_steps == 6
    (run / "model.safetensors").unlink()
    (run / "state.pt").write_bytes(b"damaged")
    assert customise(tmp_path).trained_steps == 6
    assert "is damaged" in caplog.text and "trained again" in caplog.text
    assert (run / "state.broken").read_bytes() == b"damaged" and not (run / "state.pt").exists()


SHORT = FinetuneConfig(steps=2, batch=2, r1_every=2, warm_start=0, precision="float32")


def test_damaged_histories_are_made_again(tmp_path, monkeypatch):
    """Whatever a history holds, the result can be shown as a report and as curves."""
    first = customise(tmp_path, SHORT)
    data = (first.path / "history.json").read_bytes()
    monkeypatch.setattr(loop, "train", lambda *_, **__: pytest.fail("trained"))
    damaged = 0
    for seed in range(200):
        (first.path / "history.json").write_bytes(mutated(data, seed))
        loaded = finetune_run._load_finished(first.path, tiny_model(), SHORT.steps)
        damaged += loaded is None
        if loaded is not None:
            assert all(isinstance(value, float) for report in loaded.history for value in report.losses.values())
            assert f"{loaded.match} {loaded.seconds:.0f}"
            assert all(isinstance(report.step, int) for report in loaded.history)
    assert damaged > 50


def test_damaged_states_are_made_again(tmp_path):
    whole = customise(tmp_path / "whole", SHORT)
    run = customise(tmp_path, SHORT, stop=lambda: True).path
    state = (run / "state.pt").read_bytes()
    for seed in range(12):
        (run / "state.pt").write_bytes(mutated(state, seed))
        assert same_weights(customise(tmp_path, SHORT, go_on=True).model, whole.model), f"mutation {seed}"
        (run / "model.safetensors").unlink()


KILLED = """
import os, signal, sys
sys.path[:0] = {tests!r}
import torch
torch.set_num_threads(1)
from test_finetune_run import customise
from gansketching_core.training import loop
loop.CHECKPOINT_SECONDS = 0
loop.CHECKPOINT_SHARE = 1e9
polls = 0
def poll():
    global polls
    polls += 1
    if polls == {at}:
        os.kill(os.getpid(), signal.SIGKILL)
customise({folder!r}, poll=poll)
"""


@pytest.mark.skipif(sys.platform == "win32", reason="Windows has no SIGKILL")
def test_kill_9_and_resume_gives_the_same_bits(tmp_path):
    whole = customise(tmp_path / "whole")
    tests = str(Path(__file__).parent), str(Path(__file__).parents[1] / "helpers")
    for at in (60, 350, 700):  # a step polls about 150 times
        folder = str(tmp_path / f"killed {at}")
        script = KILLED.format(tests=tests, at=at, folder=folder)
        done = subprocess.run([sys.executable, "-c", script], capture_output=True, text=True, check=False)
        assert done.returncode == -signal.SIGKILL, done.stderr
        rest = customise(folder)
        assert same_weights(whole.model, rest.model), f"killed at poll {at}"
    assert 0 < rest.trained_steps < 6  # the last was killed late: after a checkpoint
