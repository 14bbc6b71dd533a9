"""Editing: mixtures of two models, the shift of w, and GANSpace directions."""

from __future__ import annotations

import dataclasses
import math

import torch

from ..gansketching_core.images import grid, to_comfy
from ..gansketching_core.latents.ganspace import edit, fit_directions, sheet
from ..gansketching_core.latents.latent_files import load_directions, save_directions
from ..gansketching_core.latents.mean_shift import shift_towards
from ..gansketching_core.latents.model_mixing import interpolate_models, render_between
from ..gansketching_core.latents.sampling import SampleConfig
from . import host, model_files, pictures, widgets
from .latents import LATENTS, LayerRange, layer_widgets
from .sampling import batch_size
from .sketching import PHOTOSKETCH, SKETCHES, as_sketches

MODEL, DIRECTIONS = "GANSKETCHING_MODEL", "GANSKETCHING_DIRECTIONS"


def signed(default: float, bound: float, tooltip: str) -> widgets.Widget:
    """A number from -bound to bound."""
    options = {"default": default, "min": -bound, "max": bound, "step": 0.05, "round": False, "tooltip": tooltip}
    return "FLOAT", options


def truncation(tooltip: str) -> widgets.Widget:
    return "FLOAT", {"default": 1.0, "min": 0.0, "max": 2.0, "step": 0.05, "tooltip": tooltip}


# ------------------------------------------------------------------------------------------------------------ models


class InterpolateModels:
    DISPLAY_NAME = "Interpolate Models"
    CATEGORY = "GANSketching/editing"
    DESCRIPTION = "Mixes two models that come from the same base. Chain this node to mix more than two."
    SEARCH_ALIASES = ("merge models", "blend", "model mix", "model merge")
    RETURN_TYPES = (MODEL,)
    RETURN_NAMES = ("model",)
    OUTPUT_TOOLTIPS = ("A model with the weighted mean of both models' weights.",)
    FUNCTION = "mix"

    @classmethod
    def INPUT_TYPES(cls):
        alpha = "0: the first model, 1: the second, in between: a mixture. Beyond, the difference is exaggerated."
        inputs = {
            "first": (MODEL, {"tooltip": "A generator, original or customised."}),
            "second": (MODEL, {"tooltip": "A model customised from the same base, or that base."}),
            "alpha": signed(0.5, 3.0, alpha),
        }
        return {"required": inputs}

    def mix(self, first, second, alpha):
        with host.training_mode():
            return (interpolate_models(first, second, alpha),)


class ModelFilm:
    DISPLAY_NAME = "Model Film"
    CATEGORY = "GANSketching/editing"
    DESCRIPTION = "Frames of an animation: the images of the same latents while one model turns into another."
    SEARCH_ALIASES = ("interpolate models", "animation", "morph", "frames", "model merge")
    RETURN_TYPES = ("IMAGE",)
    RETURN_NAMES = ("frames",)
    OUTPUT_TOOLTIPS = ("The frames, for Save Animated WEBP. Several latents are shown side by side in each.",)
    FUNCTION = "film"

    @classmethod
    def INPUT_TYPES(cls):
        options = widgets.widgets(SampleConfig, skip=["truncation_cutoff"])
        back = "Append the frames in reverse order, so that the animation can repeat without a jump."
        columns = "Columns of the images of several latents in a frame. 0: about square."
        mode = "weights: mixes the networks. w: mixes only the outputs of their mapping networks, faster and similar."
        inputs = {
            "first": (MODEL, {"tooltip": "The model to start with."}),
            "second": (MODEL, {"tooltip": "The model to end with; both come from the same base."}),
            "latents": (LATENTS, {"tooltip": "Latents in z, which the models share."}),
            "frames": ("INT", {"default": 30, "min": 2, "max": 1000, "tooltip": "Frames from one to the other."}),
            "start": signed(0.0, 3.0, "The mixture in the first frame. 0: the first model."),
            "end": signed(1.0, 3.0, "The mixture in the last frame. 1: the second model; more exaggerates."),
            "back": ("BOOLEAN", {"default": True, "tooltip": back}),
            "mode": (["w", "weights"], {"default": "w", "tooltip": mode}),
            "columns": ("INT", {"default": 0, "min": 0, "max": 64, "tooltip": columns}),
            **options,
        }
        return {"required": inputs}

    def film(self, first, second, latents, frames, start, end, back, mode, columns, **options):
        config = widgets.build(SampleConfig, **options)
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


