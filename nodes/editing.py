"""Editing: mixtures of two models, the shift of w, and GANSpace directions."""

import dataclasses
import math
from functools import partial

import torch

from ..gansketching_core.images import grid, to_comfy
from ..gansketching_core.latents.ganspace import edit, fit_directions, sheet
from ..gansketching_core.latents.latent_files import load_directions, save_directions
from ..gansketching_core.latents.mean_shift import shift_towards
from ..gansketching_core.latents.model_mixing import interpolate_models, render_between
from ..gansketching_core.latents.sampling import SampleConfig
from ..gansketching_core.options import build
from . import host, model_files, pictures
from . import widgets as ui
from .latents import LayerRange, layer_widgets
from .sampling import batch_size
from .sketching import PHOTOSKETCH, SKETCHES, as_sketches
from .widgets import DIRECTIONS, LATENTS, MODEL

SPREAD = "Share of the spread of w that is kept: less is nearer to the sketches and less varied. Try 0.5."
SAMPLES = "Random samples of w for the principal component analysis."
FILM_MODE = "weights: mixes the networks. w: only the outputs of mapping, faster."
PER_SKETCH = "Average the samples nearest to each sketch, so that easily matched sketches do not dominate."


class InterpolateModels:
    DISPLAY_NAME = "Interpolate GANs"
    CATEGORY = "GANSketching/editing"
    DESCRIPTION = "Mixes two models that come from the same base. Chain this node to mix more than two."
    SEARCH_ALIASES = ("merge models", "blend", "model mix", "model merge")
    RETURN_TYPES = (MODEL,)
    RETURN_NAMES = ("model",)
    OUTPUT_TOOLTIPS = ("A model with the weighted mean of both models' weights.",)
    FUNCTION = "mix"
    INPUT_TYPES = ui.inputs(
        first=ui.socket(MODEL, "A generator, original or customised."),
        second=ui.socket(MODEL, "A model customised from the same base, or that base."),
        alpha=ui.number(0.5, -3, 3, "0: the first model, 1: the second, in between: a mixture. Beyond: exaggerated."),
    )

    def mix(self, first, second, alpha):
        with host.training_mode():
            return (interpolate_models(first, second, alpha),)


class ModelFilm:
    DISPLAY_NAME = "Film between GANs"
    CATEGORY = "GANSketching/editing"
    DESCRIPTION = "Frames of an animation: the images of the same latents while one model turns into another."
    SEARCH_ALIASES = ("interpolate models", "animation", "morph", "frames", "model merge")
    RETURN_TYPES = ("IMAGE",)
    RETURN_NAMES = ("frames",)
    OUTPUT_TOOLTIPS = ("The frames, for Save Animated WEBP. Several latents are shown side by side in each.",)
    FUNCTION = "film"
    INPUT_TYPES = ui.inputs(
        first=ui.socket(MODEL, "The model to start with."),
        second=ui.socket(MODEL, "The model to end with; both come from the same base."),
        latents=ui.socket(LATENTS, "Latents in z, which the models share."),
        frames=ui.integer(30, 2, 1000, "Frames from one to the other."),
        start=ui.number(0, -3, 3, "The mixture in the first frame. 0: the first model."),
        end=ui.number(1, -3, 3, "The mixture in the last frame. 1: the second model; more exaggerates."),
        back=ui.switch(True, "Append the frames in reverse order, so that the animation can repeat without a jump."),
        mode=ui.advanced(ui.one_of(["w", "weights"], "w", FILM_MODE)),
        columns=ui.advanced(
            ui.integer(0, 0, 64, "Columns of the images of several latents in a frame. 0: about square.")
        ),
        **ui.widgets(SampleConfig, skip=["truncation_cutoff"]),
    )

    def film(self, first, second, latents, frames, start, end, back, mode, columns, **options):
        config = build(SampleConfig, **options)
        alphas = torch.linspace(start, end, frames).tolist()
        progress = host.Progress(len(latents) * frames)
        with host.borrowed_device(1) as device:
            first = host.model_on_device(first, device)
            second = host.model_on_device(second, device)
            settings = {"mode": mode, "batch": batch_size(first), "on_batch": progress.on_batch}
            x = render_between(first, second, latents, alphas, config, **settings).cpu()
        columns = columns or math.ceil(math.sqrt(len(latents)))
        grids = [grid(frame, columns) for frame in x.split(len(latents))]
        if back:
            grids += grids[-2:0:-1]
        return (to_comfy(torch.cat(grids)),)


