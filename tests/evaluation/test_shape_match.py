"""The shape match: the same wherever and however large a shape is drawn, and aware of what is missing."""

import math

import pytest
import torch

from gansketching_core.evaluation.shape_match import shape_match


def paper(*strokes, size=96) -> torch.Tensor:
    """Strokes of points (right, down) in 0..1 as a drawing [1,1,S,S]."""
    drawing = torch.ones(1, 1, size, size)
    for stroke in strokes:
        for (x, y), (u, v) in zip(stroke, stroke[1:]):
            for t in torch.linspace(0, 1, 60).tolist():
                drawing[0, 0, round((y + (v - y) * t) * (size - 1)), round((x + (u - x) * t) * (size - 1))] = -1
    return drawing


def ellipse(x=0.5, y=0.5, width=0.25, height=0.25) -> list:
    angles = [2 * math.pi * k / 40 for k in range(41)]
    return [(x + width * math.cos(a), y + height * math.sin(a)) for a in angles]


LEAVES = [[(0.5, 0.45), (0.35, 0.1)], [(0.5, 0.45), (0.5, 0.05)], [(0.5, 0.45), (0.65, 0.1)]]


def test_a_moved_and_smaller_drawing_of_another_size_has_the_shape():
    sketch = paper(ellipse(width=0.4, height=0.2))
    match = shape_match(paper(ellipse(0.3, 0.7, width=0.2, height=0.1), size=160), sketch)
    assert match.f_measure.item() > 0.99 and match.share == 1 and match.met > 0.99 and match.missing == [0.0]


def test_other_shapes_and_blank_drawings_do_not():
    sketch = paper(ellipse(width=0.42, height=0.08))
    upright = paper(ellipse(width=0.08, height=0.42))
    match = shape_match(torch.cat([upright, torch.ones_like(sketch)]), sketch)
    assert match.f_measure[0] < 0.5 and match.f_measure[1] == 0 and match.share == 0


def test_a_part_that_no_drawing_has_is_named():
    sketch = paper(ellipse(y=0.65, width=0.2), *LEAVES)
    bodies = torch.cat([paper(ellipse(x=0.4 + 0.02 * k, y=0.6, width=0.2)) for k in range(8)])
    match = shape_match(bodies, sketch)
    assert match.share == 0
    assert match.missing[0] > 0.15 and match.missing_where[0].startswith("top") and match.met < 0.85
    assert shape_match(sketch, sketch).missing == [0.0]


def test_each_drawing_counts_for_the_sketch_it_is_most_like():
    lying, upright = paper(ellipse(width=0.42, height=0.1)), paper(ellipse(width=0.1, height=0.42))
    match = shape_match(torch.cat([upright, upright]), torch.cat([lying, upright]))
    assert match.share == 1 and match.missing == [0.0, 0.0]  # nothing is said of the sketch that no drawing is like


def test_a_blank_sketch_is_named():
    with pytest.raises(ValueError, match="sketch 2 is blank"):
        shape_match(paper(ellipse()), torch.cat([paper(ellipse()), torch.ones(1, 1, 96, 96)]))
