"""Drawings as vector strokes: reading the Sketch Pad's JSON, and rendering it with Pillow.

    {"v": 1, "sheets": [[{"w": 16, "p": [x0, y0, x1, y1, ...], "f": [70, 100, ...], "e": 1}, ...], ...]}

A sheet is a list of strokes in the order in which they were drawn, on square white paper of 1024 units a side. A stroke
is a round pen that is led along straight lines from point to point; `Stroke` says what its fields hold. All numbers are
whole, so that the text is short and means the same everywhere. web/sketch_pad/strokes.js writes and draws it, too.
"""

from __future__ import annotations

import math
from collections.abc import Callable, Sequence
from typing import Annotated, Any

import numpy as np
import torch
from PIL import Image, ImageDraw
from pydantic import BaseModel, ConfigDict, Field, ValidationError, model_validator
from torch import Tensor

VERSION = 1
UNITS = 1024  # side of a sheet
MAX_WIDTH = 256
MAX_SHEETS = 30
MAX_STROKES, MAX_POINTS, MAX_CHARACTERS = 5000, 60_000, 1_000_000  # of all sheets together
EMPTY = '{"v":1,"sheets":[[]]}'
INK, PAPER = 0, 255

Coordinate = Annotated[int, Field(ge=0, lt=UNITS)]
Percent = Annotated[int, Field(ge=1, le=100)]


class Stroke(BaseModel):
    """One line of the pen or the eraser."""

    model_config = ConfigDict(frozen=True, strict=True)

    width: int = Field(alias="w", ge=1, le=MAX_WIDTH)  # of the pen, in units
    coordinates: list[Coordinate] = Field(alias="p", min_length=2, fail_fast=True)  # x, y, x, y, ...: middles of units
    percents: list[Percent] | None = Field(None, alias="f", fail_fast=True)  # of the width, at each point
    eraser: int = Field(0, alias="e", ge=0, le=1)

    @model_validator(mode="after")
    def _check_lengths(self) -> Stroke:
        if len(self.coordinates) % 2:
            raise ValueError("p must be a list x, y, x, y, ..., with a y for each x")
        if self.percents is not None and len(self.percents) != len(self.coordinates) // 2:
            raise ValueError("f must be a list with one percentage for each point")
        return self

    @property
    def points(self) -> list[tuple[int, int, float]]:
        """(x, y, width) in units, one or more."""
        xs, ys = self.coordinates[::2], self.coordinates[1::2]
        return [(x, y, self.width * percent / 100) for x, y, percent in zip(xs, ys, self.percents or [100] * len(xs))]


Sheet = Annotated[list[Stroke], Field(fail_fast=True)]


class _Value(BaseModel):
    model_config = ConfigDict(strict=True)

    v: int = Field(ge=VERSION, le=VERSION)
    sheets: list[Sheet] = Field(min_length=1, max_length=MAX_SHEETS, fail_fast=True)


