"""Projection: latents of a photo, and latents of a sketch."""

from __future__ import annotations

import time
from collections.abc import Callable

from PIL import Image
from torch import Tensor

from ..gansketching_core.datasets import ImageSet
from ..gansketching_core.images import to_comfy
from ..gansketching_core.inversion.image import ProjectConfig, Projection, Projector
from ..gansketching_core.inversion.sketch import SketchMatches, SketchSearch, SketchSearchConfig
from ..gansketching_core.latents.spaces import Latents
from . import host, pictures, widgets
from .sketching import as_sketches

PREVIEW_EVERY = 0.5  # seconds between live previews, at least
PREVIEW_COUNT = 16  # images in a preview, at most
EXPERT = ("ramp_up", "ramp_down", "latent_noise", "batch", "noise_weight", "generation_steps")
CLASSES = "For models with classes: which one. -1 looks among all. Models without classes need -1."


def follow(search: Projector | SketchSearch, picture: Callable[[], Image.Image]) -> float:
    """Takes all steps with progress, previews and cancelling -> seconds."""
    progress, due, began = host.Progress(search.steps_total), 0.0, time.perf_counter()
    search.poll = host.poll
    while not search.finished:
        report, shown = search.step(), None
        if time.perf_counter() >= due:
            shown, due = picture(), time.perf_counter() + PREVIEW_EVERY
        progress.update(report.step, shown)
    return time.perf_counter() - began


def on_cpu(latents: Latents) -> Latents:
    return Latents(latents.space, latents.data.cpu(), None if latents.labels is None else latents.labels.cpu())


def resized_mask(mask: Tensor, size: int) -> Tensor:
    """MASK [B,H,W] or [H,W] -> [B,1,size,size] in 0..1, cropped about the centre as photos are."""
    photos = ImageSet(mask.reshape(-1, *mask.shape[-2:], 1), size)
    return (photos.batch(range(len(photos)))[:, :1] + 1) / 2


class ProjectImage:
    DISPLAY_NAME = "Project Image"
    CATEGORY = "GANSketching/projecting"
    DESCRIPTION = (
        "Finds the latents from which a model makes an image like yours, so that a photo can be edited. Project into z "
        "with the original model, then sample a customised one with the latents."
    )
    SEARCH_ALIASES = ("inversion", "invert", "image to latent", "encode", "gan inversion", "edit photo")
    RETURN_TYPES = ("GANSKETCHING_LATENTS", "IMAGE", "STRING")
    RETURN_NAMES = ("latents", "reconstruction", "report")
    OUTPUT_TOOLTIPS = ("The latents.", "What the model makes of them.", "How near it is, in words.")
    FUNCTION = "project"

    @classmethod
    def INPUT_TYPES(cls):
        photos = "One or more images like those the model was trained on. Cropped to squares about their middle."
        mask = "Only what is marked counts; the model makes up the rest. One for all images, or one for each."
        return {
            "required": {
                "model": ("GANSKETCHING_MODEL", {"tooltip": "The generator to look in."}),
                "images": ("IMAGE", {"tooltip": photos}),
                **widgets.widgets(ProjectConfig, skip=["seed", *EXPERT]),
                "seed": widgets.seed(changes=False, tooltip="Decides where the search starts."),
                "class_index": ("INT", {"default": -1, "min": -1, "max": 100_000, "tooltip": CLASSES}),
            },
            "optional": {"mask": ("MASK", {"tooltip": mask})},
        }

    def project(self, model, images, class_index, mask=None, **options):
        config, size = widgets.build(ProjectConfig, **options), model.config.resolution
        label = None if class_index < 0 else class_index
        with host.training_mode(), host.borrowed_device(size / 64) as device:
            photos = ImageSet(images.clone(), size)
            targets = photos.batch(range(len(photos))).to(device)
            where = None if mask is None else resized_mask(mask.clone(), size)
            base = host.model_on_device(model, device)
            search = Projector(base, targets, config, mask=where, label=label)
            seconds = follow(search, lambda: self.picture(targets, search.result().images))
            found = search.result()
        report = self.report(model.name, found, config.space, seconds)
        return on_cpu(found.latents), to_comfy(found.images), report

    @staticmethod
    def picture(targets: Tensor, reconstructions: Tensor) -> Image.Image:
        """The first images beside what has been found for them."""
        parts = [("image", targets), ("so far", reconstructions)]
        return pictures.labelled([(title, to_comfy(x[:PREVIEW_COUNT])) for title, x in parts])

    @staticmethod
    def report(name: str, found: Projection, space: str, seconds: float) -> str:
        """Where, how long, how near."""
        decibels = ", ".join(f"{value:.1f}" for value in found.psnr.tolist())
        lines = [
            f"{len(found.psnr)} images projected into {space} of {name} in {seconds:.0f} s.",
            f"PSNR: median {float(found.psnr.median()):.1f} dB ({decibels}). Above 20 is near, above 30 almost equal.",
            f"Loss: median {float(found.loss.median()):.4f}.",
        ]
        return "\n".join(lines)


