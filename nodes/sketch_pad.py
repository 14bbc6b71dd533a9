"""The Sketch Pad: drawing sketches in the graph."""

from __future__ import annotations

from ..gansketching_core.sketches.pad import EMPTY, MAX_SHEETS, check_drawn, is_drawn, parse, render
from . import host
from .pictures import data_uri, to_pil
from .widgets import wrongly_connected

REFERENCE_SIZE = 512  # longer side of the pictures under the drawing, in pixels


class SketchPad:
    DISPLAY_NAME = "Sketch Pad"
    CATEGORY = "GANSketching/sketching"
    DESCRIPTION = "A drawing pad with pen, eraser, several sheets, mirror and tracing, saved in the workflow."
    SEARCH_ALIASES = ("draw", "canvas", "paint", "doodle", "scribble", "drawing pad", "sketchpad", "pen")
    RETURN_TYPES = ("IMAGE", "INT")
    RETURN_NAMES = ("sketches", "count")
    OUTPUT_TOOLTIPS = ("The sheets, black lines on white paper. Blank sheets are left out.", "How many sketches.")
    FUNCTION = "draw"

    @classmethod
    def INPUT_TYPES(cls):
        strokes = "Draw here. Keys: P pen, E eraser, [ ] width, M mirror, N new sheet, Ctrl+Z undo. Saved as JSON text."
        size = "Side of the square sketches in pixels. The strokes are lines, so any size is sharp."
        reference = "Pictures to trace, shown faintly after a run: the first under sheet 1, the second under 2 ..."
        pad = {"default": EMPTY, "widgetType": "GANSKETCHING_STROKES", "tooltip": strokes}
        return {
            "required": {
                "strokes": ("STRING", pad),
                "size": ("INT", {"default": 256, "min": 64, "max": 1024, "step": 32, "tooltip": size}),
            },
            "optional": {"reference": ("IMAGE", {"tooltip": reference})},
        }

    @classmethod
    def VALIDATE_INPUTS(cls, strokes, input_types=None):
        if problem := wrongly_connected(cls, input_types):
            return problem
        try:
            if strokes is not None:  # a linked value is not known yet
                sheets = parse(strokes)
                if not ("reference" in (input_types or {}) and host.execution_blocker()):
                    check_drawn(sheets)
        except ValueError as error:
            return str(error)
        return True

    def draw(self, strokes, size, reference=None):
        sheets = parse(strokes)
        references = [] if reference is None else reference[:MAX_SHEETS]
        shown = {"gansketching_reference": [{"picture": data_uri(to_pil(x), REFERENCE_SIZE)} for x in references]}
        blocker = host.execution_blocker()
        if blocker and len(references) and not is_drawn(sheets):  # the first run only fetches the picture to trace
            return {"ui": shown, "result": (blocker, blocker)}
        sketches = render(sheets, size, host.poll)
        return {"ui": shown, "result": (sketches, len(sketches))}
