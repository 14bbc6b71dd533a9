"""Latents: from seeds, mixed, joined and picked, saved and loaded."""

from __future__ import annotations

import logging
import re

from ..gansketching_core.inversion.optimise import in_space
from ..gansketching_core.latents.interpolation import style_mix, walk
from ..gansketching_core.latents.latent_files import load_latents, save_latents
from ..gansketching_core.latents.sampling import SampleConfig, sample_z
from ..gansketching_core.latents.spaces import SPACES, join, truncate
from . import model_files, widgets

LATENTS = "GANSKETCHING_LATENTS"
LAST_LAYER = 17  # of the largest model, 1024 px


def layer_widgets(first: int, last: int) -> dict[str, widgets.Widget]:
    """A range of layers; see layer_range for what it means."""
    from_layer = "First layer to change. Early layers (0 to 3) carry pose and shape, late ones colour and texture."
    to_layer = "Last layer to change, included. -1: to the end. A model has 2 log2(size) - 2 layers: 10 at 64 pixels."
    return {
        "first_layer": ("INT", {"default": first, "min": 0, "max": LAST_LAYER, "tooltip": from_layer}),
        "last_layer": ("INT", {"default": last, "min": -1, "max": LAST_LAYER, "tooltip": to_layer}),
    }


class LayerRange:
    """For nodes with layer_widgets: an impossible range is told on the node, before anything runs."""

    @classmethod
    def VALIDATE_INPUTS(cls, first_layer, last_layer):
        given = [layer for layer in (first_layer, last_layer) if layer is not None]  # None: comes by a link
        if not all(-1 <= layer <= LAST_LAYER for layer in given) or first_layer == -1:
            return f"layers {first_layer} to {last_layer}: layers go from 0 to {LAST_LAYER}, and -1 is the last"
        if len(given) == 2 and -1 < last_layer < first_layer:
            return f"first_layer {first_layer} is after last_layer {last_layer}: exchange them, or use -1 for the last"
        return True


def last_or_none(layer: int) -> int | None:
    """The widget's -1 as the core's None."""
    return None if layer < 0 else layer


class LatentsFromSeed:
    DISPLAY_NAME = "Latents from Seed"
    CATEGORY = "GANSketching/latents"
    DESCRIPTION = "Draws random latents, from which a model makes images: the same as Sample draws for this seed."
    SEARCH_ALIASES = ("random latents", "noise", "z", "empty latent")
    RETURN_TYPES = (LATENTS,)
    RETURN_NAMES = ("latents",)
    OUTPUT_TOOLTIPS = ("The latents. Sample makes images of them.",)
    FUNCTION = "draw"

    @classmethod
    def INPUT_TYPES(cls):
        space = (
            "z: the model and its customised versions share it. w: what this very model makes of z, for mixing and "
            "editing. w+: w for each layer."
        )
        count = "How many latents. A larger number only adds to the same ones."
        classes = "For models with classes: which one. -1 takes all in turn. Models without classes need -1."
        seed = "Which latents: the same seed gives the same ones."
        return {
            "required": {
                "model": ("GANSKETCHING_MODEL", {"tooltip": "The generator that the latents are for."}),
                "seed": widgets.seed(changes=True, tooltip=seed),
                "count": ("INT", {"default": 4, "min": 1, "max": 1024, "tooltip": count}),
                "space": (list(SPACES), {"default": "z", "tooltip": space}),
                "class_index": ("INT", {"default": -1, "min": -1, "max": 100_000, "tooltip": classes}),
            }
        }

    def draw(self, model, seed, count, space, class_index):
        z = sample_z(model, count, seed, None if class_index < 0 else class_index)
        return (in_space(model, z, space),)