@ui.takes_lists("sketches")
class WShift:
    DISPLAY_NAME = "Shift GAN towards Sketches"
    CATEGORY = "GANSketching/editing"
    DESCRIPTION = (
        "A quick alternative to training with sketches: shifts all w towards the samples most like the sketches."
    )
    SEARCH_ALIASES = ("vector arithmetic", "customise", "customize", "sketch", "fast", "preview")
    RETURN_TYPES = (MODEL,)
    RETURN_NAMES = ("model",)
    OUTPUT_TOOLTIPS = ("The customised model. The model that came in is unchanged.",)
    FUNCTION = "shift"
    INPUT_TYPES = ui.inputs(
        model=ui.socket(MODEL, "The generator to start from. It is not changed."),
        sketches=SKETCHES,
        photosketch=PHOTOSKETCH,
        seed=ui.seed(changes=False, tooltip="Seed of the random samples."),
        pool=ui.advanced(ui.integer(512, 1, 100_000, "Random samples that are compared with the sketches.")),
        nearest=ui.advanced(
            ui.integer(16, 1, 1024, "How many of them, the most similar to the sketches, are averaged.")
        ),
        strength=ui.number(1, -5, 5, "Length of the shift. 0: none. 1: to the average of the nearest. More: beyond."),
        optional={
            "spread": ui.advanced(ui.number(1, 0.05, 1, SPREAD)),
            "per_sketch": ui.advanced(ui.switch(False, PER_SKETCH)),
            "class_index": ui.class_index("samples of all classes are compared"),
        },
    )

    def shift(self, model, sketches, photosketch, pool, class_index=-1, **options):
        progress = host.Progress(pool)
        with host.training_mode(), host.borrowed_device(1) as device:
            base = host.model_on_device(model, device)
            network = host.on_device(photosketch, device)
            prepared = as_sketches(sketches, model.config.resolution)
            options |= {"pool": pool, "label": ui.or_none(class_index), "on_batch": progress.on_batch}
            shifted = shift_towards(base, prepared, network, **options)
            shifted = host.model_on_device(shifted, model.w_mean.device)
        metadata = {"base_name": model.name, **model.metadata, "trainable": "w_shift"}
        return (dataclasses.replace(shifted, discriminator=model.discriminator, metadata=metadata),)


class FitDirections:
    DISPLAY_NAME = "Fit GANSpace Directions"
    CATEGORY = "GANSketching/editing"
    DESCRIPTION = "Computes the main directions in which a model's images vary (GANSpace): pose, size, colour ..."
    SEARCH_ALIASES = ("ganspace", "pca", "principal components", "find edits")
    RETURN_TYPES = (DIRECTIONS,)
    RETURN_NAMES = ("directions",)
    OUTPUT_TOOLTIPS = ("The directions, the one with the largest effect first.",)
    FUNCTION = "fit"
    INPUT_TYPES = ui.inputs(
        model=ui.socket(MODEL, "The generator. Its customised versions can use the directions too."),
        components=ui.integer(40, 1, 512, "How many directions, at most as many as w has dimensions."),
        samples=ui.advanced(ui.integer(100_000, 1000, 10_000_000, SAMPLES)),
        seed=ui.seed(changes=False, tooltip="Seed of the random samples."),
    )

    def fit(self, model, components, samples, seed):
        on_batch = host.Progress(samples).on_batch
        return (fit_directions(model, components=components, samples=samples, seed=seed, on_batch=on_batch),)


class EditLatents(LayerRange):
    DISPLAY_NAME = "Edit GAN Latents"
    CATEGORY = "GANSketching/editing"
    DESCRIPTION = "Moves latents along one direction, in some layers or all. Chain this node for several edits."
    SEARCH_ALIASES = ("ganspace", "apply direction", "edit image", "semantic edit")
    RETURN_TYPES = (LATENTS,)
    RETURN_NAMES = ("latents",)
    OUTPUT_TOOLTIPS = ("The edited latents, in w+, for Sample GAN without truncation.",)
    FUNCTION = "edit"
    INPUT_TYPES = ui.inputs(
        model=ui.socket(MODEL, "The generator that the latents are for."),
        latents=ui.socket(LATENTS, "Latents to edit."),
        directions=ui.socket(DIRECTIONS, "From Fit GANSpace Directions or Load GANSpace Directions."),
        component=ui.integer(0, 0, 511, "Number of the direction."),
        strength=ui.number(2, -20, 20, "Length of the step, in standard deviations of samples. Negative: backwards."),
        **layer_widgets(0),
        truncation=ui.number(1, 0, 2, "Below 1: more typical images. Truncate here or before, not in Sample GAN."),
        before_truncation=ui.advanced(ui.switch(False, "Edit before truncating: truncation weakens the edit, too.")),
    )

    def edit(self, model, latents, directions, component, strength, first_layer, last_layer, truncation, **order):
        options = {"first": first_layer, "last": ui.or_none(last_layer), "psi": truncation, **order}
        return (edit(model, latents, directions, component, strength, **options),)


