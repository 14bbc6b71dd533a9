"""Editing: models between two others, w-shift, and GANSpace directions."""

from __future__ import annotations

import dataclasses
import logging

import torch

from ..gansketching_core.images import grid, to_comfy
from ..gansketching_core.latents.ganspace import edit, fit_directions, sheet
from ..gansketching_core.latents.latent_files import load_directions, save_directions
from ..gansketching_core.latents.mean_shift import shift_towards
from ..gansketching_core.latents.model_mixing import interpolate_models, render_between
from ..gansketching_core.latents.sampling import SampleConfig
from . import host, model_files, pictures, widgets
from .latents import LATENTS, LayerRange, last_or_none, layer_widgets
from .sampling import batch_size
from .sketching import as_sketches

MODEL, DIRECTIONS = "GANSKETCHING_MODEL", "GANSKETCHING_DIRECTIONS"


def weight(default: float, bound: float, tooltip: str) -> widgets.Widget:
    """A number that may be negative."""
    options = {"default": default, "min": -bound, "max": bound, "step": 0.05, "round": False, "tooltip": tooltip}
    return "FLOAT", options


# ------------------------------------------------------------------------------------------------------------ models


class InterpolateModels:
    DISPLAY_NAME = "Interpolate Models"
    CATEGORY = "GANSketching/editing"
    DESCRIPTION = "The model between two that come from the same base. Chain it to mix more than two."
    SEARCH_ALIASES = ("merge models", "blend", "model mix", "model merge")
    RETURN_TYPES = (MODEL,)
    RETURN_NAMES = ("model",)
    OUTPUT_TOOLTIPS = ("A model with the weighted mean of both models' weights.",)
    FUNCTION = "mix"

    @classmethod
    def INPUT_TYPES(cls):
        alpha = "0: the first model, 1: the second, between: a mixture. Outside it exaggerates the difference."
        return {
            "required": {
                "first": (MODEL, {"tooltip": "A generator, original or customised."}),
                "second": (MODEL, {"tooltip": "Another one customised from the same base, or that base."}),
                "alpha": weight(0.5, 3.0, alpha),
            }
        }

    def mix(self, first, second, alpha):
        with host.training_mode():
            return (interpolate_models(first, second, alpha),)


class ModelFilm:
    DISPLAY_NAME = "Model Film"
    CATEGORY = "GANSketching/editing"
    DESCRIPTION = "Frames of a film in which the same latents are seen while one model turns into another."
    SEARCH_ALIASES = ("interpolate models", "animation", "morph", "frames", "model merge")
    RETURN_TYPES = ("IMAGE",)
    RETURN_NAMES = ("frames",)
    OUTPUT_TOOLTIPS = ("The frames, for Save Animated WEBP. Several latents are shown side by side in each.",)
    FUNCTION = "film"

    @classmethod
    def INPUT_TYPES(cls):
        options = widgets.widgets(SampleConfig, skip=["truncation_cutoff"])
        mode = "weights mixes the networks. w mixes only what they make of the latents: faster, much alike."
        return {
            "required": {
                "first": (MODEL, {"tooltip": "The model to start with."}),
                "second": (MODEL, {"tooltip": "The model to end with; both come from the same base."}),
                "latents": (LATENTS, {"tooltip": "Latents in z, which the models share."}),
                "frames": ("INT", {"default": 30, "min": 2, "max": 1000, "tooltip": "Frames from one to the other."}),
                "start": weight(0.0, 3.0, "Where the film starts. 0: at the first model."),
                "end": weight(1.0, 3.0, "Where it ends. 1: at the second model; more exaggerates."),
                "back": ("BOOLEAN", {"default": True, "tooltip": "Then the way back, so that the film can repeat."}),
                "mode": (["w", "weights"], {"default": "w", "tooltip": mode}),
                "columns": ("INT", {"default": 0, "min": 0, "max": 64, "tooltip": "Columns. 0: about square."}),
                **options,
            }
        }

    def film(self, first, second, latents, frames, start, end, back, mode, columns, **options):
        config = widgets.build(SampleConfig, **options)
        alphas = torch.linspace(start, end, frames).tolist()
        count, progress = len(latents), host.Progress(len(latents) * frames)
        with host.borrowed_device(1) as device:
            first, second = (host.model_on_device(model, device) for model in (first, second))
            settings = {"mode": mode, "batch": batch_size(first), "on_batch": progress.on_batch}
            x = render_between(first, second, latents, alphas, config, **settings).cpu()
        tiles = [grid(frame, columns or round(count**0.5 + 0.499)) for frame in x.split(count)]
        return (to_comfy(torch.cat(tiles + tiles[-2:0:-1] if back else tiles)),)