class InterpolateLatents:
    DISPLAY_NAME = "Interpolate Latents"
    CATEGORY = "GANSketching/latents"
    DESCRIPTION = (
        "A walk through all given latents in order, as frames of a film: Sample makes images of them, Save Animated "
        "WEBP a film."
    )
    SEARCH_ALIASES = ("latent walk", "animation", "morph", "slerp", "lerp", "film")
    RETURN_TYPES = (LATENTS,)
    RETURN_NAMES = ("latents",)
    OUTPUT_TOOLTIPS = ("One latent for each frame.",)
    FUNCTION = "walk"

    @classmethod
    def INPUT_TYPES(cls):
        keys = "Two or more latents to pass through, in their order."
        loop = "Return to the first latent, so that the film repeats without a jump."
        mode = "Way between two latents: auto takes slerp (a great circle) for z and lerp (a straight line) otherwise."
        return {
            "required": {
                "latents": (LATENTS, {"tooltip": keys}),
                "frames": ("INT", {"default": 60, "min": 1, "max": 4096, "tooltip": "Frames of the whole walk."}),
                "loop": ("BOOLEAN", {"default": True, "tooltip": loop}),
                "mode": (["auto", "lerp", "slerp"], {"default": "auto", "tooltip": mode}),
            }
        }

    def walk(self, latents, frames, loop, mode):
        return (walk(latents, frames, loop=loop, mode=mode),)


class StyleMix(LayerRange):
    DISPLAY_NAME = "Style Mix"
    CATEGORY = "GANSketching/latents"
    DESCRIPTION = "Takes some layers from other latents: the colours of one sample with the shape of another."
    SEARCH_ALIASES = ("style mixing", "crossover", "colour transfer", "color transfer")
    RETURN_TYPES = (LATENTS,)
    RETURN_NAMES = ("latents",)
    OUTPUT_TOOLTIPS = ("The mixed latents, w+: a style for each layer.",)
    FUNCTION = "mix"

    @classmethod
    def INPUT_TYPES(cls):
        styles = "Where the chosen layers come from: as many latents as there are, or one for all."
        return {
            "required": {
                "model": ("GANSKETCHING_MODEL", {"tooltip": "The generator that the latents are for."}),
                "latents": (LATENTS, {"tooltip": "Latents that keep all other layers."}),
                "styles": (LATENTS, {"tooltip": styles}),
                **layer_widgets(4, -1),
            }
        }

    def mix(self, model, latents, styles, first_layer, last_layer):
        return (style_mix(model, latents, styles, first_layer, last_or_none(last_layer)),)


class TruncateLatents:
    DISPLAY_NAME = "Truncate Latents"
    CATEGORY = "GANSketching/latents"
    DESCRIPTION = "Moves latents towards the model's average: more typical, less varied images. Turns z into w."
    SEARCH_ALIASES = ("truncation", "psi", "z to w", "average")
    RETURN_TYPES = (LATENTS,)
    RETURN_NAMES = ("latents",)
    OUTPUT_TOOLTIPS = ("The latents as w, or w+ where layers differ.",)
    FUNCTION = "truncate"

    @classmethod
    def INPUT_TYPES(cls):
        options = widgets.widgets(SampleConfig, skip=["noise"])
        options["truncation"][1]["default"] = 0.7
        return {
            "required": {
                "model": ("GANSKETCHING_MODEL", {"tooltip": "The generator whose average it is."}),
                "latents": (LATENTS, {"tooltip": "Latents to move."}),
                **options,
            }
        }

    def truncate(self, model, latents, truncation, truncation_cutoff):
        return (truncate(model, latents, truncation, truncation_cutoff),)


class JoinLatents:
    DISPLAY_NAME = "Join Latents"
    CATEGORY = "GANSketching/latents"
    DESCRIPTION = "One batch of two or more, all in the same space. Truncate Latents turns z into w."
    SEARCH_ALIASES = ("batch latents", "concatenate", "append")
    RETURN_TYPES = (LATENTS,)
    RETURN_NAMES = ("latents",)
    OUTPUT_TOOLTIPS = ("All latents, in the order of the inputs.",)
    FUNCTION = "join"

    @classmethod
    def INPUT_TYPES(cls):
        parts = {f"latents_{k}": (LATENTS, {"tooltip": f"Batch number {k}."}) for k in range(1, 5)}
        return {
            "required": {name: parts[name] for name in ("latents_1", "latents_2")},
            "optional": {name: parts[name] for name in ("latents_3", "latents_4")},
        }

    def join(self, latents_1, latents_2, latents_3=None, latents_4=None):
        return (join([part for part in (latents_1, latents_2, latents_3, latents_4) if part is not None]),)