class WShift:
    DISPLAY_NAME = "W Shift"
    CATEGORY = "GANSketching/editing"
    DESCRIPTION = "A quick alternative to fine-tuning: shifts all w towards the samples most like the sketches."
    SEARCH_ALIASES = ("vector arithmetic", "customise", "customize", "sketch", "fast", "preview")
    RETURN_TYPES = (MODEL,)
    RETURN_NAMES = ("model",)
    OUTPUT_TOOLTIPS = ("The customised model. The model that came in is unchanged.",)
    FUNCTION = "shift"

    @classmethod
    def INPUT_TYPES(cls):
        pool = "Random samples that are compared with the sketches."
        nearest = "How many of them, the most similar to the sketches, are averaged."
        strength = "Length of the shift. 1: to the average of the nearest. 0: none. More than 1: beyond the average."
        spread = "Share of the spread of w that is kept: less is nearer to the sketches and less varied. Try 0.5."
        per_sketch = "Average the samples nearest to each sketch, so that easily matched sketches do not dominate."
        return {
            "required": {
                "model": (MODEL, {"tooltip": "The generator to start from. It is not changed."}),
                "sketches": SKETCHES,
                "photosketch": PHOTOSKETCH,
                "seed": widgets.seed(changes=False, tooltip="Seed of the random samples."),
                "pool": ("INT", {"default": 512, "min": 1, "max": 100_000, "tooltip": pool}),
                "nearest": ("INT", {"default": 16, "min": 1, "max": 1024, "tooltip": nearest}),
                "strength": signed(1.0, 5.0, strength),
            },
            "optional": {
                "spread": ("FLOAT", {"default": 1.0, "min": 0.05, "max": 1.0, "step": 0.05, "tooltip": spread}),
                "per_sketch": ("BOOLEAN", {"default": False, "tooltip": per_sketch}),
                "class_index": widgets.class_index("samples of all classes are compared"),
            },
        }

    def shift(self, model, sketches, photosketch, pool, class_index=-1, **options):
        progress = host.Progress(pool)
        with host.training_mode(), host.borrowed_device(1) as device:
            base = host.model_on_device(model, device)
            network = host.on_device(photosketch, device)
            prepared = as_sketches(sketches, model.config.resolution)
            options |= {"pool": pool, "label": widgets.or_none(class_index), "on_batch": progress.on_batch}
            shifted = shift_towards(base, prepared, network, **options)
            shifted = host.model_on_device(shifted, model.w_mean.device)
        metadata = {"base_name": model.name, **model.metadata, "trainable": "w_shift"}
        return (dataclasses.replace(shifted, discriminator=model.discriminator, metadata=metadata),)


# -------------------------------------------------------------------------------------------------------- directions


class FitDirections:
    DISPLAY_NAME = "Fit Directions"
    CATEGORY = "GANSketching/editing"
    DESCRIPTION = "Computes the main directions in which a model's images vary (GANSpace): pose, size, colour ..."
    SEARCH_ALIASES = ("ganspace", "pca", "principal components", "find edits")
    RETURN_TYPES = (DIRECTIONS,)
    RETURN_NAMES = ("directions",)
    OUTPUT_TOOLTIPS = ("The directions, the one with the largest effect first.",)
    FUNCTION = "fit"

    @classmethod
    def INPUT_TYPES(cls):
        components = "How many directions, at most as many as w has dimensions."
        samples = "Random samples of w for the principal component analysis."
        inputs = {
            "model": (MODEL, {"tooltip": "The generator. Its customised versions can use the directions too."}),
            "components": ("INT", {"default": 40, "min": 1, "max": 512, "tooltip": components}),
            "samples": ("INT", {"default": 100_000, "min": 1000, "max": 10_000_000, "tooltip": samples}),
            "seed": widgets.seed(changes=False, tooltip="Seed of the random samples."),
        }
        return {"required": inputs}

    def fit(self, model, components, samples, seed):
        progress = host.Progress(samples)
        options = {"components": components, "samples": samples, "seed": seed, "on_batch": progress.on_batch}
        return (fit_directions(model, **options),)


class EditLatents(LayerRange):
    DISPLAY_NAME = "Edit Latents"
    CATEGORY = "GANSketching/editing"
    DESCRIPTION = "Moves latents along one direction, in some layers or all. Chain this node for several edits."
    SEARCH_ALIASES = ("ganspace", "apply direction", "edit image", "semantic edit")
    RETURN_TYPES = (LATENTS,)
    RETURN_NAMES = ("latents",)
    OUTPUT_TOOLTIPS = ("The edited latents, in w+, for Sample without truncation.",)
    FUNCTION = "edit"

    @classmethod
    def INPUT_TYPES(cls):
        strength = "Length of the step, in standard deviations of the model's samples. Negative: the other direction."
        typical = "Below 1: more typical images. Truncate in this node or before it, not in Sample."
        before = "Edit before truncating, so that truncation weakens the edit, too. If off, it does not."
        inputs = {
            "model": (MODEL, {"tooltip": "The generator that the latents are for."}),
            "latents": (LATENTS, {"tooltip": "Latents to edit."}),
            "directions": (DIRECTIONS, {"tooltip": "From Fit Directions or Load Directions."}),
            "component": ("INT", {"default": 0, "min": 0, "max": 511, "tooltip": "Number of the direction."}),
            "strength": signed(2.0, 20.0, strength),
            **layer_widgets(0),
            "truncation": truncation(typical),
            "before_truncation": ("BOOLEAN", {"default": False, "tooltip": before}),
        }
        return {"required": inputs}

    def edit(self, model, latents, directions, component, strength, first_layer, last_layer, truncation, **order):
        options = {"first": first_layer, "last": widgets.or_none(last_layer), "psi": truncation, **order}
        return (edit(model, latents, directions, component, strength, **options),)


