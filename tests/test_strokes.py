"""Widths of strokes, measured on pens of known width."""

import pytest
import torch

from gansketching_core.strokes import stroke_width


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
