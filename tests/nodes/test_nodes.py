"""What every node declares, and the nodes that draw and sample, without ComfyUI."""

from __future__ import annotations

import inspect
import re

import numpy as np
import pytest
import torch
from loaded_pack import ROOT, SAMPLING, as_image, drawing, tiny_model

NODE_IDS = (
    "LoadStyleGAN LoadPhotoSketch LoadSketches PrepareSketch PhotoSketch FineTuneOptions FineTuneMapping "
    "SaveCustomisedModel Sample SideBySide LoadPhotos ProjectImage ProjectSketch LatentsFromSeed InterpolateLatents "
    "StyleMix TruncateLatents JoinLatents PickLatents SaveLatents LoadLatents InterpolateModels ModelFilm WShift "
    "FitDirections EditLatents DirectionsSheet SaveDirections LoadDirections SketchPad "
    "EvaluateModel SketchMatchScore GetModel"
).split()


def shown_inputs(node) -> list[dict]:
    """The sections of a node's inputs, but for what the editor fills in."""
    return [section for name, section in node.INPUT_TYPES().items() if name != "hidden"]


# --------------------------------------------------------------------------------------------------------- declarations


def test_registered_ids_and_names(pack):
    assert sorted(pack.classes) == sorted(f"GANSketching_{name}" for name in NODE_IDS)
    names = pack.module.NODE_DISPLAY_NAME_MAPPINGS
    assert names.keys() == pack.classes.keys() and len(set(names.values())) == len(names)
    assert (ROOT / pack.module.WEB_DIRECTORY).is_dir()


@pytest.mark.parametrize("name", NODE_IDS)
def test_declaration_is_complete(pack, home, name):
    node = pack.classes[f"GANSketching_{name}"]
    assert node.CATEGORY.startswith("GANSketching/") and len(node.DESCRIPTION) > 20 and node.SEARCH_ALIASES
    outputs = node.RETURN_TYPES
    assert len(outputs) == len(getattr(node, "RETURN_NAMES", ())) == len(getattr(node, "OUTPUT_TOOLTIPS", ()))
    assert all(len(text) > 5 for text in getattr(node, "OUTPUT_TOOLTIPS", ()))
    declared = {k: v for section in shown_inputs(node) for k, v in section.items()}
    assert all(len(options["tooltip"]) > 10 for _, options in declared.values())
    inspect.signature(getattr(node, node.FUNCTION)).bind(None, **dict.fromkeys(declared))


@pytest.mark.parametrize("name", NODE_IDS)
def test_defaults_are_valid(pack, home, name):
    for section in shown_inputs(pack.classes[f"GANSketching_{name}"]):
        for kind, options in section.values():
            if isinstance(kind, list):
                assert options["default"] in (kind or [""])
            elif kind in ("INT", "FLOAT"):
                assert options["min"] <= options["default"] <= options["max"]


@pytest.mark.parametrize("name", NODE_IDS)
def test_help_page_explains_every_socket(pack, home, name):
    node = pack.classes[f"GANSketching_{name}"]
    page = (ROOT / pack.module.WEB_DIRECTORY / "docs" / f"GANSketching_{name}.md").read_text("utf-8")
    assert page.startswith(f"# {node.DISPLAY_NAME}\n")
    names = [*(k for section in shown_inputs(node) for k in section), *getattr(node, "RETURN_NAMES", ())]
    assert [n for n in names if f"**{n}**" not in page] == []
    shown = re.findall(r"!\[.+\]\((\w+\.jpg)\)", page)
    assert shown and all((ROOT / pack.module.WEB_DIRECTORY / "docs" / picture).is_file() for picture in shown)


def test_only_host_knows_comfyui():
    knows = re.compile(r"^\s*(import|from) (comfy|folder_paths|server|execution|nodes)\b", re.MULTILINE)
    found = {path.name for path in (ROOT / "nodes").glob("*.py") if knows.search(path.read_text("utf-8"))}
    assert found == {"host.py"}


def test_training_seed_does_not_change_by_itself(pack):
    required = pack.classes["GANSketching_FineTuneMapping"].INPUT_TYPES()["required"]
    assert required["seed"][1]["control_after_generate"] is False
    assert pack.classes["GANSketching_Sample"].INPUT_TYPES()["required"]["seed"][1]["control_after_generate"] is True


# -------------------------------------------------------------------------------------------------------------- widgets


def test_widgets_come_from_the_config(pack):
    found = pack.widgets.widgets(pack.core.SampleConfig)
    kind, options = found["truncation"]
    assert (kind, options["min"], options["max"], options["default"]) == ("FLOAT", 0.0, 2.0, 1.0)
    assert found["noise"][0] == ["const", "random", "none"]
    assert found["truncation_cutoff"][0] == "INT"
    low = pack.widgets.widget(pack.core.FinetuneConfig.model_fields["learning_rate"])[1]
    assert 0 < low["min"] < 1e-3 and low["step"] < 0.02


def test_options_keep_the_preset_until_changed(pack):
    config = pack.core.FinetuneConfig
    sections = pack.classes["GANSketching_FineTuneOptions"].INPUT_TYPES()["required"]
    untouched = {name: options["default"] for name, (_, options) in sections.items()}
    for preset in ("fast", "paper"):
        assert pack.node("FineTuneOptions").choose(**{**untouched, "preset": preset}) == (config.preset(preset),)
    (changed,) = pack.node("FineTuneOptions").choose(
        **{**untouched, "preset": "paper", "steps": 7, "share_fakes": "on", "ema": 0.0, "loss": "hinge"}
    )
    assert changed == config.preset("paper", steps=7, share_fakes=True, ema=0.0, loss="hinge")
    assert "seed" not in sections and f"fast {config().steps}" in sections["steps"][1]["tooltip"]


