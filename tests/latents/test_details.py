"""Models that follow sketches in their coarse layers and keep the original's w in the finer ones."""

from dataclasses import replace

import pytest
import torch
from tiny import some_sketches, tiny_model

from gansketching_core.checkpoints.load import load_customised, load_model
from gansketching_core.checkpoints.native import save_customised, save_model
from gansketching_core.latents.model_mixing import compose_models, interpolate_models
from gansketching_core.latents.sampling import SampleConfig, render, sample_z
from gansketching_core.latents.spaces import Latents, to_w, to_w_plus, truncate
from gansketching_core.networks.line_extractor import LineExtractor
from gansketching_core.training.finetune import SketchFinetuner
from gansketching_core.training.finetune_config import FinetuneConfig


@pytest.fixture(scope="module")
def base(tmp_path_factory):
    file = tmp_path_factory.mktemp("models") / "base.safetensors"
    save_model(tiny_model(), file)
    return load_model(file)


@pytest.fixture(scope="module")
def customised(base):
    options = {"steps": 2, "batch": 4, "shape_resolution": 8, "learning_rate": 0.2}
    finetuner = SketchFinetuner(base, some_sketches(), LineExtractor(), FinetuneConfig(**options))
    while finetuner.steps_done < 2:
        finetuner.step()
    return finetuner.result()


def test_finer_layers_take_the_original_w_and_coarse_ones_the_new(base, customised):
    z = sample_z(base, 3)
    ws, before = to_w_plus(customised, z).data, to_w(base, z).data
    assert torch.equal(ws[:, 3:], before[:, None].expand_as(ws[:, 3:]))
    assert not torch.allclose(ws[:, 0], before, atol=1e-3)
    assert torch.equal(ws[:, 0], ws[:, 2])


def test_truncation_moves_each_layer_towards_the_mean_of_its_own_mapping_network(base, customised):
    z = sample_z(base, 2)
    ws = truncate(customised, z, 0.0).data
    assert torch.allclose(ws[:, :3], customised.w_mean.expand_as(ws[:, :3]), atol=1e-6)
    assert torch.allclose(ws[:, 3:], base.w_mean.expand_as(ws[:, 3:]), atol=1e-6)
    half = truncate(customised, z, 0.5).data
    full = to_w_plus(customised, z).data
    assert torch.allclose(half, (full + ws) / 2, atol=1e-5)


def test_a_saved_customised_model_gives_the_same_images(base, customised, tmp_path):
    save_customised(customised, tmp_path / "small.safetensors")
    loaded = load_customised(tmp_path / "small.safetensors", base)
    z = sample_z(base, 2)
    assert torch.equal(render(loaded, z), render(customised, z))


def test_a_whole_model_cannot_be_written_and_the_message_says_what_can(customised, tmp_path):
    with pytest.raises(ValueError, match="save it as a customised model"):
        save_model(customised, tmp_path / "whole.safetensors")


@pytest.mark.parametrize("mode", ["weights", "w"])
def test_mixtures_reach_both_ends_and_keep_the_finer_layers(base, customised, mode):
    z = sample_z(base, 2)
    config = SampleConfig(truncation=0.7)
    assert torch.equal(render(interpolate_models(base, customised, 0.0, mode), z, config), render(base, z, config))
    end = render(interpolate_models(base, customised, 1.0, mode), z, config)
    assert torch.equal(end, render(customised, z, config))
    middle = to_w_plus(interpolate_models(base, customised, 0.5, mode), z).data
    assert torch.equal(middle[:, 3:], to_w_plus(base, z).data[:, 3:])


def test_models_customised_in_other_layers_are_not_mixed(base, customised):
    details = replace(customised.details, first=1)
    with pytest.raises(ValueError, match="same shape_resolution"):
        compose_models(base, [customised, replace(customised, details=details)], [0.5, 0.5])


def test_w_plus_latents_of_the_original_fit_the_customised_model(base, customised):
    ws = to_w_plus(base, sample_z(base, 1))
    assert torch.equal(render(customised, ws), render(base, ws))
    assert isinstance(ws, Latents)
