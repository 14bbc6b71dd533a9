"""Drawing sketches in the graph."""

from __future__ import annotations

import base64
import io

from ..gansketching_core.sketches.pad import EMPTY, MAX_SHEETS, check_drawn, is_drawn, parse, render
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
        drawn = {"default": EMPTY, "widgetType": "GANSKETCHING_STROKES", "tooltip": strokes}
        return {
            "required": {
                "strokes": ("STRING", drawn),
                "size": ("INT", {"default": 256, "min": 64, "max": 1024, "step": 32, "tooltip": size}),
            },
            "optional": {"reference": ("IMAGE", {"tooltip": reference})},
        }

    @classmethod
    def VALIDATE_INPUTS(cls, strokes, input_types=None):
        """input_types: the types of what is connected, which ComfyUI then leaves to the node to check."""
        declared = {name: kind for section in cls.INPUT_TYPES().values() for name, (kind, _) in section.items()}
        for name, given in (input_types or {}).items():
            if given not in (declared[name], "*"):
                return f"{name} needs {declared[name]}, not {given}"
        try:
            if strokes is not None:  # not connected
                sheets = parse(strokes)
                if not ("reference" in (input_types or {}) and host.execution_blocker()):
                    check_drawn(sheets)
        except ValueError as error:
            return str(error)
        return True

    def draw(self, strokes, size, reference=None):
        sheets = parse(strokes)
        traced = [] if reference is None else reference[:MAX_SHEETS]
        shown = {"gansketching_reference": [{"picture": _data_url(image)} for image in traced]}
        later = host.execution_blocker()
        if later and len(traced) and not is_drawn(sheets):  # the first run only brings the picture to trace
            return {"ui": shown, "result": (later, later)}
        sketches = render(sheets, size, host.poll)
        return {"ui": shown, "result": (sketches, len(sketches))}


def _data_url(image) -> str:
    """One picture of an IMAGE batch as a small JPEG that the browser shows as it is."""
    picture, file = to_pil(image), io.BytesIO()
    picture.thumbnail((REFERENCE_SIZE, REFERENCE_SIZE))
    picture.save(file, "JPEG", quality=80)
    return f"data:image/jpeg;base64,{base64.b64encode(file.getvalue()).decode()}"