class ProjectSketch:
    DISPLAY_NAME = "Project Sketch"
    CATEGORY = "GANSketching/projecting"
    DESCRIPTION = (
        "One sketch in, images out: finds different latents of a model, original or customised, whose images look like "
        "the sketch when drawn as lines. No training."
    )
    SEARCH_ALIASES = ("sketch to image", "search", "find", "drawing to image", "inversion")
    RETURN_TYPES = ("GANSKETCHING_LATENTS", "IMAGE", "IMAGE", "STRING")
    RETURN_NAMES = ("latents", "images", "drawings", "report")
    OUTPUT_TOOLTIPS = (
        "The latents, those nearest to the sketch first.",
        "Their images.",
        "The images as line drawings, as they were compared with the sketch.",
        "How near they are, in words.",
    )
    FUNCTION = "project"

    @classmethod
    def INPUT_TYPES(cls):
        sketches = "One drawing, or several: each image goes for the one it is nearest to. Black on white."
        return {
            "required": {
                "model": ("GANSKETCHING_MODEL", {"tooltip": "The generator to look in."}),
                "sketches": ("IMAGE,MASK", {"tooltip": sketches}),
                "photosketch": ("GANSKETCHING_PHOTOSKETCH", {"tooltip": "Draws the model's images as sketches."}),
                **widgets.widgets(SketchSearchConfig, skip=["seed", *EXPERT]),
                "seed": widgets.seed(changes=True, tooltip="Decides where the search starts."),
                "class_index": ("INT", {"default": -1, "min": -1, "max": 100_000, "tooltip": CLASSES}),
            }
        }

    def project(self, model, sketches, photosketch, class_index, **options):
        config = widgets.build(SketchSearchConfig, **options)
        label = None if class_index < 0 else class_index
        with host.training_mode(), host.borrowed_device(model.config.resolution / 64) as device:
            base, network = host.model_on_device(model, device), host.on_device(photosketch, device)
            drawn = as_sketches(sketches, base.config.resolution)
            search = SketchSearch(base, drawn, network, config, label=label)
            seconds = follow(search, lambda: self.picture(drawn, search.result()))
            found = search.result()
        report = (
            f"{len(found.distance)} images for {len(drawn)} sketches in {seconds:.0f} s.\n"
            f"Distance of their lines: {float(found.distance.min()):.3f} to {float(found.distance.max()):.3f} of the "
            "image side. Below 0.02 is near."
        )
        return on_cpu(found.latents), to_comfy(found.images), to_comfy(found.drawings), report

    @staticmethod
    def picture(sketches: Tensor, found: SketchMatches) -> Image.Image:
        """The sketches, and the best images so far."""
        parts = [("sketches", sketches), ("so far", found.images)]
        return pictures.labelled([(title, to_comfy(x[:PREVIEW_COUNT])) for title, x in parts])