class PickLatents:
    DISPLAY_NAME = "Pick Latents"
    CATEGORY = "GANSketching/latents"
    DESCRIPTION = "Some latents of a batch, such as those of the images you like."
    SEARCH_ALIASES = ("split batch", "select", "latent from batch", "slice")
    RETURN_TYPES = (LATENTS,)
    RETURN_NAMES = ("latents",)
    OUTPUT_TOOLTIPS = ("The chosen latents.",)
    FUNCTION = "pick"

    @classmethod
    def INPUT_TYPES(cls):
        numbers = "Numbers of the latents, from 0, with commas; 2-5 means 2, 3, 4 and 5. In the order you write them."
        return {
            "required": {
                "latents": (LATENTS, {"tooltip": "Latents to choose from."}),
                "numbers": ("STRING", {"default": "0", "tooltip": numbers}),
            }
        }

    @classmethod
    def VALIDATE_INPUTS(cls, numbers):
        try:
            parse_numbers("0" if numbers is None else numbers)
        except ValueError as error:
            return str(error)
        return True

    def pick(self, latents, numbers):
        chosen = parse_numbers(numbers)
        if max(chosen) >= len(latents):
            raise ValueError(f"there is no latent {max(chosen)}: the batch has {len(latents)}, numbered from 0")
        return (latents[chosen],)


def parse_numbers(text: str) -> list[int]:
    """ "0, 4, 2-3" -> [0, 4, 2, 3]."""
    found: list[int] = []
    for part in text.split(","):
        match = re.fullmatch(r"\s*(\d{1,4})\s*(?:-\s*(\d{1,4})\s*)?", part)
        numbers = range(int(match[1]), int(match[2] or match[1]) + 1) if match else ()
        if not numbers:
            raise ValueError(f'"{part.strip()}" is no number of a latent; write for example 0, 4, 2-3')
        found += numbers
    return found


class SaveLatents:
    DISPLAY_NAME = "Save Latents"
    CATEGORY = "GANSketching/latents"
    DESCRIPTION = "Saves latents as a small file in output/gansketching/latents, where Load Latents finds them."
    SEARCH_ALIASES = ("export", "keep", "store")
    RETURN_TYPES = ()
    OUTPUT_NODE = True
    FUNCTION = "save"

    @classmethod
    def INPUT_TYPES(cls):
        name = "File name; a number is added so that no file is replaced. A / makes a subfolder."
        return {
            "required": {
                "latents": (LATENTS, {"tooltip": "Latents to save."}),
                "name": ("STRING", {"default": "latents", "tooltip": name}),
            }
        }

    def save(self, latents, name):
        path = model_files.new_result(name, model_files.LATENTS)
        save_latents(latents, path)
        text = f"Saved {path.relative_to(model_files.results_folder())}, {len(latents)} latents in {latents.space}."
        logging.getLogger(__name__).info(text)
        return {"ui": {"text": [text]}}


class LoadLatents:
    DISPLAY_NAME = "Load Latents"
    CATEGORY = "GANSketching/latents"
    DESCRIPTION = "Loads latents that Save Latents has saved."
    SEARCH_ALIASES = ("import", "restore")
    RETURN_TYPES = (LATENTS,)
    RETURN_NAMES = ("latents",)
    OUTPUT_TOOLTIPS = ("The latents. Use them with the model they were made with, or one customised from it.",)
    FUNCTION = "load"

    @classmethod
    def INPUT_TYPES(cls):
        names = list(model_files.latents())
        tooltip = "Files of output/gansketching/latents."
        return {"required": {"name": (names, {"default": names[0] if names else "", "tooltip": tooltip})}}

    @classmethod
    def VALIDATE_INPUTS(cls, name):
        remedy = "Save latents with Save Latents and refresh the node list (R)."
        return model_files.listed(model_files.latents(), name, remedy)

    @classmethod
    def IS_CHANGED(cls, name):
        return model_files.version(model_files.latents(), name)

    def load(self, name):
        return (load_latents(model_files.pick(model_files.latents(), name)),)
