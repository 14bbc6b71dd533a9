"""Nodes that make, change, save and load latents, on a tiny model."""

from __future__ import annotations

import pytest
import torch
from loaded_pack import SAMPLING, images_of, seeded, tiny_model

pytestmark = pytest.mark.usefixtures("inference_mode", "home")


@pytest.fixture
def model(pack):
    return tiny_model(pack)


@pytest.mark.parametrize("space", ["z", "w", "w+"])
def test_sample_takes_latents_of_every_space(pack, model, space):
    expected = pack.node("Sample").sample(model, 1, 3, **SAMPLING)[0]
    latents = seeded(pack, model, space=space)
    assert latents.space == space
    assert torch.allclose(images_of(pack, model, latents), expected, atol=1e-5)
    half = pack.node("Sample").sample(model, 1, 3, latents=latents, **{**SAMPLING, "truncation": 0.5})[0]
    truncated = pack.node("TruncateLatents").truncate(model, latents, 0.5, 0)[0]
    assert torch.allclose(images_of(pack, model, truncated), half, atol=1e-5)


def test_walk_passes_through_the_keys(pack, model):
    keys = seeded(pack, model, count=3)
    looped = pack.node("InterpolateLatents").walk(keys, 12, True, "auto")[0]
    straight = pack.node("InterpolateLatents").walk(keys, 5, False, "lerp")[0]
    assert len(looped) == 12 and torch.allclose(looped.data[[0, 4, 8]], keys.data, atol=1e-5)
    assert torch.allclose(straight.data[[0, 2, 4]], keys.data, atol=1e-5)


def test_style_mix_changes_the_chosen_layers(pack, model):
    base, style = (seeded(pack, model, seed, space="w+") for seed in (1, 2))
    mixed = pack.node("StyleMix").mix(model, base, style, 4, -1)[0].data
    assert torch.equal(mixed[:, :4], base.data[:, :4]) and torch.equal(mixed[:, 4:], style.data[:, 4:])
    with pytest.raises(ValueError, match="layers 4 to 17"):
        pack.node("StyleMix").mix(model, base, style, 4, 17)


def test_join_and_pick(pack, model):
    a, b = seeded(pack, model, 1, 2), seeded(pack, model, 2, 3)
    joined = pack.node("JoinLatents").join(a, b, latents_4=a)[0]
    assert len(joined) == 7
    assert torch.equal(pack.node("PickLatents").pick(joined, "4, 0-1")[0].data, joined.data[[4, 0, 1]])
    with pytest.raises(ValueError, match="there is no latent 7: the batch has 7"):
        pack.node("PickLatents").pick(joined, "7")
    with pytest.raises(ValueError, match="one space"):
        pack.node("JoinLatents").join(a, seeded(pack, model, space="w"))


@pytest.mark.parametrize("numbers", ["", "a", "1,,2", "-1", "5-2", "0-99999999", "1.5"])
def test_bad_numbers_are_told_before_running(pack, numbers):
    assert "write for example" in pack.classes["GANSketching_PickLatents"].VALIDATE_INPUTS(numbers)
    assert pack.classes["GANSketching_PickLatents"].VALIDATE_INPUTS(None) is True


def test_latents_are_saved_in_their_folder_only(pack, model, home):
    latents = seeded(pack, model, space="w+")
    node = pack.node("SaveLatents")
    node.save(seeded(pack, model), "../../mine")
    for said in ("Saved", "Already saved"):  # the same latents are saved once
        shown = node.save(latents, "../../mine")["ui"]["text"][0]
        assert said in shown and "latents/mine_00002.safetensors" in shown
    assert (home / "output/gansketching/latents/mine_00002.safetensors").is_file()
    names = pack.node("LoadLatents").INPUT_TYPES()["required"]["name"][0]
    assert names == ["mine_00001.safetensors [output]", "mine_00002.safetensors [output]"]
    loaded = pack.node("LoadLatents").load(names[1])[0]
    assert loaded.space == "w+" and torch.equal(loaded.data, latents.data)
    assert not any("mine" in name for name in pack.model_files.generators())
    assert "Save GAN Latents" in pack.node("LoadLatents").VALIDATE_INPUTS("../x")
    with pytest.raises(ValueError, match="choose one of"):
        pack.node("LoadLatents").load("../../../secret")


def test_models_are_not_saved_among_latents(pack):
    assert pack.model_files.new_result("latents/x").parent.name == "latents_"
    assert pack.model_files.new_result("latents").parent.name == "gansketching"


@pytest.mark.parametrize("name", ["StyleMix", "EditLatents", "DirectionsSheet"])
def test_an_impossible_range_of_layers_is_told_before_running(pack, name):
    validate = pack.classes[f"GANSketching_{name}"].VALIDATE_INPUTS
    assert validate(2, 5) is True and validate(4, 4) is True and validate(7, -1) is True
    assert validate(None, 3) is True and validate(3, None) is True  # comes by a link
    assert "first_layer 6 is after last_layer 2" in validate(6, 2)
    assert "layers go from 0" in validate(0, 99) and "layers go from 0" in validate(-1, 3)