def parse(text: str) -> list[Sheet]:
    """The sheets of a Sketch Pad's value, 1 to 30. ValueError says what is wrong and where."""
    if not isinstance(text, str):
        raise ValueError(f"strokes must be the text of a Sketch Pad, not {_shown(text)}: draw on the pad again")
    _check_count("characters", len(text), MAX_CHARACTERS)
    try:
        sheets = _Value.model_validate_json(text).sheets
    except ValidationError as error:
        raise ValueError(_explain(error)) from error
    strokes = [stroke for sheet in sheets for stroke in sheet]
    _check_count("strokes", len(strokes), MAX_STROKES)
    _check_count("points", sum(len(stroke.coordinates) // 2 for stroke in strokes), MAX_POINTS)
    return sheets


def _check_count(what: str, count: int, limit: int) -> None:
    if count > limit:
        raise ValueError(f"the drawing holds {count} {what}, at most {limit} are read: remove sheets or clear some")


def _explain(error: ValidationError) -> str:
    """The first problem, and where it is."""
    problem = error.errors(include_url=False, include_context=False)[0]
    value, reason = _shown(problem["input"]), problem["msg"].removeprefix("Value error, ")
    loc = problem["loc"]  # ("sheets", 0, 1, "p", 3) is a coordinate of stroke 2 on sheet 1
    if loc == ("v",) and problem["type"] != "missing":
        return f"the drawing has version {value}, this pack reads {VERSION}: update GANSketching"
    if loc[:1] == ("sheets",):
        numbers = [f"{kind} {int(index) + 1}" for kind, index in zip(("sheet", "stroke"), loc[1:])]
        where = ", ".join([*(numbers or ["sheets"]), *map(str, loc[3:4])])
        return f"{where}: {reason} (given: {value}); draw again"
    return f"strokes must be the JSON text of a Sketch Pad, not {value} ({reason}); draw on the pad again"


def _shown(value: Any) -> str:
    """The value, short enough for a message."""
    if isinstance(value, int) and value.bit_length() > 64:
        return "a huge number"
    text = repr(value)
    return text if len(text) <= 60 else f"{text[:57]}..."


def is_drawn(sheets: Sequence[Sheet]) -> bool:
    """Whether the pen has touched any sheet."""
    return any(not stroke.eraser for sheet in sheets for stroke in sheet)


def check_drawn(sheets: Sequence[Sheet]) -> None:
    """ValueError if the pen has touched no sheet."""
    if not is_drawn(sheets):
        raise ValueError("the Sketch Pad is empty: draw at least one line on a sheet")


def render(sheets: Sequence[Sheet], size: int, poll: Callable[[], None] = lambda: None) -> Tensor:
    """IMAGE [N,size,size,3], black on white, of the sheets that are not blank. poll: called before each stroke."""
    check_drawn(sheets)
    pictures = [np.asarray(render_sheet(sheet, size, poll).convert("RGB")) for sheet in sheets]
    pictures = [picture for picture in pictures if picture.min() < PAPER]
    if not pictures:
        raise ValueError("the Sketch Pad is empty, all that was drawn is erased: draw at least one line on a sheet")
    return torch.from_numpy(np.stack(pictures).astype(np.float32) / PAPER)


def render_sheet(sheet: Sheet, size: int, poll: Callable[[], None] = lambda: None) -> Image.Image:
    """One sheet as a grey picture of size x size, drawn larger and then averaged."""
    factor = 8 if size <= 512 else 4
    picture = Image.new("L", (size * factor, size * factor), PAPER)
    draw = ImageDraw.Draw(picture)
    scale = size * factor / UNITS
    for stroke in sheet:
        poll()
        points = [((x + 0.5) * scale, (y + 0.5) * scale, width * scale / 2) for x, y, width in stroke.points]
        _draw_stroke(draw, points, PAPER if stroke.eraser else INK)
    return picture.reduce(factor)


def _draw_stroke(draw: ImageDraw.ImageDraw, points: list[tuple[float, float, float]], colour: int) -> None:
    """Discs at the points (x, y, radius), joined by bands. Pillow also fills the outline, half a pixel on each side."""
    for x, y, radius in points:
        left, top = round(x - radius), round(y - radius)
        draw.ellipse([left, top, max(left, round(x + radius - 1)), max(top, round(y + radius - 1))], fill=colour)
    for (x0, y0, r0), (x1, y1, r1) in zip(points, points[1:]):
        length = math.hypot(x1 - x0, y1 - y0)
        if length > 0:
            normal_x, normal_y = (y0 - y1) / length, (x1 - x0) / length
            corners = [(x0, y0, r0 - 0.5), (x1, y1, r1 - 0.5), (x1, y1, 0.5 - r1), (x0, y0, 0.5 - r0)]
            outline = [(round(x + normal_x * r - 0.5), round(y + normal_y * r - 0.5)) for x, y, r in corners]
            draw.polygon(outline, fill=colour)
