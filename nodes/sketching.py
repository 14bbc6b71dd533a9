"""Sketches: preparing hand-drawn ones, and drawing photos as sketches."""

from __future__ import annotations

import torch
import torch.nn.functional as F
from torch import Tensor

from ..gansketching_core.images import from_comfy, to_comfy
from ..gansketching_core.latents.sampling import sample_drawings
from ..gansketching_core.sketches.prepare import SketchConfig, prepare_sketches
from . import host
from .widgets import build, widgets, wrongly_connected


def as_sketches(drawings: Tensor, size: int) -> Tensor:
    """IMAGE or MASK -> sketches [N,1,size,size]: black on white, strokes as they are (Prepare Sketch changes them)."""
    return prepare_sketches(drawings.clone(), size, SketchConfig(strokes="keep"))


class PrepareSketch:
    DISPLAY_NAME = "Prepare Sketch"
    CATEGORY = "GANSketching/sketching"
    DESCRIPTION = (
        "Turns drawings of any size into square sketches, black on white: inverts white-on-black ones, cleans the "
        "paper, crops to the drawing if wanted, and gives all strokes the width that the model's sketches have."
    )
    SEARCH_ALIASES = ("clean sketch", "binarize", "stroke width", "invert drawing")
    RETURN_TYPES = ("IMAGE",)
    RETURN_NAMES = ("sketches",)
    OUTPUT_TOOLTIPS = ("The sketches, black lines on white paper.",)
    FUNCTION = "prepare"

    @classmethod
    def INPUT_TYPES(cls):
        drawings = "Drawings: pictures, or masks (what is marked becomes the line)."
        size = "Side of the square sketches in pixels. With a model connected, the model's resolution instead."
        model = "The generator that the sketches are for, with photosketch: both together for strokes match."
        network = "Its line drawings of the model's samples show how wide strokes match makes the lines."
        return {
            "required": {
                "drawings": ("IMAGE,MASK", {"tooltip": drawings}),
                "size": ("INT", {"default": 256, "min": 32, "max": 1024, "step": 32, "tooltip": size}),
                **widgets(SketchConfig),
            },
            "optional": {
                "model": ("GANSKETCHING_MODEL", {"tooltip": model}),
                "photosketch": ("GANSKETCHING_PHOTOSKETCH", {"tooltip": network}),
            },
        }

    @classmethod
    def VALIDATE_INPUTS(cls, strokes, input_types=None):
        """input_types: the types of what is connected; None where the runner does not tell."""
        wrong = wrongly_connected(cls, input_types)
        if wrong:
            return wrong
        connected = {"model", "photosketch"} <= set(input_types or {})
        if strokes == "match" and input_types is not None and not connected:
            return 'strokes "match" needs a model and a photosketch: connect both, or choose "keep" or "redraw"'
        return True

    def prepare(self, drawings, size, model=None, photosketch=None, **options):
        config = build(SketchConfig, **options)
        size = size if model is None else model.config.resolution
        reference = None
        if config.strokes == "match" and model is not None and photosketch is not None:
            with torch.no_grad(), host.borrowed_device(1) as device:
                base, network = host.model_on_device(model, device), host.on_device(photosketch, device)
                reference = sample_drawings(base, network, on_batch=lambda *_: host.poll())
        return (to_comfy(prepare_sketches(drawings, size, config, reference=reference)),)


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
