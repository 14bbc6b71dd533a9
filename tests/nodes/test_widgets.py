"""Widgets made from the options' declarations, and checks before the run."""

from __future__ import annotations

import pytest
from loaded_pack import shown_inputs


def test_widgets_come_from_the_config(pack):
    made = pack.widgets.widgets(pack.core.SampleConfig)
    kind, options = made["truncation"]
    assert (kind, options["min"], options["max"], options["default"]) == ("FLOAT", 0.0, 2.0, 1.0)
    assert made["noise"][0] == ["const", "random", "none"]
    assert made["truncation_cutoff"][0] == "INT"
    low = pack.widgets.widget(pack.core.FinetuneConfig.model_fields["learning_rate"])[1]
    assert 0 < low["min"] < 1e-3 and low["step"] < 0.02


def test_options_keep_the_preset_until_changed(pack):
    config = pack.core.FinetuneConfig
    sections = shown_inputs(pack.classes["GANSketching_FineTuneOptions"])
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


class Wildcard(str):
    """The wildcard type of other packs: equal to every type."""

    __hash__ = str.__hash__

    def __ne__(self, other):
        return False


@pytest.mark.parametrize(
    ("given", "wanted", "fits"),
    [
        ("IMAGE", "IMAGE,MASK", True),
        ("MASK", "IMAGE,MASK", True),
        ("LATENT, MASK", "IMAGE,MASK", True),
        ("LATENT", "IMAGE,MASK", False),
        ("MASK", "IMAGE", False),
        ("*", "IMAGE", True),
        ("IMAGE", "*", True),
        (Wildcard("any"), "IMAGE", True),
        ("COMBO", ["a", "b"], True),
        (["a", "b"], ["a", "b"], True),
        ("STRING", ["a", "b"], False),
        (["a", "b"], "STRING", False),
    ],
)
def test_types_are_compared_as_in_comfyui(pack, given, wanted, fits):
    """Except that a plain "*" always fits; the cases are those of ComfyUI 0.3.64's validate_node_input."""
    assert pack.widgets.fits(given, wanted) is fits


def test_advanced_options_are_marked(pack):
    marked = pack.widgets.widgets(pack.core.ProjectConfig)
    assert marked["learning_rate"][1]["advanced"] and "advanced" not in marked["steps"][1]


def test_inputs_are_new_at_each_call(pack):
    """Other packs change what INPUT_TYPES returns, and lists of files change."""
    files = ["a"]
    input_types = pack.widgets.inputs(
        name=lambda: pack.widgets.one_of(files, "a", "A file."), count=pack.widgets.integer(1, 0, 9, "How many.")
    )
    input_types()["required"]["count"][1]["max"] = 2
    files.append("b")
    assert input_types()["required"]["count"][1]["max"] == 9
    assert input_types()["required"]["name"][0] == ["a", "b"]


def test_no_class_is_minus_one(pack):
    assert pack.widgets.or_none(-1) is None and pack.widgets.or_none(0) == 0
    _, options = pack.widgets.class_index("all in turn")
    assert options["default"] == -1 and "-1: all in turn." in options["tooltip"]