class WShift:
    DISPLAY_NAME = "W Shift"
    CATEGORY = "GANSketching/editing"
    DESCRIPTION = (
        "A quick stand-in for fine-tuning: shifts all latents towards the samples that look most like the sketches. "
        "Seconds instead of minutes, but the samples vary less and follow the sketches less."
    )
    SEARCH_ALIASES = ("vector arithmetic", "customise", "customize", "sketch", "fast", "preview")
    RETURN_TYPES = (MODEL,)
    RETURN_NAMES = ("model",)
    OUTPUT_TOOLTIPS = ("The customised model. The model that came in is unchanged.",)
    FUNCTION = "shift"

    @classmethod
    def INPUT_TYPES(cls):
        pool = "Random samples to look among."
        nearest = "How many of them, the nearest to the sketches, are averaged."
        strength = "1: to the average of the nearest. More goes beyond, 0 changes nothing."
        spread = "Below 1 the samples also move together: nearer to the sketches, less varied. 0.5 is a good choice."
        per_sketch = "Average the samples nearest to each sketch, so that those easily met don't stand for the others."
        return {
            "required": {
                "model": (MODEL, {"tooltip": "The generator to start from. It is not changed."}),
                "sketches": ("IMAGE,MASK", {"tooltip": "One or more drawings of the wanted shape, black on white."}),
                "photosketch": ("GANSKETCHING_PHOTOSKETCH", {"tooltip": "Draws the model's images as sketches."}),
                "seed": widgets.seed(changes=False, tooltip="Decides the random samples."),
                "pool": ("INT", {"default": 512, "min": 1, "max": 100_000, "tooltip": pool}),
                "nearest": ("INT", {"default": 16, "min": 1, "max": 1024, "tooltip": nearest}),
                "strength": weight(1.0, 5.0, strength),
            },
            "optional": {
                "spread": ("FLOAT", {"default": 1.0, "min": 0.05, "max": 1.0, "step": 0.05, "tooltip": spread}),
                "per_sketch": ("BOOLEAN", {"default": False, "tooltip": per_sketch}),
            },
        }

    def shift(self, model, sketches, photosketch, seed, pool, nearest, strength, spread=1.0, per_sketch=False):
        progress = host.Progress(pool)
        options = {"pool": pool, "nearest": nearest, "per_sketch": per_sketch}
        options |= {"strength": strength, "spread": spread, "seed": seed}
        with host.training_mode(), host.borrowed_device(1) as device:
            base, network = host.model_on_device(model, device), host.on_device(photosketch, device)
            drawings = as_sketches(sketches, base.config.resolution)
            shifted = shift_towards(base, drawings, network, on_batch=progress.on_batch, **options)
            shifted = host.model_on_device(shifted, model.w_mean.device)
            about = {"base_name": model.name, **model.metadata, "trainable": "w_shift"}
            return (dataclasses.replace(shifted, discriminator=model.discriminator, metadata=about),)


# -------------------------------------------------------------------------------------------------------- directions


class FitDirections:
    DISPLAY_NAME = "Fit Directions"
    CATEGORY = "GANSketching/editing"
    DESCRIPTION = (
        "Finds the main directions in which a model's images vary (GANSpace): turning, opening, size, colour ... "
        "Takes seconds. Directions Sheet shows what each one does."
    )
    SEARCH_ALIASES = ("ganspace", "pca", "principal components", "find edits")
    RETURN_TYPES = (DIRECTIONS,)
    RETURN_NAMES = ("directions",)
    OUTPUT_TOOLTIPS = ("The directions, the one with the largest effect first.",)
    FUNCTION = "fit"

    @classmethod
    def INPUT_TYPES(cls):
        components = "How many directions. Not more than the model's w has numbers."
        samples = "Random samples to measure."
        return {
            "required": {
                "model": (MODEL, {"tooltip": "The generator. Its customised versions can use the directions too."}),
                "components": ("INT", {"default": 40, "min": 1, "max": 512, "tooltip": components}),
                "samples": ("INT", {"default": 100_000, "min": 1000, "max": 10_000_000, "tooltip": samples}),
                "seed": widgets.seed(changes=False, tooltip="Decides the random samples."),
            }
        }

    def fit(self, model, components, samples, seed):
        progress = host.Progress(samples)
        options = {"components": components, "samples": samples, "seed": seed, "on_batch": progress.on_batch}
        return (fit_directions(model, **options),)


