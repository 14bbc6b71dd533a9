"""The training loop: what is saved when, and what a later call makes of it."""

import os

import pytest
import torch
from mutations import mutated
from pydantic import BaseModel

from gansketching_core.training import loop
from gansketching_core.training.loop import StepReport, Trainer


class Options(BaseModel):
    rate: float = 0.5
    steps: int = 5


class Counter(Trainer):
    """Adds up `rate`; its step is not finished between the two updates."""

    def __init__(self, rate=0.5, resumes_within_step=False, fails_at=None):
        self.config = Options(rate=rate)
        self.resumes_within_step = resumes_within_step
        self.fails_at = fails_at
        self.total = torch.zeros(2)

    def step(self):
        self.total[0] += self.config.rate
        if self.steps_done == self.fails_at:
            raise FloatingPointError
        self.total[1] += self.config.rate
        self.steps_done += 1
        return StepReport(self.steps_done - 1, {"total": float(self.total[0])}, 0.1)

    def parts(self):
        return {"total": self.total}


def run(folder, trainer=None, total=5, **options):
    trainer = trainer or Counter()
    history = loop.resume(trainer, folder / "state.pt")
    earlier = len(history)
    loop.train(trainer, total, folder / "state.pt", history, **options)
    return trainer, history, earlier


def saved(folder) -> dict:
    return torch.load(folder / "state.pt", weights_only=True)


def test_a_training_runs_to_its_end_and_can_be_made_longer(tmp_path):
    steps = []
    trainer, history, earlier = run(tmp_path, on_step=lambda report: steps.append(report.step))
    assert steps == [0, 1, 2, 3, 4] == [report.step for report in history]
    assert earlier == 0 and saved(tmp_path)["trainer"]["step"] == 5
    trainer, history, earlier = run(tmp_path, total=7)
    assert earlier == 5 and trainer.steps_done == len(history) == 7 and trainer.total.tolist() == [3.5, 3.5]


def test_stopping_keeps_the_state(tmp_path):
    _, history, _ = run(tmp_path, stop=lambda: True)
    assert len(history) == 1 == saved(tmp_path)["trainer"]["step"]
    trainer, history, earlier = run(tmp_path)
    assert earlier == 1 and len(history) == 5 and trainer.total.tolist() == [2.5, 2.5]


def test_checkpoints_are_written_at_intervals(tmp_path, monkeypatch):
    monkeypatch.setattr(loop, "CHECKPOINT_SECONDS", 0)
    monkeypatch.setattr(loop, "CHECKPOINT_SHARE", 1e9)
    steps = []
    run(tmp_path, on_checkpoint=lambda: steps.append(saved(tmp_path)["trainer"]["step"]))
    assert steps == [1, 2, 3, 4, 5, 5]


def test_checkpoints_take_a_small_share_of_the_time(tmp_path, monkeypatch):
    now = 0.0

    def clock():
        return now

    def seconds_pass(seconds):
        nonlocal now
        now += seconds

    monkeypatch.setattr(loop.time, "monotonic", clock)
    checkpoints = []

    def slow_checkpoint():
        checkpoints.append(now)
        seconds_pass(20)

    run(tmp_path, total=100, on_step=lambda _: seconds_pass(10), on_checkpoint=slow_checkpoint)
    first, second, third, *_ = checkpoints
    assert first == 40 and second - first == third - second == 20 + 410  # 20 s of each 400 s and the step under way


def test_an_exception_between_steps_saves_the_state(tmp_path):
    def cancel(report):
        if report.step == 2:
            raise KeyboardInterrupt

    with pytest.raises(KeyboardInterrupt):
        run(tmp_path, on_step=cancel)
    assert saved(tmp_path)["trainer"]["step"] == 3 == len(saved(tmp_path)["history"])


def test_half_a_step_is_saved_only_by_trainers_that_can_go_on_from_it(tmp_path):
    with pytest.raises(FloatingPointError):
        run(tmp_path, Counter(fails_at=2))
    assert not (tmp_path / "state.pt").exists()
    with pytest.raises(FloatingPointError):
        run(tmp_path, Counter(fails_at=2, resumes_within_step=True))
    assert saved(tmp_path)["trainer"]["total"].tolist() == [1.5, 1.0]


def test_other_options_are_refused_and_the_state_is_kept(tmp_path):
    run(tmp_path)
    with pytest.raises(ValueError, match=r"the saved run has rate 0\.5, this one 0\.7: use the same options"):
        run(tmp_path, Counter(rate=0.7))
    assert saved(tmp_path)["trainer"]["step"] == 5


def test_a_state_with_missing_parts_leaves_the_trainer_as_it_was(tmp_path):
    run(tmp_path)
    state = saved(tmp_path)
    del state["trainer"]["step"]
    torch.save(state, tmp_path / "state.pt")
    trainer = Counter()
    assert loop.resume(trainer, tmp_path / "state.pt") == []
    assert trainer.total.tolist() == [0, 0] and trainer.steps_done == 0
    assert os.listdir(tmp_path) == ["state.broken"]


def test_damaged_states_are_set_aside_and_the_training_starts_again(tmp_path, caplog):
    run(tmp_path)
    data = (tmp_path / "state.pt").read_bytes()
    fresh = 0
    for seed in range(300):
        (tmp_path / "state.pt").write_bytes(mutated(data, seed))
        trainer, history, earlier = run(tmp_path)
        assert trainer.total.tolist() == [2.5, 2.5] and len(history) == 5
        fresh += earlier == 0
    assert fresh > 150 and "is damaged" in caplog.text
