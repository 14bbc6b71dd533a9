"""Messages about a training, and stopping it, without ComfyUI."""

from __future__ import annotations

import base64
import importlib
import io
import json

import pytest
import torch
from PIL import Image

from gansketching_core.training.finetune import StepReport


@pytest.fixture
def training_view(pack):
    return importlib.import_module(f"{pack.module.__name__}.nodes.training_view")


@pytest.fixture
def sent(training_view, monkeypatch):
    messages = []
    monkeypatch.setattr(training_view.host, "send", lambda event, data: messages.append(json.loads(json.dumps(data))))
    monkeypatch.setattr(training_view, "EVERY", 0.0)
    return messages


def report(step: int, **losses: float) -> StepReport:
    return StepReport(
        step, losses or {"D sketch fake": 0.5, "D sketch real": 0.25, "G sketch": 1.0, "R1 sketch": 9.0}, 2.0
    )


def test_a_message_tells_everything(training_view, sent):
    picture = Image.effect_noise((1400, 700), 90).convert("RGB")
    with training_view.Broadcast("5:12", 10) as broadcast:
        broadcast.step(report(0), picture)
        broadcast.step(report(1))
    last = sent[-1]
    assert (last["node"], last["state"], last["step"], last["total"]) == ("5:12", "training", 2, 10)
    assert last["seconds"] == 4 and last["seconds_left"] == 16
    assert last["curves"] == {"D sketch": [[0, 0.75], [1, 0.75]], "G sketch": [[0, 1.0], [1, 1.0]]}
    assert last["picture"].startswith("data:image/jpeg;base64,") and last["picture"] == sent[0]["picture"]


def test_messages_stay_small(training_view, sent):
    with training_view.Broadcast("5", 10_000) as broadcast:
        broadcast.started([report(k) for k in range(9_999)])
        broadcast.step(report(9_999, **{"G sketch": float("nan"), "G image": 1.0}))
    assert all(len(points) <= 300 for points in sent[-1]["curves"].values())
    assert len(json.dumps(sent[-1], allow_nan=False)) < 30_000


def test_a_picture_of_much_detail_is_made_smaller(training_view, sent):
    torch.manual_seed(0)
    noise = Image.fromarray(torch.randint(0, 256, (700, 1400, 3), dtype=torch.uint8).numpy())
    with training_view.Broadcast("5", 2) as broadcast:
        broadcast.step(report(0), noise)
    sides = Image.open(io.BytesIO(base64.b64decode(sent[0]["picture"].partition(",")[2]))).size
    assert len(sent[0]["picture"]) <= 60_000 and 100 < max(sides) < 640


def test_a_training_that_goes_on_shows_its_earlier_steps(training_view, sent):
    with training_view.Broadcast("5", 10) as broadcast:
        broadcast.started([report(0), report(1)])
        broadcast.step(report(2))
    assert [message["step"] for message in sent] == [2, 3] and sent[-1]["seconds"] == 6
    assert [step for step, _ in sent[-1]["curves"]["G sketch"]] == [0, 1, 2]


def test_only_the_named_training_stops(training_view, sent):
    with training_view.Broadcast("5", 10) as first, training_view.Broadcast("5", 10) as second:
        first.step(report(0))
        token = sent[-1]["token"]
        assert training_view.stop_and_keep({"token": token}) == (200, {"stopping": token})
        assert first.stop() and not second.stop()
        first.step(report(1))
        assert sent[-1]["state"] == "stopping"
    assert training_view.stop_and_keep({"token": token})[0] == 404


