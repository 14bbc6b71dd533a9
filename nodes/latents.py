"""Latents: random, interpolated, mixed, truncated, joined, picked, saved and loaded."""

import re
from functools import partial

from ..gansketching_core.latents.interpolation import style_mix, walk
from ..gansketching_core.latents.latent_files import load_latents, save_latents
from ..gansketching_core.latents.sampling import SampleConfig, sample_z
from ..gansketching_core.latents.spaces import SPACES, join, to_space, truncate
from . import model_files
from . import widgets as ui
from .sampling import IN_TURN
from .widgets import LATENTS, MODEL

LAST_LAYER = 17  # of the largest model, 1024 px


def layer_widgets(first: int) -> dict[str, ui.Widget]:
    """A range of layers, both ends included, by default from `first` to the last one."""
    from_layer = "First layer to change. Layers 0 to 3 decide pose and shape, the others colour and texture."
    to_layer = "Last layer to change, included. -1: the last one. A model of 64 pixels has 10 layers, of 256 pixels 14."
    return {
        "first_layer": ui.integer(first, 0, LAST_LAYER, from_layer),
        "last_layer": ui.integer(-1, -1, LAST_LAYER, to_layer),
    }


class LayerRange:
    """For nodes with layer_widgets: an impossible range is reported at the node before anything runs."""

    @classmethod
    def VALIDATE_INPUTS(cls, first_layer, last_layer):
        first = 0 if first_layer is None else first_layer  # None: a linked value, not known yet
        last = -1 if last_layer is None else last_layer
        if not (0 <= first <= LAST_LAYER and -1 <= last <= LAST_LAYER):
            return f"layers {first_layer} to {last_layer}: layers go from 0 to {LAST_LAYER}, and -1 is the last"
        if -1 < last < first:
            return f"first_layer {first_layer} is after last_layer {last_layer}: exchange them, or use -1 for the last"
        return True


class LatentsNode:
    """The category and the output of the nodes below."""

    CATEGORY = "GANSketching/latents"
    RETURN_TYPES = (LATENTS,)
    RETURN_NAMES = ("latents",)


class LatentsFromSeed(LatentsNode):
    DISPLAY_NAME = "GAN Latents from Seed"
    DESCRIPTION = (
        "Random latents, from which a model generates images. Sample GAN uses the same ones for the same seed."
    )
    SEARCH_ALIASES = ("random latents", "noise", "z", "empty latent")
    OUTPUT_TOOLTIPS = ("The latents, for Sample GAN and the nodes that change latents.",)
    FUNCTION = "sample"
    INPUT_TYPES = ui.inputs(
        model=ui.socket(MODEL, "The generator that the latents are for."),
        seed=ui.seed(changes=True, tooltip="Seed of the random latents: the same seed gives the same ones."),
        count=ui.integer(4, 1, 1024, "How many latents. A larger number adds latents and keeps the first ones."),
        space=ui.one_of(
            SPACES,
            "z",
            "z: shared by the model and its customised versions. w: the output of this model's mapping network, for "
            "mixing and editing. w+: one w for each layer.",
        ),
        class_index=ui.class_index(IN_TURN),
    )

    def sample(self, model, seed, count, space, class_index):
        z = sample_z(model, count, seed, ui.or_none(class_index))
        return (to_space(model, z, space),)


class InterpolateLatents(LatentsNode):
    DISPLAY_NAME = "Interpolate GAN Latents"
    DESCRIPTION = "A walk through the given latents in their order: frames for Sample GAN and Save Animated WEBP."
    SEARCH_ALIASES = ("latent walk", "animation", "morph", "slerp", "lerp", "film")
    OUTPUT_TOOLTIPS = ("One latent for each frame.",)
    FUNCTION = "walk"
    INPUT_TYPES = ui.inputs(
        latents=ui.socket(LATENTS, "Two or more latents to pass through, in their order."),
        frames=ui.integer(60, 1, 4096, "Frames of the whole walk."),
        loop=ui.switch(True, "Return to the first latent, so that the animation repeats without a jump."),
        mode=ui.one_of(["auto", "lerp", "slerp"], "auto", "auto: slerp (a great circle) for z, else lerp (a line)."),
    )

    def walk(self, latents, frames, loop, mode):
        return (walk(latents, frames, loop=loop, mode=mode),)


class StyleMix(LayerRange, LatentsNode):
    DISPLAY_NAME = "Style Mix"
    DESCRIPTION = "Takes some layers from other latents, such as the colours of one sample for the shape of another."
    SEARCH_ALIASES = ("style mixing", "crossover", "colour transfer", "color transfer")
    OUTPUT_TOOLTIPS = ("The mixed latents, in w+: one w for each layer.",)
    FUNCTION = "mix"
    INPUT_TYPES = ui.inputs(
        model=ui.socket(MODEL, "The generator that the latents are for."),
        latents=ui.socket(LATENTS, "Latents that all other layers are taken from."),
        styles=ui.socket(LATENTS, "Latents that the chosen layers are taken from: as many as latents, or one for all."),
        **layer_widgets(4),
    )

    def mix(self, model, latents, styles, first_layer, last_layer):
        return (style_mix(model, latents, styles, first_layer, ui.or_none(last_layer)),)


