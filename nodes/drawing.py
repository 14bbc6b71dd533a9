"""Drawing sketches in the graph."""

from __future__ import annotations

import base64
import io

from ..gansketching_core import sketchpad
from . import host
from .pictures import to_pil

REFERENCE_SIZE = 512  # longest side of what is shown under the drawing, in pixels


class SketchPad:
    DISPLAY_NAME = "Sketch Pad"
    CATEGORY = "GANSketching/sketching"
    DESCRIPTION = (
        "Draw sketches right here: pen, eraser, several sheets, mirrored drawing, a picture underneath to trace. "
        "What you draw is kept in the workflow."
    )
    SEARCH_ALIASES = ("draw", "canvas", "paint", "doodle", "scribble", "drawing pad", "sketchpad", "pen")
    RETURN_TYPES = ("IMAGE", "INT")
    RETURN_NAMES = ("sketches", "count")
    OUTPUT_TOOLTIPS = ("The sheets, black lines on white paper. Blank sheets are left out.", "How many sketches.")
    FUNCTION = "draw"

    @classmethod
    def INPUT_TYPES(cls):
        strokes = "Draw here. Keys: P pen, E eraser, [ ] width, M mirror, N new sheet, Ctrl+Z undo. Kept as JSON text."
        size = "Side of the square sketches in pixels. The strokes are lines, so any size is sharp."
        reference = (
            "Pictures to trace: after a run they lie faintly under the sheets, the first under sheet 1 and so on."
        )
        drawn = {"default": sketchpad.EMPTY, "widgetType": "GANSKETCHING_STROKES", "tooltip": strokes}
        return {
            "required": {
                "strokes": ("STRING", drawn),
                "size": ("INT", {"default": 256, "min": 64, "max": 1024, "step": 32, "tooltip": size}),
            },
            "optional": {"reference": ("IMAGE", {"tooltip": reference})},
        }

    @classmethod
    def VALIDATE_INPUTS(cls, strokes):
        try:
            if strokes is not None:  # not connected
                sketchpad.check_drawn(sketchpad.parse(strokes))
        except ValueError as error:
            return str(error)
        return True

    def draw(self, strokes, size, reference=None):
        sketches = sketchpad.render(sketchpad.parse(strokes), size, host.poll)
        traced = [] if reference is None else reference[: sketchpad.MAX_SHEETS]
        shown = [{"picture": _data_url(image)} for image in traced]
        return {"ui": {"gansketching_reference": shown}, "result": (sketches, len(sketches))}


def _data_url(image) -> str:
    """One picture of an IMAGE batch as a small JPEG that the browser shows as it is."""
    picture, file = to_pil(image), io.BytesIO()
    picture.thumbnail((REFERENCE_SIZE, REFERENCE_SIZE))
    picture.save(file, "JPEG", quality=80)
    return f"data:image/jpeg;base64,{base64.b64encode(file.getvalue()).decode()}"
