"""Sampling: images of a model, and two batches of images side by side."""

from __future__ import annotations

from ..gansketching_core.images import from_comfy, to_comfy
from ..gansketching_core.latents.sampling import SampleConfig, render, sample_z
from ..gansketching_core.latents.spaces import Latents
from ..gansketching_core.networks.stylegan2 import GanModel
from . import host, pictures
from .sketching import SKETCHES
from .widgets import build, class_index, or_none, seed, widgets

IN_TURN = "all classes in turn"  # what class_index -1 means for random latents


def batch_size(model: GanModel) -> int:
    """Images to generate at a time: few enough that cancelling is prompt and memory use small."""
    return max(1, 2 * 256**2 // model.config.resolution**2)


class Sample:
    DISPLAY_NAME = "Sample"
    CATEGORY = "GANSketching/sampling"
    DESCRIPTION = "Generates images from random latents, or from the latents of another node."
    SEARCH_ALIASES = ("generate", "sampler", "gan", "stylegan", "latent")
    RETURN_TYPES = ("IMAGE", "GANSKETCHING_LATENTS")
    RETURN_NAMES = ("images", "latents")
    OUTPUT_TOOLTIPS = ("The images.", "The latents that they were generated from.")
    FUNCTION = "sample"

    @classmethod
    def INPUT_TYPES(cls):
        count = "How many images. A larger number adds images and keeps the first ones."
        random = "Seed of the random latents and of random noise. The same seed gives the same images."
        latents = "Latents to use instead of random ones; count and class_index are ignored then."
        return {
            "required": {
                "model": ("GANSKETCHING_MODEL", {"tooltip": "A generator, original or customised."}),
                "seed": seed(changes=True, tooltip=random),
                "count": ("INT", {"default": 8, "min": 1, "max": 1024, "tooltip": count}),
                **widgets(SampleConfig),
                "class_index": class_index(IN_TURN),
            },
            "optional": {"latents": ("GANSKETCHING_LATENTS", {"tooltip": latents})},
        }

    def sample(self, model, seed, count, class_index, latents=None, **options):
        config = build(SampleConfig, **options)
        if latents is None:
            latents = sample_z(model, count, seed, or_none(class_index))
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
        columns = "Columns of each grid. 0: as many as make the largest grid about square."
        sketches = "Sketches to show first, at most as many as there are images."
        return {
            "required": {
                "left": ("IMAGE", {"tooltip": "The images on the left."}),
                "right": ("IMAGE", {"tooltip": "The images on the right."}),
                "left_title": ("STRING", {"default": "original", "tooltip": "Title of the left images."}),
                "right_title": ("STRING", {"default": "customised", "tooltip": "Title of the right images."}),
                "columns": ("INT", {"default": 0, "min": 0, "max": 64, "tooltip": columns}),
            },
            "optional": {"sketches": (SKETCHES[0], {"tooltip": sketches})},
        }

    def compose(self, left, right, left_title, right_title, columns, sketches=None):
        parts = [(left_title, left), (right_title, right)]
        if sketches is not None:
            sketches = to_comfy(from_comfy(sketches))  # a MASK becomes black on white
            parts.insert(0, ("sketches", sketches[: max(len(left), len(right))]))
        return (pictures.to_image(pictures.labelled(parts, columns=columns)),)