class TruncateLatents(LatentsNode):
    DISPLAY_NAME = "Truncate GAN Latents"
    DESCRIPTION = "Moves latents towards the model's mean w: images get more typical and less varied. Turns z into w."
    SEARCH_ALIASES = ("truncation", "psi", "z to w", "average")
    OUTPUT_TOOLTIPS = ("The latents in w, or in w+ if truncation_cutoff makes layers differ.",)
    FUNCTION = "truncate"
    OPTIONS = ui.widgets(SampleConfig, skip=["noise"])
    OPTIONS["truncation"][1]["default"] = 0.7
    INPUT_TYPES = ui.inputs(
        model=ui.socket(MODEL, "The generator whose mean w is used."),
        latents=ui.socket(LATENTS, "Latents to move."),
        **OPTIONS,
    )

    def truncate(self, model, latents, truncation, truncation_cutoff):
        return (truncate(model, latents, truncation, truncation_cutoff),)


class JoinLatents(LatentsNode):
    DISPLAY_NAME = "Join GAN Latents"
    DESCRIPTION = "Joins two or more batches of latents of the same space. Truncate GAN Latents turns z into w."
    SEARCH_ALIASES = ("batch latents", "concatenate", "append")
    OUTPUT_TOOLTIPS = ("All latents, in the order of the inputs.",)
    FUNCTION = "join"
    INPUT_TYPES = ui.inputs(
        latents_1=ui.socket(LATENTS, "Batch number 1."),
        latents_2=ui.socket(LATENTS, "Batch number 2."),
        optional={f"latents_{k}": ui.socket(LATENTS, f"Batch number {k}.") for k in (3, 4)},
    )

    def join(self, latents_1, latents_2, latents_3=None, latents_4=None):
        return (join([part for part in (latents_1, latents_2, latents_3, latents_4) if part is not None]),)


class PickLatents(LatentsNode):
    DISPLAY_NAME = "Pick GAN Latents"
    DESCRIPTION = "Picks some latents of a batch, such as those of the images you like."
    SEARCH_ALIASES = ("split batch", "select", "latent from batch", "slice")
    OUTPUT_TOOLTIPS = ("The chosen latents.",)
    FUNCTION = "pick"
    INPUT_TYPES = ui.inputs(
        latents=ui.socket(LATENTS, "Latents to choose from."),
        numbers=ui.text("0", "Numbers from 0 of the latents in the wanted order, such as 0, 4, 2-3 for 0, 4, 2 and 3."),
    )

    @classmethod
    def VALIDATE_INPUTS(cls, numbers):
        return ui.check(parse_numbers, numbers)

    def pick(self, latents, numbers):
        chosen = parse_numbers(numbers)
        if max(chosen) >= len(latents):
            raise ValueError(f"there is no latent {max(chosen)}: the batch has {len(latents)}, numbered from 0")
        return (latents[chosen],)


def parse_numbers(text: str) -> list[int]:
    """ "0, 4, 2-3" -> [0, 4, 2, 3]."""
    numbers: list[int] = []
    for part in text.split(","):
        match = re.fullmatch(r"\s*(\d{1,4})\s*(?:-\s*(\d{1,4})\s*)?", part)
        selected = range(int(match[1]), int(match[2] or match[1]) + 1) if match else ()
        if not selected:
            raise ValueError(f'"{part.strip()}" is no number of a latent; write for example 0, 4, 2-3')
        numbers += selected
    return numbers


class SaveLatents(LatentsNode):
    DISPLAY_NAME = "Save GAN Latents"
    DESCRIPTION = "Saves latents as a small file in output/gansketching/latents, which Load GAN Latents lists."
    SEARCH_ALIASES = ("export", "keep", "store")
    RETURN_TYPES = ()
    RETURN_NAMES = ()
    OUTPUT_NODE = True
    FUNCTION = "save"
    INPUT_TYPES = ui.inputs(latents=ui.socket(LATENTS, "Latents to save."), name=model_files.name_widget("latents"))

    def save(self, latents, name):
        contents = f"{len(latents)} latents in {latents.space}"
        return model_files.save(name, model_files.LATENTS, partial(save_latents, latents), contents)


class LoadLatents(LatentsNode):
    DISPLAY_NAME = "Load GAN Latents"
    DESCRIPTION = "Loads latents that were saved with Save GAN Latents."
    SEARCH_ALIASES = ("import", "restore")
    OUTPUT_TOOLTIPS = ("The latents. They fit the model they were made with and models customised from it.",)
    FUNCTION = "load"
    INPUT_TYPES = ui.inputs(name=model_files.choice(model_files.latents, "Files of output/gansketching/latents."))
    IS_CHANGED = model_files.changes_of(model_files.latents, "name")

    @classmethod
    def VALIDATE_INPUTS(cls, name):
        remedy = "Save latents with Save GAN Latents and refresh the node list (R)."
        return model_files.listed(model_files.latents(), name, remedy)

    def load(self, name):
        return (load_latents(model_files.pick(model_files.latents(), name)),)