def test_bad_options_are_named(pack):
    with pytest.raises(ValueError, match="steps 0"):
        pack.node("FineTuneOptions").choose("fast", steps=0)
    validate = pack.classes["GANSketching_FineTuneOptions"].VALIDATE_INPUTS
    assert validate("color,cutout") is True and validate(pack.widgets.AS_PRESET) is True and validate(None) is True
    assert "sparkle" in validate("sparkle")


@pytest.mark.parametrize("name", ["StyleMix", "EditLatents", "DirectionsSheet"])
def test_an_impossible_range_of_layers_is_told_before_running(pack, name):
    validate = pack.classes[f"GANSketching_{name}"].VALIDATE_INPUTS
    assert validate(2, 5) is True and validate(4, 4) is True and validate(7, -1) is True
    assert validate(None, 3) is True and validate(3, None) is True  # comes by a link
    assert "first_layer 6 is after last_layer 2" in validate(6, 2)
    assert "layers go from 0" in validate(0, 99) and "layers go from 0" in validate(-1, 3)


# ----------------------------------------------------------------------------------------------- sketching and sampling


def test_prepare_sketch_takes_images_and_masks(pack):
    node = pack.node("PrepareSketch")
    options = {"invert": "auto", "levels": True, "crop": True, "margin": 0.1, "stroke_width": 0.0}
    (sketches,) = node.prepare(as_image(drawing()), 64, **options)
    mask = 1 - as_image(drawing())[..., 0]
    assert sketches.shape == (1, 64, 64, 3)
    assert torch.allclose(node.prepare(mask, 64, **options)[0], sketches, atol=0.02)
    with pytest.raises(ValueError, match="blank"):
        node.prepare(torch.ones(1, 32, 32, 3), 64, **options)


def test_photosketch_keeps_odd_sizes(pack):
    photos = as_image(drawing((51, 70)).convert("RGB")).expand(2, -1, -1, -1)
    (drawn,) = pack.node("PhotoSketch").draw(pack.core.LineExtractor(), photos)
    assert drawn.shape == (2, 70, 51, 3)
    assert 0 <= drawn.min() < drawn.max() <= 1


def test_sample_shares_latents_between_models(pack, home):
    node, first, second = pack.node("Sample"), tiny_model(pack), tiny_model(pack, seed=1)
    pictures, latents = node.sample(first, 5, 3, **SAMPLING)
    assert pictures.shape == (3, 32, 32, 3) and latents.space == "z"
    assert torch.equal(node.sample(first, 0, 1, latents=latents, **SAMPLING)[0], pictures)
    assert torch.allclose(node.sample(first, 5, 4, **SAMPLING)[0][:3], pictures, atol=1e-5)
    assert not torch.equal(node.sample(second, 5, 3, latents=latents, **SAMPLING)[0], pictures)


def test_sample_reports_progress_and_can_be_cancelled(pack, home):
    seen = []
    pack.host.set_hooks(progress=lambda value, total, preview: seen.append((value, total)))
    pack.node("Sample").sample(tiny_model(pack), 0, 200, **SAMPLING)
    assert seen[-1] == (200, 200) and len(seen) > 1

    def stop():
        raise KeyboardInterrupt

    pack.host.set_hooks(poll=stop)
    with pytest.raises(KeyboardInterrupt):
        pack.node("Sample").sample(tiny_model(pack), 0, 2, **SAMPLING)


def test_bad_sampling_values_are_named(pack, home):
    with pytest.raises(ValueError, match="truncation 9"):
        pack.node("Sample").sample(tiny_model(pack), 0, 1, **{**SAMPLING, "truncation": 9})
    with pytest.raises(ValueError, match="no classes"):
        pack.node("Sample").sample(tiny_model(pack), 0, 1, **{**SAMPLING, "class_index": 2})


def test_side_by_side(pack):
    left, right = torch.zeros(4, 64, 64, 3), torch.ones(4, 64, 64, 3) * 0.5
    (picture,) = pack.node("SideBySide").compose(left, right, "before", "after", 0)
    assert picture.shape[0] == 1 and picture.shape[3] == 3
    assert picture.shape[2] > 4 * 128 and picture.shape[1] > 2 * 128
    darkest = (picture[0] == 0).all(dim=2)
    assert darkest.sum() >= 4 * 128**2 and not darkest[:, picture.shape[2] // 2 :].any()
    (wider,) = pack.node("SideBySide").compose(left, right, "before", "after", 0, sketches=torch.ones(30, 256, 256, 3))
    assert wider.shape[1] == picture.shape[1] and wider.shape[2] < 2 * picture.shape[2]


@pytest.mark.parametrize("values", [[], [1.0], [2.0, float("nan"), 1.5], [0.0, 0.0], [1e-9, 1e9], [-3.0, -1.0]])
def test_loss_plot_draws_any_history(pack, values):
    picture = pack.pictures.loss_plot({"G sketch": list(enumerate(values))})
    assert picture.size == (768, 432)
    assert (np.asarray(picture) == (31, 119, 180)).all(axis=2).any() == bool(values)
