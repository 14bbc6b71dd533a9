"""Runs on disk: nothing is trained twice, nothing is lost, and resuming after kill -9 is exact."""

import json
import signal
import subprocess
import sys
from pathlib import Path

import pytest
import torch
from tiny import same_weights, some_sketches, tiny_model

from gansketching_core.checkpoints.describe import describe
from gansketching_core.datasets import ImageSet
from gansketching_core.networks.line_extractor import LineExtractor
from gansketching_core.networks.photosketch import PhotoSketch
from gansketching_core.training import finetune_run
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


def test_results_of_older_versions_are_still_found(tmp_path):
    first = customise(tmp_path)
    about = json.loads((first.path / "history.json").read_text())
    del about["stopped"], about["match"]["beats"]
    (first.path / "history.json").write_text(json.dumps(about))
    again = customise(tmp_path)
    assert again.from_cache and not again.stopped and again.match.beats is None


def test_the_result_is_small_and_names_its_settings(tmp_path):
    result = customise(tmp_path)
    assert (result.path / "model.safetensors").stat().st_size < 10_000
    assert "learning_rate" in json.dumps(describe(result.path / "model.safetensors"))


def test_every_input_and_the_revision_of_the_training_count_in_the_key(monkeypatch):
    def key(model=None, sketches=None, sketcher=None, config=CONFIG, images=None):
        sketches = some_sketches() if sketches is None else sketches
        return finetune_run.run_key(model or tiny_model(), sketches, sketcher or LineExtractor(), config, images)

    torch.manual_seed(0)
    keys = [
        key(),
        key(model=tiny_model(1)),
        key(sketches=some_sketches(2)),
        key(sketcher=PhotoSketch(width=4, blocks=1)),
        key(config=FinetuneConfig(steps=7)),
        key(images=ImageSet(torch.rand(2, 32, 32, 3), 32)),
    ]
    assert len(set(keys)) == len(keys) and key() == keys[0]
    monkeypatch.setattr(finetune_run, "REVISION", finetune_run.REVISION + 1)
    assert key() not in keys


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


def test_damaged_files_are_not_fatal(tmp_path):
    place = customise(tmp_path).path
    (place / "model.safetensors").write_bytes(b"damaged")
    assert customise(tmp_path).trained_steps == 6
    (place / "model.safetensors").unlink()
    (place / "state.pt").write_bytes(b"damaged")
    with pytest.raises(ValueError, match=r"is damaged; it was set aside as state\.broken"):
        customise(tmp_path)
    assert customise(tmp_path).trained_steps == 6


KILLED = """
import os, signal, sys
sys.path[:0] = {tests!r}
import torch
torch.set_num_threads(1)
from test_finetune_run import customise
from gansketching_core.training import finetune_run as runs
runs.CHECKPOINT_SECONDS = 0
polls = 0
def poll():
    global polls
    polls += 1
    if polls == {at}:
        os.kill(os.getpid(), signal.SIGKILL)
customise({folder!r}, poll=poll)
"""


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
    assert 0 < rest.trained_steps < 6  # the last was killed late: a checkpoint was there
