"""Sketches: preparing hand-drawn ones, and turning photos into line drawings."""

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

SKETCHES = ui.socket(
    "IMAGE,MASK", "Sketches of the wanted shape, black on white, of any sizes, with the strokes of Prepare Sketch."
)
SIZE = "Side of the square sketches in pixels, unless a model is connected."
LONGEST_SIDE = (
    "Photos with a longer side are scaled down to it, in pixels. The networks were trained on pictures of 64 to 512 "
    "pixels: much larger ones give few lines or none."
)
PHOTOSKETCH = ui.socket(ui.PHOTOSKETCH, "Turns the model's images into line drawings.")

MIN_SIDE = 32  # pixels, of a photo that the networks can draw


def as_sketches(images: Tensor | Sequence[Tensor], size: int) -> Tensor:
    """IMAGE or MASK -> sketches [N,1,size,size], black on white. Strokes keep their width: see PrepareSketch."""
    return prepare_sketches(images, size, SketchConfig(strokes="keep"))


@ui.takes_lists("drawings")
class PrepareSketch:
    DISPLAY_NAME = "Prepare Sketch"
    CATEGORY = "GANSketching/sketching"
    DESCRIPTION = "Makes sketches square and black on white, cleans them, and matches the width of their strokes."
    SEARCH_ALIASES = ("clean sketch", "binarize", "stroke width", "invert drawing")
    RETURN_TYPES = ("IMAGE",)
    RETURN_NAMES = ("sketches",)
    OUTPUT_TOOLTIPS = ("The sketches, black lines on white paper.",)
    FUNCTION = "prepare"
    INPUT_TYPES = ui.inputs(
        drawings=ui.socket(
            "IMAGE,MASK", "What you drew: pictures of any sizes, or masks, whose marked part becomes the lines."
        ),
        size=ui.advanced(ui.integer(256, 32, 1024, SIZE, step=32)),
        **ui.widgets(SketchConfig),
        optional={
            "model": ui.socket(MODEL, "The generator that the sketches are for. It gives the size; match needs it."),
            "photosketch": ui.socket(ui.PHOTOSKETCH, "match takes the stroke width from its drawings of samples."),
        },
    )

    @classmethod
    def VALIDATE_INPUTS(cls, strokes, model=ui.NOT_LINKED, photosketch=ui.NOT_LINKED):
        if strokes == "match" and ui.NOT_LINKED in (model, photosketch):
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


@ui.takes_lists("photos")
class PhotoSketch:
    DISPLAY_NAME = "PhotoSketch"
    CATEGORY = "GANSketching/sketching"
    DESCRIPTION = "Turns photos into line drawings, exactly as fine-tuning does with the model's images."
    SEARCH_ALIASES = ("photo to sketch", "line art", "lineart", "edge detection", "outline")
    RETURN_TYPES = ("IMAGE",)
    RETURN_NAMES = ("sketches",)
    OUTPUT_TOOLTIPS = ("The line drawings, black on white.",)
    OUTPUT_IS_LIST = (True,)  # of batches: photos of different sizes give drawings of different sizes
    FUNCTION = "draw"
    INPUT_TYPES = ui.inputs(
        photosketch=ui.socket(ui.PHOTOSKETCH, "A network from Load PhotoSketch."),
        photos=ui.socket("IMAGE", "The photos, of any sizes."),
        optional={"longest_side": ui.integer(512, 64, 4096, LONGEST_SIDE, step=4)},
        hidden={"node": "UNIQUE_ID"},
    )

    def draw(self, photosketch, photos, longest_side=512, node=None):
        batches = [photos] if isinstance(photos, Tensor) else photos
        total = sum(map(len, batches))
        smaller = sum(len(batch) for batch in batches if max(batch.shape[1:3]) > longest_side)
        batches = [_scaled_down(batch, longest_side) for batch in batches]
        if smaller:
            host.say(node, f"{smaller} of {total} photos scaled down to {longest_side} px, the networks' size")
        progress = host.Progress(total)
        done = 0
        results = []
        with torch.no_grad(), host.borrowed_device(1) as device:
            network = host.on_device(photosketch, device)
            for x in batches:
                height, width = x.shape[2:]
                x = F.pad(x, (0, -width % 4, 0, -height % 4), mode="replicate")  # the networks halve the size twice
                drawings = []
                for photo in x.split(1):
                    with host.polled(network):
                        drawing = network(photo.to(device))
                    drawings.append(drawing[:, :, :height, :width].cpu())
                    done += 1
                    progress.on_batch(done)
                results.append(to_comfy(torch.cat(drawings)))
        return (results,)


def _scaled_down(photos: Tensor, longest_side: int) -> Tensor:
    """IMAGE -> [B,3,H,W] in -1..1 whose longer side has at most `longest_side` pixels."""
    x = from_comfy(photos)
    height, width = x.shape[2:]
    if min(height, width) < MIN_SIDE:
        raise ValueError(f"a photo is {width} x {height} px, too small to draw: give photos of {MIN_SIDE} px or more")
    factor = longest_side / max(height, width)
    if factor >= 1:
        return x
    sides = [max(MIN_SIDE, round(side * factor)) for side in (height, width)]
    return F.interpolate(x, sides, mode="bicubic", antialias=True, align_corners=False).clamp(-1, 1)