class DirectionsSheet(LayerRange):
    DISPLAY_NAME = "Sheet of GANSpace Directions"
    CATEGORY = "GANSketching/editing"
    DESCRIPTION = "Shows an image moved along each of the first directions, one per row, to choose useful ones by eye."
    SEARCH_ALIASES = ("ganspace", "contact sheet", "overview", "browse directions")
    RETURN_TYPES = ("IMAGE",)
    RETURN_NAMES = ("sheet",)
    OUTPUT_TOOLTIPS = ("The rows in one picture.",)
    FUNCTION = "show"
    INPUT_TYPES = ui.inputs(
        model=ui.socket(MODEL, "The generator that the latents are for."),
        latents=ui.socket(LATENTS, "The latent to move; of several, the first."),
        directions=ui.socket(DIRECTIONS, "From Fit GANSpace Directions or Load GANSpace Directions."),
        components=ui.integer(8, 1, 64, "How many rows."),
        columns=ui.integer(5, 2, 15, "Images in a row."),
        reach=ui.number(2, 0.1, 20, "Length of the largest step to either side, in standard deviations."),
        **layer_widgets(0),
        truncation=ui.number(1, 0, 2, "Below 1: a more typical image. The edits are equally strong."),
    )

    def show(self, model, latents, directions, components, columns, reach, first_layer, last_layer, truncation):
        progress = host.Progress(components * columns)
        strengths = tuple(torch.linspace(-reach, reach, columns).tolist())
        options = {"components": components, "strengths": strengths, "psi": truncation}
        options |= {"first": first_layer, "last": ui.or_none(last_layer)}
        with host.borrowed_device(1) as device:
            model = host.model_on_device(model, device)
            settings = {"batch": batch_size(model), "on_batch": progress.on_batch}
            x = sheet(model, latents[0], directions, **options, **settings).cpu()
        rows = [(f"direction {k}", to_comfy(row)) for k, row in enumerate(x.split(columns))]
        return (pictures.to_image(pictures.labelled(rows, columns=columns, across=False)),)


class SaveDirections:
    DISPLAY_NAME = "Save GANSpace Directions"
    CATEGORY = "GANSketching/editing"
    DESCRIPTION = "Saves directions as a small file in output/gansketching/directions, for Load GANSpace Directions."
    SEARCH_ALIASES = ("ganspace", "export", "keep")
    RETURN_TYPES = ()
    OUTPUT_NODE = True
    FUNCTION = "save"
    INPUT_TYPES = ui.inputs(
        directions=ui.socket(DIRECTIONS, "Directions to save."), name=model_files.name_widget("directions")
    )

    def save(self, directions, name):
        contents = f"{len(directions)} directions"
        return model_files.save(name, model_files.DIRECTIONS, partial(save_directions, directions), contents)


class LoadDirections:
    DISPLAY_NAME = "Load GANSpace Directions"
    CATEGORY = "GANSketching/editing"
    DESCRIPTION = (
        "Loads directions: those published by GANSpace (.npz), or those that Save GANSpace Directions has saved."
    )
    SEARCH_ALIASES = ("ganspace", "npz", "components")
    RETURN_TYPES = (DIRECTIONS,)
    RETURN_NAMES = ("directions",)
    OUTPUT_TOOLTIPS = ("The directions. They fit the model they were computed from and its customised versions.",)
    FUNCTION = "load"
    TOOLTIP = "Files of models/ganspace (.npz, .safetensors), then those saved by this pack [output]."
    INPUT_TYPES = ui.inputs(name=model_files.choice(model_files.directions, TOOLTIP))
    IS_CHANGED = model_files.changes_of(model_files.directions, "name")

    @classmethod
    def VALIDATE_INPUTS(cls, name):
        remedy = "Put a file into models/ganspace, or use Save GANSpace Directions, and refresh the node list (R)."
        return model_files.listed(model_files.directions(), name, remedy)

    def load(self, name):
        return (load_directions(model_files.pick(model_files.directions(), name)),)
