"""Sampling: images of a model, and two models side by side."""

from __future__ import annotations

from ..gansketching_core.images import to_comfy
from ..gansketching_core.latents.sampling import SampleConfig, render, sample_z
from ..gansketching_core.latents.spaces import Latents
from ..gansketching_core.networks.stylegan2 import GanModel
from . import host, pictures
from .widgets import build, seed, widgets


def batch_size(model: GanModel) -> int:
    """Images to make at a time: few enough that cancelling is prompt and memory small."""
    return max(1, 2 * 256**2 // model.config.resolution**2)


class Sample:
    DISPLAY_NAME = "Sample"
    CATEGORY = "GANSketching/sampling"
    DESCRIPTION = (
        "Generates images. Connect the latents of one Sample node to another to see what two models make of the same "
        "latents: a model and its customised versions share them."
    )
    SEARCH_ALIASES = ("generate", "sampler", "gan", "stylegan", "latent")
    RETURN_TYPES = ("IMAGE", "GANSKETCHING_LATENTS")
    RETURN_NAMES = ("images", "latents")
    OUTPUT_TOOLTIPS = ("The images.", "The latents they were made from.")
    FUNCTION = "sample"

    @classmethod
    def INPUT_TYPES(cls):
        count = "How many images. A larger number only adds to the same ones."
        drawn = "Where the images come from: the same seed gives the same images. With latents connected it only "
        classes = "For models with classes: which one. -1 takes all in turn. Models without classes need -1."
        latents = (
            "Use these latents instead of drawing new ones; count and, unless noise is random, seed do not matter."
        )
        return {
            "required": {
                "model": ("GANSKETCHING_MODEL", {"tooltip": "A generator, original or customised."}),
                "seed": seed(changes=True, tooltip=drawn + "decides random noise."),
                "count": ("INT", {"default": 8, "min": 1, "max": 1024, "tooltip": count}),
                **widgets(SampleConfig),
                "class_index": ("INT", {"default": -1, "min": -1, "max": 100_000, "tooltip": classes}),
            },
            "optional": {"latents": ("GANSKETCHING_LATENTS", {"tooltip": latents})},
        }

    def sample(self, model, seed, count, class_index, latents=None, **options):
        config = build(SampleConfig, **options)
        labels = None if class_index < 0 else class_index
        latents = sample_z(model, count, seed, labels) if latents is None else latents
        progress = host.Progress(len(latents))
        with host.borrowed_device(1) as device:
            model = host.model_on_device(model, device)
            x = render(model, latents, config, seed=seed, batch=batch_size(model), on_batch=progress.on_batch)
            return to_comfy(x), Latents(latents.space, latents.data.cpu(), latents.labels)


class SideBySide:
    DISPLAY_NAME = "Side by Side"
    CATEGORY = "GANSketching/sampling"
    DESCRIPTION = "Puts two batches of images, such as before and after, into one picture with titles."
    SEARCH_ALIASES = ("compare", "grid", "contact sheet", "before after", "image grid")
    RETURN_TYPES = ("IMAGE",)
    RETURN_NAMES = ("picture",)
    OUTPUT_TOOLTIPS = ("All images in one picture.",)
    FUNCTION = "compose"

    @classmethod
    def INPUT_TYPES(cls):
        columns = "Columns of each grid. 0 makes them about square."
        return {
            "required": {
                "left": ("IMAGE", {"tooltip": "The images on the left."}),
                "right": ("IMAGE", {"tooltip": "The images on the right."}),
                "left_title": ("STRING", {"default": "original", "tooltip": "Title of the left images."}),
                "right_title": ("STRING", {"default": "customised", "tooltip": "Title of the right images."}),
                "columns": ("INT", {"default": 0, "min": 0, "max": 64, "tooltip": columns}),
            },
            "optional": {
                "sketches": ("IMAGE,MASK", {"tooltip": "Sketches to show first, as many as there are images."}),
            },
        }

    def compose(self, left, right, left_title, right_title, columns, sketches=None):
        parts = [(left_title, left), (right_title, right)]
        if sketches is not None:
            if sketches.ndim == 3:  # a MASK [B,H,W]: what is marked is the line
                sketches = (1 - sketches)[..., None]
            parts.insert(0, ("sketches", sketches[: max(len(left), len(right))]))
        return (pictures.to_image(pictures.labelled(parts, columns=columns)),)
