"""Drawings as vector strokes: reading the Sketch Pad's JSON, and rendering it with Pillow.

    {"v": 1, "sheets": [[{"w": 16, "p": [x0, y0, x1, y1, ...], "f": [70, 100, ...], "e": 1}, ...], ...]}

A sheet is a list of strokes in the order they were drawn, on square white paper of 1024 units a side. Points are whole
numbers from 0 to 1023, the middle of the unit they name. A stroke is a round pen of width w led along straight lines
from point to point; f (optional) is the width at each point in percent of w; e: 1 (optional) makes it an eraser.
All numbers are whole, so that the text is short and says the same everywhere. web/sketch_pad/strokes.js writes and
draws the same format.
"""

from __future__ import annotations

import json
import math
from collections.abc import Callable, Sequence
from dataclasses import dataclass
from typing import Any

import numpy as np
import torch
from PIL import Image, ImageDraw
from torch import Tensor

VERSION = 1
UNITS = 1024  # side of a sheet
MAX_WIDTH = 256
MAX_SHEETS, MAX_STROKES, MAX_POINTS, MAX_CHARACTERS = 30, 5000, 60_000, 1_000_000  # the last three: of all sheets
EMPTY = '{"v":1,"sheets":[[]]}'
INK, PAPER = 0, 255


@dataclass(frozen=True)
class Stroke:
    """points: (x, y, width) in units, one or more."""

    points: tuple[tuple[int, int, float], ...]
    eraser: bool = False


Sheet = tuple[Stroke, ...]


# ---------------------------------------------------------------------------------------------------------- reading


def parse(text: str) -> list[Sheet]:
    """The sheets of a Sketch Pad's value, 1 to 30. ValueError says what is wrong and where."""
    if not isinstance(text, str):
        raise ValueError(f"strokes must be the text of a Sketch Pad, not {_shown(text)}: draw on the pad again")
    if len(text) > MAX_CHARACTERS:
        raise ValueError(f"strokes hold {len(text)} characters, at most {MAX_CHARACTERS} are read: draw fewer strokes")
    try:
        data = json.loads(text, parse_constant=_no_constant)
    except (ValueError, RecursionError) as error:
        reason = "too deeply nested" if isinstance(error, RecursionError) else str(error)[:100]
        raise ValueError(f"strokes are no JSON of a Sketch Pad, {_shown(text)} ({reason}): draw again") from error
    if not isinstance(data, dict) or "v" not in data:
        raise ValueError(f"strokes must be the JSON object of a Sketch Pad, not {_shown(data)}: draw on the pad again")
    if type(data["v"]) is not int or data["v"] != VERSION:
        raise ValueError(f"strokes have version {_shown(data['v'])}, this pack reads {VERSION}: update GANSketching")
    sheets = data.get("sheets")
    if not isinstance(sheets, list) or not 1 <= len(sheets) <= MAX_SHEETS:
        count = f"{len(sheets)} of them" if isinstance(sheets, list) else _shown(sheets)
        raise ValueError(f"sheets must be a list of 1 to {MAX_SHEETS}, not {count}: remove some or draw again")
    for number, sheet in enumerate(sheets, 1):
        if not isinstance(sheet, list):
            raise ValueError(f"sheet {number} must be a list of strokes, not {_shown(sheet)}: draw it again")
    _check_total("strokes", sum(map(len, sheets)), MAX_STROKES)
    read = [
        tuple(_stroke(stroke, f"sheet {a}, stroke {b}") for b, stroke in enumerate(sheet, 1))
        for a, sheet in enumerate(sheets, 1)
    ]
    _check_total("points", sum(len(stroke.points) for sheet in read for stroke in sheet), MAX_POINTS)
    return read


def _no_constant(name: str) -> None:
    raise ValueError(f"{name} is no whole number")


def _check_total(what: str, count: int, limit: int) -> None:
    if count > limit:
        raise ValueError(f"the sheets hold {count} {what}, at most {limit} are drawn: remove sheets or clear some")