class DirectionsSheet(LayerRange):
    DISPLAY_NAME = "Directions Sheet"
    CATEGORY = "GANSketching/editing"
    DESCRIPTION = "Shows an image moved along each of the first directions, one per row, to choose useful ones by eye."
    SEARCH_ALIASES = ("ganspace", "contact sheet", "overview", "browse directions")
    RETURN_TYPES = ("IMAGE",)
    RETURN_NAMES = ("sheet",)
    OUTPUT_TOOLTIPS = ("The rows in one picture.",)
    FUNCTION = "show"

    @classmethod
    def INPUT_TYPES(cls):
        reach = "Length of the largest step to either side, in standard deviations."
        inputs = {
            "model": (MODEL, {"tooltip": "The generator that the latents are for."}),
            "latents": (LATENTS, {"tooltip": "The latent to move; of several, the first."}),
            "directions": (DIRECTIONS, {"tooltip": "From Fit Directions or Load Directions."}),
            "components": ("INT", {"default": 8, "min": 1, "max": 64, "tooltip": "How many rows."}),
            "columns": ("INT", {"default": 5, "min": 2, "max": 15, "tooltip": "Images in a row."}),
            "reach": ("FLOAT", {"default": 2.0, "min": 0.1, "max": 20.0, "step": 0.1, "tooltip": reach}),
            **layer_widgets(0),
            "truncation": truncation("Below 1: a more typical image. The edits are equally strong."),
        }
        return {"required": inputs}

    def show(self, model, latents, directions, components, columns, reach, first_layer, last_layer, truncation):
        progress = host.Progress(components * columns)
        strengths = tuple(torch.linspace(-reach, reach, columns).tolist())
        options = {"components": components, "strengths": strengths, "psi": truncation}
        options |= {"first": first_layer, "last": widgets.or_none(last_layer)}
        with host.borrowed_device(1) as device:
            model = host.model_on_device(model, device)
            settings = {"batch": batch_size(model), "on_batch": progress.on_batch}
            x = sheet(model, latents[0], directions, **options, **settings).cpu()
        rows = [(f"direction {k}", to_comfy(row)) for k, row in enumerate(x.split(columns))]
        return (pictures.to_image(pictures.labelled(rows, columns=columns, across=False)),)


class SaveDirections:
    DISPLAY_NAME = "Save Directions"
    CATEGORY = "GANSketching/editing"
    DESCRIPTION = "Saves directions as a small file in output/gansketching/directions, for Load Directions."
    SEARCH_ALIASES = ("ganspace", "export", "keep")
    RETURN_TYPES = ()
    OUTPUT_NODE = True
    FUNCTION = "save"

    @classmethod
    def INPUT_TYPES(cls):
        directions = (DIRECTIONS, {"tooltip": "Directions to save."})
        return {"required": {"directions": directions, "name": model_files.name_widget("directions")}}

    def save(self, directions, name):
        path = model_files.new_result(name, model_files.DIRECTIONS)
        save_directions(directions, path)
        return model_files.saved(path, f"{len(directions)} directions")


class LoadDirections:
    DISPLAY_NAME = "Load Directions"
    CATEGORY = "GANSketching/editing"
    DESCRIPTION = "Loads directions: those published by GANSpace (.npz), or those that Save Directions has saved."
    SEARCH_ALIASES = ("ganspace", "npz", "components")
    RETURN_TYPES = (DIRECTIONS,)
    RETURN_NAMES = ("directions",)
    OUTPUT_TOOLTIPS = ("The directions. They fit the model they were computed from and its customised versions.",)
    FUNCTION = "load"

    @classmethod
    def INPUT_TYPES(cls):
        tooltip = "Files of models/ganspace (.npz, .safetensors), then those saved by this pack [output]."
        return {"required": {"name": model_files.choice(model_files.directions(), tooltip)}}

    @classmethod
    def VALIDATE_INPUTS(cls, name):
        remedy = "Put the file into models/ganspace, or save one with Save Directions, and refresh the node list (R)."
        return model_files.listed(model_files.directions(), name, remedy)

    @classmethod
    def IS_CHANGED(cls, name):
        return model_files.version(model_files.directions(), name)

    def load(self, name):
        return (load_directions(model_files.pick(model_files.directions(), name)),)
