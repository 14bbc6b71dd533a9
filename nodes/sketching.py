"""Sketches: preparing hand-drawn ones, and drawing photos as sketches."""

from __future__ import annotations

import torch
import torch.nn.functional as F

from ..gansketching_core.images import from_comfy, to_comfy
from ..gansketching_core.sketches.prepare import SketchConfig, prepare_sketches
from . import host
from .widgets import build, widgets


class PrepareSketch:
    DISPLAY_NAME = "Prepare Sketch"
    CATEGORY = "GANSketching/sketching"
    DESCRIPTION = (
        "Turns drawings of any size into square sketches, black on white: inverts white-on-black ones, cleans the "
        "paper and, if wanted, crops to the drawing and redraws it with an even pen."
    )
    SEARCH_ALIASES = ("clean sketch", "binarize", "stroke width", "invert drawing")
    RETURN_TYPES = ("IMAGE",)
    RETURN_NAMES = ("sketches",)
    OUTPUT_TOOLTIPS = ("The sketches, black lines on white paper.",)
    FUNCTION = "prepare"

    @classmethod
    def INPUT_TYPES(cls):
        drawings = "Drawings: pictures, or masks (what is marked becomes the line)."
        size = "Side of the square sketches in pixels. Fine-tuning scales them to the model's size."
        return {
            "required": {
                "drawings": ("IMAGE,MASK", {"tooltip": drawings}),
                "size": ("INT", {"default": 256, "min": 32, "max": 1024, "step": 32, "tooltip": size}),
                **widgets(SketchConfig),
            }
        }

    def prepare(self, drawings, size, **options):
        config = build(SketchConfig, **options)
        return (to_comfy(prepare_sketches(drawings, size, config)),)


class PhotoSketch:
    DISPLAY_NAME = "PhotoSketch"
    CATEGORY = "GANSketching/sketching"
    DESCRIPTION = "Draws photos as line sketches, as fine-tuning sees them."
    SEARCH_ALIASES = ("photo to sketch", "line art", "lineart", "edge detection", "outline")
    RETURN_TYPES = ("IMAGE",)
    RETURN_NAMES = ("sketches",)
    OUTPUT_TOOLTIPS = ("The line drawings, black on white.",)
    FUNCTION = "draw"

    @classmethod
    def INPUT_TYPES(cls):
        photos = "Photos. The networks know pictures of about 64 to 512 pixels best."
        return {
            "required": {
                "photosketch": ("GANSKETCHING_PHOTOSKETCH", {"tooltip": "A network from Load PhotoSketch."}),
                "photos": ("IMAGE", {"tooltip": photos}),
            }
        }

    def draw(self, photosketch, photos):
        x = from_comfy(photos)
        height, width = x.shape[2:]
        x = F.pad(x, (0, -width % 4, 0, -height % 4), mode="replicate")
        progress, drawn = host.Progress(len(x)), []
        with torch.no_grad(), host.borrowed_device(1) as device:
            network = host.on_device(photosketch, device)
            for k, photo in enumerate(x.split(1)):
                host.poll()
                drawn.append(network(photo.to(device))[:, :, :height, :width].cpu())
                progress.update(k + 1)
        return (to_comfy(torch.cat(drawn)),)