def _stroke(data: Any, where: str) -> Stroke:
    if not isinstance(data, dict):
        raise ValueError(f"{where} must be an object with w and p, not {_shown(data)}: draw it again")
    width = data.get("w")
    _check_numbers([width], 1, MAX_WIDTH, f"{where}: w")
    p = data.get("p")
    if not isinstance(p, list) or not p or len(p) % 2:
        raise ValueError(f"{where}: p must be a list x, y, x, y, ..., not {_shown(p)}: draw it again")
    _check_numbers(p, 0, UNITS - 1, f"{where}: p")
    count = len(p) // 2
    f = data.get("f", [100] * count)
    if not isinstance(f, list) or len(f) != count:
        raise ValueError(f"{where}: f must be a list of {count} percents, one for each point, not {_shown(f)}")
    _check_numbers(f, 1, 100, f"{where}: f")
    eraser = data.get("e", 0)
    _check_numbers([eraser], 0, 1, f"{where}: e")
    points = tuple((x, y, width * share / 100) for x, y, share in zip(p[::2], p[1::2], f))
    return Stroke(points, eraser == 1)


def _check_numbers(values: list, low: int, high: int, where: str) -> None:
    for value in values:
        if type(value) is not int or not low <= value <= high:
            raise ValueError(f"{where} has {_shown(value)}, use whole numbers from {low} to {high}")


def _shown(value: Any) -> str:
    """The value, short enough for a message."""
    if isinstance(value, int) and value.bit_length() > 64:
        return "a huge number"
    if isinstance(value, (list, dict)) and len(value) > 8:
        return f"a {type(value).__name__} of {len(value)}"
    try:
        text = repr(value)
    except RecursionError:
        return "something too deeply nested"
    return text if len(text) <= 60 else f"{text[:57]}..."


# --------------------------------------------------------------------------------------------------------- rendering


def is_drawn(sheets: Sequence[Sheet]) -> bool:
    """Whether the pen has touched any sheet."""
    return not all(stroke.eraser for sheet in sheets for stroke in sheet)


def check_drawn(sheets: Sequence[Sheet]) -> None:
    """ValueError if the pen has touched no sheet."""
    if not is_drawn(sheets):
        raise ValueError("the Sketch Pad is empty: draw at least one line on a sheet")


def render(sheets: Sequence[Sheet], size: int, poll: Callable[[], None] = lambda: None) -> Tensor:
    """Drawings [N,size,size,3] in 0..1, black on white, of the sheets that are not blank. poll: called before each
    stroke; raises to cancel."""
    check_drawn(sheets)
    pictures = (picture_of(sheet, size, poll) for sheet in sheets)
    drawn = [np.asarray(picture) for picture in pictures if picture.getextrema()[0] < PAPER]
    if not drawn:
        raise ValueError("the Sketch Pad is empty, all that was drawn is erased: draw at least one line on a sheet")
    grey = torch.from_numpy(np.stack(drawn).astype(np.float32) / PAPER)
    return grey[..., None].repeat(1, 1, 1, 3)


def picture_of(sheet: Sheet, size: int, poll: Callable[[], None] = lambda: None) -> Image.Image:
    """One sheet as a grey picture of size x size, drawn larger and averaged."""
    fine = 8 if size <= 512 else 4
    picture = Image.new("L", (size * fine, size * fine), PAPER)
    draw = ImageDraw.Draw(picture)
    scale = size * fine / UNITS
    for stroke in sheet:
        poll()
        points = [((x + 0.5) * scale, (y + 0.5) * scale, width * scale / 2) for x, y, width in stroke.points]
        _draw(draw, points, PAPER if stroke.eraser else INK)
    return picture.reduce(fine)


def _draw(draw: ImageDraw.ImageDraw, points: list[tuple[float, float, float]], colour: int) -> None:
    """Discs at the points (x, y, radius), joined by bands. Pillow fills the pixels of the outline too: half a pixel."""
    for x, y, radius in points:
        left, top = round(x - radius), round(y - radius)
        draw.ellipse([left, top, max(left, round(x + radius - 1)), max(top, round(y + radius - 1))], fill=colour)
    for (x0, y0, r0), (x1, y1, r1) in zip(points, points[1:]):
        length = math.hypot(x1 - x0, y1 - y0)
        if length > 0:
            across, down = (y0 - y1) / length, (x1 - x0) / length
            corners = [(x0, y0, r0 - 0.5), (x1, y1, r1 - 0.5), (x1, y1, 0.5 - r1), (x0, y0, 0.5 - r0)]
            outline = [(round(x + across * r - 0.5), round(y + down * r - 0.5)) for x, y, r in corners]
            draw.polygon(outline, fill=colour)