def test_a_message_late_in_a_long_training_reads_few_reports(training_view, sent, monkeypatch):
    """Its cost does not grow with the number of steps: the reports before it are not read again."""
    losses = {"D sketch fake": 0.5, "D sketch real": 0.25, "G sketch": 1.0}

    class Counted:
        seconds, timings, reads = 0.5, {}, 0

        def __init__(self, step):
            self.step = step

        @property
        def losses(self):
            Counted.reads += 1
            return losses

    with training_view.Broadcast("5", 75_000) as broadcast:
        monkeypatch.setattr(training_view, "EVERY", 1e9)
        for step in range(74_999):
            broadcast.step(Counted(step))
        monkeypatch.setattr(training_view, "EVERY", 0.0)
        Counted.reads = 0
        broadcast.step(Counted(74_999))
    assert Counted.reads <= 1
    last = sent[-1]
    assert (last["step"], last["seconds"], last["seconds_left"]) == (75_000, 37_500, 0)
    for points in last["curves"].values():
        steps = [step for step, _ in points]
        assert 150 <= len(steps) <= 300 and steps[0] == 0 and steps[-1] > 74_000
        assert len({b - a for a, b in zip(steps, steps[1:])}) == 1, "evenly thinned"


def test_a_click_at_the_very_end_is_answered(training_view, monkeypatch):
    """The training may end in its own thread between any two lines of the answer."""

    class Ending(dict):
        def __contains__(self, token):
            return super().__contains__(token) and self.pop(token) is not None

    monkeypatch.setattr(training_view, "_running", Ending())
    broadcast = training_view.Broadcast("5", 10).__enter__()
    assert training_view.stop_and_keep({"token": broadcast.token})[0] in (200, 404)


@pytest.mark.parametrize("data", [None, [], "x", {}, {"token": 3}, {"token": None}])
def test_other_posts_are_refused(training_view, data):
    assert training_view.stop_and_keep(data)[0] == 400


def test_the_end_is_told(training_view, sent):
    with pytest.raises(KeyboardInterrupt), training_view.Broadcast("5", 3) as broadcast:
        broadcast.step(report(0))
        raise KeyboardInterrupt
    assert sent[-1]["state"] == "cancelled"
    with pytest.raises(KeyboardInterrupt), training_view.Broadcast("5", 3) as broadcast:
        broadcast.started([])
        raise KeyboardInterrupt
    assert sent[-1]["state"] == "cancelled" and sent[-1]["step"] == 0
    with pytest.raises(FloatingPointError), training_view.Broadcast("5", 3) as broadcast:
        broadcast.step(report(0))
        raise FloatingPointError
    assert sent[-1]["state"] == "failed"
    with training_view.Broadcast("5", 3) as broadcast:
        broadcast.finished([report(0), report(1)], True, Image.new("RGB", (8, 8)))
    assert sent[-1]["state"] == "stopped" and sent[-1]["step"] == 2


def test_without_an_editor_nothing_is_sent(training_view, sent):
    with training_view.Broadcast(None, 3) as broadcast:
        broadcast.step(report(0), Image.new("RGB", (8, 8)))
    assert sent == []


def test_stop_and_keep_hands_the_model_on(training_view, sent, pack, trainable, monkeypatch):
    def press(event, data):
        sent.append(data)
        if data["step"] == 2:
            training_view.stop_and_keep({"token": data["token"]})

    monkeypatch.setattr(training_view.host, "send", press)
    trainable["options"] = trainable["options"].model_copy(update={"steps": 6})
    model, _, _, text, *_ = pack.node("FineTuneMapping").finetune(**trainable, node="7")
    assert "2 steps" in text and "Stopped and kept at step 2 of 6" in text
    assert [message["state"] for message in sent][-1] == "stopped"
    moved = model.generator.mapping.state_dict(), trainable["model"].generator.mapping.state_dict()
    assert any(not torch.equal(moved[0][name], moved[1][name]) for name in moved[0])
    text = pack.node("FineTuneMapping").finetune(**trainable, node="7")[3]
    assert "no training needed" in text and "Stopped and kept at step 2 of 6" in text
    del sent[:]
    monkeypatch.setattr(training_view.host, "send", lambda event, data: sent.append(data))
    text = pack.node("FineTuneMapping").finetune(**trainable, go_on=True, node="7")[3]
    assert "Went on from step 2" in text and "6 steps" in text and "Stopped" not in text
    assert (sent[0]["state"], sent[0]["step"], sent[-1]["state"], sent[-1]["step"]) == ("training", 2, "done", 6)
    assert [step for step, _ in sent[-1]["curves"]["G sketch"]] == list(range(6))
