"""Mixing customised models: how strongly one follows its sketches, and several of one base at once."""

from typing import get_args

from ..gansketching_core.latents.model_mixing import MixMode, compose_models, interpolate_models
from . import host
from . import widgets as ui
from .widgets import MODEL

MOST_MODELS = 8  # that Compose GANs takes; compose_models.js shows as many as are connected, and one more
STRENGTH = "0: the original, 1: the customised model, in between: follows the sketches less. Above 1: exaggerates."
MODE = "weights: mixes the networks; the result can be saved. w: runs all and mixes their w: exact, not for saving."


def weighted_models(first: int, last: int) -> dict[str, ui.Widget]:
    """A socket and a weight for each of these numbers."""
    inputs = {}
    for k in range(first, last + 1):
        inputs[f"model_{k}"] = ui.socket(MODEL, f"Customised model number {k}, of the same base.")
        inputs[f"weight_{k}"] = ui.number(
            0.5, -3, 3, f"How much of what model {k} changes is added. Negative: opposite."
        )
    return inputs


class SketchStrength:
    DISPLAY_NAME = "Sketch Strength"
    CATEGORY = "GANSketching/editing"
    DESCRIPTION = "One slider from the original model through the customised one and beyond, without training again."
    SEARCH_ALIASES = ("strength", "amount", "slider", "customise", "customize", "interpolate models", "exaggerate")
    RETURN_TYPES = (MODEL,)
    RETURN_NAMES = ("model",)
    OUTPUT_TOOLTIPS = ("The model with this strength, to sample from, to save or to mix again.",)
    FUNCTION = "choose"
    INPUT_TYPES = ui.inputs(
        original=ui.socket(MODEL, "The model that training with sketches started from."),
        customised=ui.socket(MODEL, "The model that training made of it."),
        strength=ui.slider(1, 0, 2, STRENGTH),
    )

    def choose(self, original, customised, strength):
        with host.training_mode():
            return (interpolate_models(original, customised, strength),)


class ComposeModels:
    DISPLAY_NAME = "Compose GANs"
    CATEGORY = "GANSketching/editing"
    DESCRIPTION = (
        "Mixes several customised models of one base, each with its own weight: half banana, half pear, minus apple."
    )
    SEARCH_ALIASES = ("mix", "merge models", "blend", "combine", "add", "subtract", "weights", "arithmetic")
    RETURN_TYPES = (MODEL,)
    RETURN_NAMES = ("model",)
    OUTPUT_TOOLTIPS = ("The base plus each weight times what that customised model changes.",)
    FUNCTION = "compose"
    INPUT_TYPES = ui.inputs(
        base=ui.socket(MODEL, "The original that all the models were customised from."),
        mode=ui.one_of(get_args(MixMode), "weights", MODE),
        **weighted_models(1, 1),
        optional=weighted_models(2, MOST_MODELS),
    )

    def compose(self, base, mode, **inputs):
        connected = [k for k in range(1, MOST_MODELS + 1) if inputs.get(f"model_{k}") is not None]
        customised = [inputs[f"model_{k}"] for k in connected]
        weights = [inputs.get(f"weight_{k}", 0.5) for k in connected]
        with host.training_mode():
            return (compose_models(base, customised, weights, mode),)
