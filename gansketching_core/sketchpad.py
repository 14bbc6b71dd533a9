"""Drawings as vector strokes: the value of the Sketch Pad, small enough to travel inside a workflow file.

    {"v": 1, "sheets": [[{"w": 24, "p": [x, y, x, y, ...], "f": [pressure, ...], "e": 1}, ...], ...]}

A sheet is a list of strokes in the order they were drawn. Coordinates and the width w are whole numbers in 1/1024 of
the sheet's side. f, which may be missing, scales the width at each point, 255 being the whole. e marks an eraser.
Values come from strangers' workflow files: all that is not as above is refused.
"""

from __future__ import annotations

import json
from dataclasses import dataclass

import numpy as np
import torch
from PIL import Image, ImageDraw
from torch import Tensor

UNITS = 1024
EMPTY = '{"v":1,"sheets":[[]]}'
MOST_BYTES, MOST_SHEETS, MOST_STROKES, MOST_POINTS = 2_000_000, 30, 2000, 100_000  # strokes a sheet, points in all
OVERSAMPLING = 4


@dataclass(frozen=True)
class Stroke:
    """points: x, y in 0..1024, with a margin of a sheet around; widths: of the pen at each point, in the same units."""

    points: tuple[tuple[int, int], ...]
    widths: tuple[float, ...]
    erases: bool = False


def parse_strokes(text: str) -> list[list[Stroke]]:
    """The sheets of a Sketch Pad's value. ValueError says what is wrong with it."""
    if not isinstance(text, str) or len(text) > MOST_BYTES:
        size = f"{len(text):,} characters" if isinstance(text, str) else type(text).__name__
        raise ValueError(f"the drawing is {size}; a Sketch Pad holds text of at most {MOST_BYTES:,}: draw less on it")
    try:
        value = json.loads(text)
    except (ValueError, RecursionError) as error:
        raise ValueError("the drawing is not readable (no valid JSON): clear the Sketch Pad and draw anew") from error
    if not isinstance(value, dict) or not isinstance(value.get("sheets"), list):
        raise ValueError('the drawing has no list of "sheets": clear the Sketch Pad and draw anew')
    version = value.get("v")
    if isinstance(version, bool) or version != 1:
        raise ValueError(f"the drawing has version {str(version)[:20]}, this pack reads version 1: update the pack")
    sheets = value["sheets"]
    if not 1 <= len(sheets) <= MOST_SHEETS:
        raise ValueError(f"the drawing has {len(sheets)} sheets; use 1 to {MOST_SHEETS}")
    parsed = [_parse_sheet(sheet, number) for number, sheet in enumerate(sheets, 1)]
    points = sum(len(stroke.points) for sheet in parsed for stroke in sheet)
    if points > MOST_POINTS:
        raise ValueError(f"the drawing has {points:,} points; a Sketch Pad holds {MOST_POINTS:,}: draw less on it")
    return parsed


def _parse_sheet(sheet: object, number: int) -> list[Stroke]:
    if not isinstance(sheet, list) or len(sheet) > MOST_STROKES:
        raise ValueError(f"sheet {number} is not a list of at most {MOST_STROKES:,} strokes: clear it and draw anew")
    return [_parse_stroke(stroke, f"stroke {k} of sheet {number}") for k, stroke in enumerate(sheet, 1)]


def _parse_stroke(stroke: object, name: str) -> Stroke:
    if not isinstance(stroke, dict):
        raise ValueError(f"{name} is damaged: delete it and draw anew")
    flat = _whole_numbers(stroke.get("p"), -UNITS, 2 * UNITS, f"the points of {name}")
    if not flat or len(flat) % 2:
        raise ValueError(f"{name} has {len(flat)} coordinates; there must be an x and a y for every point")
    (width,) = _whole_numbers([stroke.get("w")], 1, UNITS // 2, f"the width of {name}")
    points = tuple(zip(flat[::2], flat[1::2]))
    pressures = [255] * len(points)
    if "f" in stroke:
        pressures = _whole_numbers(stroke["f"], 0, 255, f"the pressures of {name}")
        if len(pressures) != len(points):
            raise ValueError(f"{name} has {len(points)} points and {len(pressures)} pressures; there must be one each")
    return Stroke(points, tuple(max(1.0, width * pressure / 255) for pressure in pressures), bool(stroke.get("e")))


def _whole_numbers(values: object, low: int, high: int, name: str) -> list[int]:
    if not isinstance(values, list) or len(values) > 2 * MOST_POINTS:
        raise ValueError(f"{name} are not a list of numbers: clear the sheet and draw anew")
    for value in values:
        if type(value) is not int or not low <= value <= high:
            raise ValueError(f"{name}: {str(value)[:20]} is not a whole number from {low} to {high}")
    return values


def render_sheet(sheet: list[Stroke], size: int) -> np.ndarray:
    """Black strokes on white paper, anti-aliased: bytes [size,size]. Equal input gives equal pixels."""
    side = size * OVERSAMPLING
    paper = Image.new("L", (side, side), 255)
    draw, scale = ImageDraw.Draw(paper), side / UNITS
    for stroke in sheet:
        ink = 255 if stroke.erases else 0
        spots = [(x * scale, y * scale, width * scale / 2) for (x, y), width in zip(stroke.points, stroke.widths)]
        for x, y, r in spots:
            draw.ellipse((x - r, y - r, x + r, y + r), fill=ink)
        for (x0, y0, r0), (x1, y1, r1) in zip(spots, spots[1:]):
            length = np.hypot(x1 - x0, y1 - y0)
            if length > 0:
                nx, ny = (y0 - y1) / length, (x1 - x0) / length
                corners = [(x0 + nx * r0, y0 + ny * r0), (x1 + nx * r1, y1 + ny * r1)]
                corners += [(x1 - nx * r1, y1 - ny * r1), (x0 - nx * r0, y0 - ny * r0)]
                draw.polygon(corners, fill=ink)
    return np.asarray(paper.reduce(OVERSAMPLING))


def render_strokes(text: str, size: int) -> Tensor:
    """A Sketch Pad's value -> IMAGE [N,size,size,3] in 0..1: its sheets that have ink on them."""
    pictures = [render_sheet(sheet, size) for sheet in parse_strokes(text)]
    pictures = [picture for picture in pictures if picture.min() < 128]
    if not pictures:
        raise ValueError("the Sketch Pad is empty: draw a shape on it, or choose another source of sketches")
    stacked = torch.from_numpy(np.stack(pictures)).float() / 255
    return stacked[..., None].expand(-1, -1, -1, 3).contiguous()
