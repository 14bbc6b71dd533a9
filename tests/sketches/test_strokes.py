"""Centre lines, redrawn strokes, and widths measured on pens of known width."""

from __future__ import annotations

import numpy as np
import pytest
import torch
from scipy import ndimage

from gansketching_core.sketches.strokes import redraw, skeleton, stroke_width


@pytest.mark.parametrize("shape", ["line", "two_wide", "square", "diagonal"])
def test_skeletons_lose_no_stroke(shape):
    drawn = np.zeros((20, 20), dtype=bool)
    if shape == "line":
        drawn[5, 3:15] = True
    elif shape == "two_wide":
        drawn[5:7, 3:15] = True
    elif shape == "square":
        drawn[5:7, 5:7] = True
    else:
        drawn[np.arange(15), np.arange(15)] = drawn[np.arange(15), np.arange(15) + 1] = True
    thin = skeleton(drawn)
    assert not (thin & ~drawn).any()
    assert ndimage.label(thin, np.ones((3, 3)))[1] == 1
    extent = {"line": 12, "two_wide": 10, "square": 1, "diagonal": 13}[shape]
    assert thin.sum() >= extent


def test_skeletons_keep_holes_and_pieces():
    drawn = np.zeros((40, 60), dtype=bool)
    drawn[5:25, 5:25] = True
    drawn[12:18, 12:18] = False
    drawn[30:35, 30:58] = True
    thin = skeleton(drawn)
    assert ndimage.label(thin, np.ones((3, 3)))[1] == 2
    assert ndimage.label(~thin)[1] == 2  # the outside and the hole


def test_grey_lines_are_redrawn_grey():
    ink = np.zeros((60, 60))
    ink[10:13, 5:55], ink[40:43, 5:55] = 1.0, 0.5
    again = redraw(ink, 7)
    assert again[11, 30] == 1 and again[41, 30] == 0.5
    assert (again[:25, 30] > 0).sum() == 7


def test_nothing_drawn_stays_nothing():
    assert redraw(np.zeros((9, 9)), 3).sum() == 0


@pytest.mark.parametrize("width", [2, 4, 6])
def test_width_of_a_pen(width):
    drawing = torch.ones(1, 1, 64, 64)
    drawing[:, :, 10:54, 30 : 30 + width] = -1
    assert stroke_width(drawing) == pytest.approx(width / 64, abs=0.5 / 64)


def test_median_over_drawings_and_blank_paper():
    drawings = torch.ones(4, 1, 64, 64)
    for k, width in enumerate((2, 2, 8)):
        drawings[k, :, 10:54, 30 : 30 + width] = -1
    assert stroke_width(drawings) == pytest.approx(2 / 64, abs=0.5 / 64)  # the blank one does not count
    assert stroke_width(torch.ones(2, 1, 64, 64)) == 0
