"""The Sketch Pad: drawing sketches in the graph."""

from ..gansketching_core.sketches.pad import EMPTY, MAX_SHEETS, check_drawn, is_drawn, parse, render
from . import host
from . import widgets as ui
from .pictures import data_uri, to_pil

REFERENCE_SIZE = 512  # longer side of the pictures under the drawing, in pixels
STROKES = "Draw here. Keys: P pen, E eraser, [ ] width, M mirror, N new sheet, Ctrl+Z undo. Saved as JSON text."
SIZE = "Side of the square sketches in pixels. Lines are sharp at any size."
REFERENCE = "Pictures to trace, shown faintly after a run: the first under sheet 1, the second under 2 ..."


class SketchPad:
    DISPLAY_NAME = "Sketch Pad (Draw)"
    CATEGORY = "GANSketching/sketching"
    DESCRIPTION = "Draw sketches in the graph: pen, eraser, several sheets, mirror and tracing. Saved in the workflow."
    SEARCH_ALIASES = ("draw", "canvas", "paint", "doodle", "scribble", "drawing pad", "sketchpad", "pen")
    RETURN_TYPES = ("IMAGE", "INT")
    RETURN_NAMES = ("sketches", "count")
    OUTPUT_TOOLTIPS = ("The sheets, black lines on white paper. Blank sheets are left out.", "How many sketches.")
    FUNCTION = "draw"
    INPUT_TYPES = ui.inputs(
        strokes=("STRING", {"default": EMPTY, "widgetType": "GANSKETCHING_STROKES", "tooltip": STROKES}),
        size=ui.advanced(ui.integer(256, 64, 1024, SIZE, step=32)),
        optional={"reference": ui.socket("IMAGE", REFERENCE)},
    )

    @classmethod
    def VALIDATE_INPUTS(cls, strokes, reference=ui.NOT_LINKED):
        def check_strokes(text: str) -> None:
            sheets = parse(text)
            if reference is ui.NOT_LINKED or not host.execution_blocker():
                check_drawn(sheets)

        return ui.check(check_strokes, strokes)

    def draw(self, strokes, size, reference=None):
        sheets = parse(strokes)
        references = [] if reference is None else reference[:MAX_SHEETS]
        shown = {"gansketching_reference": [{"picture": data_uri(to_pil(x), REFERENCE_SIZE)} for x in references]}
        blocker = host.execution_blocker()
        if blocker and len(references) and not is_drawn(sheets):  # the first run only fetches the picture to trace
            return {"ui": shown, "result": (blocker, blocker)}
        sketches = render(sheets, size, host.poll)
        return {"ui": shown, "result": (sketches, len(sketches))}