class EditLatents(LayerRange):
    DISPLAY_NAME = "Edit Latents"
    CATEGORY = "GANSketching/editing"
    DESCRIPTION = "Moves latents along one direction, in some layers or all. Chain it for several edits."
    SEARCH_ALIASES = ("ganspace", "apply direction", "edit image", "semantic edit")
    RETURN_TYPES = (LATENTS,)
    RETURN_NAMES = ("latents",)
    OUTPUT_TOOLTIPS = ("The edited latents, w+: Sample makes images of them, without truncation.",)
    FUNCTION = "edit"

    @classmethod
    def INPUT_TYPES(cls):
        strength = "How far, in standard deviations of the model's samples. Negative goes the other way."
        truncation = "Below 1: more typical images. Truncate here or before, not in Sample."
        before = "Edit first and truncate then, which weakens the edit too. Off: the edit is always equally strong."
        return {
            "required": {
                "model": (MODEL, {"tooltip": "The generator that the latents are for."}),
                "latents": (LATENTS, {"tooltip": "Latents to edit."}),
                "directions": (DIRECTIONS, {"tooltip": "From Fit Directions or Load Directions."}),
                "component": ("INT", {"default": 0, "min": 0, "max": 511, "tooltip": "Number of the direction."}),
                "strength": weight(2.0, 20.0, strength),
                **layer_widgets(0, -1),
                "truncation": ("FLOAT", {"default": 1.0, "min": 0.0, "max": 2.0, "step": 0.05, "tooltip": truncation}),
                "before_truncation": ("BOOLEAN", {"default": False, "tooltip": before}),
            }
        }

    def edit(self, model, latents, directions, component, strength, first_layer, last_layer, truncation, **order):
        layers = {"first": first_layer, "last": last_or_none(last_layer)}
        return (edit(model, latents, directions, component, strength, psi=truncation, **layers, **order),)


class DirectionsSheet(LayerRange):
    DISPLAY_NAME = "Directions Sheet"
    CATEGORY = "GANSketching/editing"
    DESCRIPTION = "One image moved along each of the first directions, a row for each: find a useful one by eye."
    SEARCH_ALIASES = ("ganspace", "contact sheet", "overview", "browse directions")
    RETURN_TYPES = ("IMAGE",)
    RETURN_NAMES = ("sheet",)
    OUTPUT_TOOLTIPS = ("The rows in one picture.",)
    FUNCTION = "show"

    @classmethod
    def INPUT_TYPES(cls):
        latents = "The latent to move; of several, the first."
        reach = "Standard deviations to the left and to the right of the middle."
        truncation = "Below 1: a more typical image. The edits stay as strong."
        return {
            "required": {
                "model": (MODEL, {"tooltip": "The generator that the latents are for."}),
                "latents": (LATENTS, {"tooltip": latents}),
                "directions": (DIRECTIONS, {"tooltip": "From Fit Directions or Load Directions."}),
                "components": ("INT", {"default": 8, "min": 1, "max": 64, "tooltip": "How many rows."}),
                "columns": ("INT", {"default": 5, "min": 2, "max": 15, "tooltip": "Images in a row."}),
                "reach": ("FLOAT", {"default": 2.0, "min": 0.1, "max": 20.0, "step": 0.1, "tooltip": reach}),
                **layer_widgets(0, -1),
                "truncation": ("FLOAT", {"default": 1.0, "min": 0.0, "max": 2.0, "step": 0.05, "tooltip": truncation}),
            }
        }

    def show(self, model, latents, directions, components, columns, reach, first_layer, last_layer, truncation):
        progress = host.Progress(components * columns)
        strengths = tuple(torch.linspace(-reach, reach, columns).tolist())
        layers = {"first": first_layer, "last": last_or_none(last_layer)}
        options = {"components": components, "strengths": strengths, "psi": truncation, **layers}
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
        name = "File name; a number is added so that no file is replaced. A / makes a subfolder."
        return {
            "required": {
                "directions": (DIRECTIONS, {"tooltip": "Directions to save."}),
                "name": ("STRING", {"default": "directions", "tooltip": name}),
            }
        }

    def save(self, directions, name):
        path = model_files.new_result(name, model_files.DIRECTIONS)
        save_directions(directions, path)
        text = f"Saved {path.relative_to(model_files.results_folder())}, {len(directions)} directions."
        logging.getLogger(__name__).info(text)
        return {"ui": {"text": [text]}}


class LoadDirections:
    DISPLAY_NAME = "Load Directions"
    CATEGORY = "GANSketching/editing"
    DESCRIPTION = "Loads directions: those published by GANSpace (.npz), or those that Save Directions has saved."
    SEARCH_ALIASES = ("ganspace", "npz", "components")
    RETURN_TYPES = (DIRECTIONS,)
    RETURN_NAMES = ("directions",)
    OUTPUT_TOOLTIPS = ("The directions. They fit the model they were made from and its customised versions.",)
    FUNCTION = "load"

    @classmethod
    def INPUT_TYPES(cls):
        names = list(model_files.directions())
        tooltip = "Files of models/ganspace (.npz, .safetensors), then those saved by this pack [output]."
        return {"required": {"name": (names, {"default": names[0] if names else "", "tooltip": tooltip})}}

    @classmethod
    def VALIDATE_INPUTS(cls, name):
        remedy = "Put the file into models/ganspace, or save one with Save Directions, and refresh the node list (R)."
        return model_files.listed(model_files.directions(), name, remedy)

    @classmethod
    def IS_CHANGED(cls, name):
        return model_files.version(model_files.directions(), name)

    def load(self, name):
        return (load_directions(model_files.pick(model_files.directions(), name)),)
