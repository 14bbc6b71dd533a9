"""Nodes that mix customised models and that bridge latents, on tiny models."""

from __future__ import annotations

import pytest
import torch
from loaded_pack import customised, defaults, images_of, seeded, tiny_model

pytestmark = pytest.mark.usefixtures("inference_mode", "home")
QUICK = {"pairs": "projected", "samples": 20, "held_out": 8, "steps": 1, "pool": 4}


@pytest.fixture
def model(pack):
    return tiny_model(pack)


def test_sketch_strength_goes_from_the_original_through_the_customised_model(pack, model):
    other, z = customised(pack, model), seeded(pack, model)
    node = pack.node("SketchStrength")
    of_both = [images_of(pack, m, z) for m in (model, other)]
    for strength, expected in ((0.0, of_both[0]), (1.0, of_both[1])):
        assert torch.equal(images_of(pack, node.choose(model, other, strength)[0], z), expected)
    beyond = node.choose(model, other, 1.5)[0].generator.mapping.w_shift
    torch.testing.assert_close(beyond, 1.5 * other.generator.mapping.w_shift)
    kind, options = node.INPUT_TYPES()["required"]["strength"]
    assert kind == "FLOAT" and options["display"] == "slider" and options["default"] == 1


@pytest.mark.parametrize("mode", ["weights", "w"])
def test_compose_takes_those_that_are_connected(pack, model, mode):
    first, third = customised(pack, model), customised(pack, model)
    third.generator.mapping.w_shift.add_(1)
    weights = defaults(pack, "ComposeModels", mode=mode, weight_1=0.5, weight_2=7.0, weight_3=-1.0)
    mixed = pack.node("ComposeModels").compose(model, model_1=first, model_3=third, **weights)[0]
    z = seeded(pack, model)
    assert images_of(pack, mixed, z).isfinite().all()
    expected = 0.5 * first.generator.mapping.w_shift - third.generator.mapping.w_shift
    torch.testing.assert_close(mixed.generator.mapping.w_shift, expected)
    with pytest.raises(ValueError, match="different base models"):
        pack.node("ComposeModels").compose(model, model_1=tiny_model(pack, 9, "other"), **weights)


def test_a_bridge_is_fitted_saved_loaded_and_crossed(pack, model, home):
    target = tiny_model(pack, 4, "other")
    options = defaults(pack, "FitBridge", **QUICK)
    bridge, picture, report = pack.node("FitBridge").fit(model, target, **options)
    assert "Bridge fitted to 20 samples" in report and picture.shape[3] == 3
    pack.node("SaveBridge").save(bridge, "mine")
    (name,) = pack.node("LoadBridge").INPUT_TYPES()["required"]["name"][0]
    loaded = pack.node("LoadBridge").load(name)[0]
    z = seeded(pack, model)
    crossed = [pack.node("BridgeLatents").cross(b, model, target, z)[0] for b in (bridge, loaded)]
    assert crossed[0].space == "w" and torch.equal(crossed[0].data, crossed[1].data)
    assert images_of(pack, target, crossed[0]).isfinite().all()
    with pytest.raises(ValueError, match="the bridge leads from"):
        pack.node("BridgeLatents").cross(bridge, target, model, z)
    assert pack.node("FitBridge").fit(model, target, **options)[2].splitlines()[0] == report.splitlines()[0]


def test_a_cancelled_fit_goes_on(pack, model, home):
    options = defaults(pack, "FitBridge", **QUICK)
    polls = []

    def cancel():
        polls.append(1)
        if len(polls) == 6:
            raise KeyboardInterrupt

    pack.host.set_hooks(poll=cancel)
    with pytest.raises(KeyboardInterrupt):
        pack.node("FitBridge").fit(model, tiny_model(pack, 4, "other"), **options)
    pack.host.set_hooks()
    assert "20 samples" in pack.node("FitBridge").fit(model, tiny_model(pack, 4, "other"), **options)[2]
