"""Sketches: preparing hand-drawn ones, and turning photos into line drawings."""

from __future__ import annotations

from collections.abc import Sequence

import torch
import torch.nn.functional as F
from torch import Tensor

from ..gansketching_core.images import from_comfy, to_comfy
from ..gansketching_core.latents.sampling import sample_drawings
from ..gansketching_core.options import build
from ..gansketching_core.sketches.prepare import SketchConfig, prepare_sketches
from . import host
from . import widgets as ui
from .widgets import MODEL

SKETCHES = ui.socket("IMAGE,MASK", "Sketches of the wanted shape, black on white, with the strokes of Prepare Sketch.")
PHOTOSKETCH = ui.socket(ui.PHOTOSKETCH, "Turns the model's images into line drawings.")


def as_sketches(images: Tensor | Sequence[Tensor], size: int) -> Tensor:
    """IMAGE or MASK -> sketches [N,1,size,size], black on white. Strokes keep their width: see PrepareSketch."""
    return prepare_sketches(images, size, SketchConfig(strokes="keep"))


class PrepareSketch:
    DISPLAY_NAME = "Prepare Sketch"
    CATEGORY = "GANSketching/sketching"
    DESCRIPTION = "Makes drawings square and black on white, cleans them, and matches the width of their strokes."
    SEARCH_ALIASES = ("clean sketch", "binarize", "stroke width", "invert drawing")
    RETURN_TYPES = ("IMAGE",)
    RETURN_NAMES = ("sketches",)
    OUTPUT_TOOLTIPS = ("The sketches, black lines on white paper.",)
    FUNCTION = "prepare"
    INPUT_TYPES = ui.inputs(
        drawings=ui.socket("IMAGE,MASK", "What you drew: pictures, or masks, whose marked part becomes the lines."),
        size=ui.integer(256, 32, 1024, "Side of the square sketches in pixels, unless a model is connected.", step=32),
        **ui.widgets(SketchConfig),
        optional={
            "model": ui.socket(MODEL, "The generator that the sketches are for. It gives the size; match needs it."),
            "photosketch": ui.socket(ui.PHOTOSKETCH, "match takes the stroke width from its drawings of samples."),
        },
    )

    @classmethod
    def VALIDATE_INPUTS(cls, strokes, input_types=None):
        if problem := ui.wrongly_connected(cls, input_types):
            return problem
        if strokes == "match" and not {"model", "photosketch"} <= set(input_types or {}):
            return 'strokes "match" needs a model and a photosketch: connect both, or choose "keep" or "redraw"'
        return ui.check(lambda choice: build(SketchConfig, strokes=choice), strokes)

    def prepare(self, drawings, size, model=None, photosketch=None, **options):
        config = build(SketchConfig, **options)
        size = size if model is None else model.config.resolution
        reference = None
        if config.strokes == "match" and model is not None and photosketch is not None:
            with torch.no_grad(), host.borrowed_device(1) as device:
                base = host.model_on_device(model, device)
                network = host.on_device(photosketch, device)
                reference = sample_drawings(base, network, on_batch=lambda *_: host.poll())
        return (to_comfy(prepare_sketches(drawings, size, config, reference=reference)),)


class PhotoSketch:
    DISPLAY_NAME = "PhotoSketch"
    CATEGORY = "GANSketching/sketching"
    DESCRIPTION = "Turns photos into line drawings, exactly as fine-tuning does with the model's images."
    SEARCH_ALIASES = ("photo to sketch", "line art", "lineart", "edge detection", "outline")
    RETURN_TYPES = ("IMAGE",)
    RETURN_NAMES = ("sketches",)
    OUTPUT_TOOLTIPS = ("The line drawings, black on white.",)
    FUNCTION = "draw"
    INPUT_TYPES = ui.inputs(
        photosketch=ui.socket(ui.PHOTOSKETCH, "A network from Load PhotoSketch."),
        photos=ui.socket("IMAGE", "The photos. The networks were trained on pictures of about 64 to 512 pixels."),
    )

    def draw(self, photosketch, photos):
        x = from_comfy(photos)
        height, width = x.shape[2:]
        x = F.pad(x, (0, -width % 4, 0, -height % 4), mode="replicate")  # the networks halve the size twice
        progress = host.Progress(len(x))
        drawings = []
        with torch.no_grad(), host.borrowed_device(1) as device:
            network = host.on_device(photosketch, device)
            for photo in x.split(1):
                drawings.append(network(photo.to(device))[:, :, :height, :width].cpu())
                progress.on_batch(len(drawings))
        return (to_comfy(torch.cat(drawings)),)
