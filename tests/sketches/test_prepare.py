"""Preparation of drawings: what becomes of paper, ink, strokes and shape, and which drawings are refused."""

from __future__ import annotations

from pathlib import Path

import numpy as np
import pytest
import torch
from scipy import ndimage

from gansketching_core.datasets import load_images
from gansketching_core.sketches.prepare import SketchConfig, prepare_sketches
from gansketching_core.sketches.strokes import stroke_width

SAMPLES = Path(__file__).resolve().parents[2] / "samples"
WHITE, YELLOW, BLACKBOARD = (1.0, 1.0, 1.0), (0.98, 0.9, 0.6), (0.2, 0.3, 0.25)


def paper(height=256, width=256, channels=1):
    return torch.ones(height, width, channels)


def ring(size=256, radius=80, stroke=5):
    """A circle drawn in black on white: [size,size,1] in 0..1."""
    at = torch.arange(size) - size / 2 + 0.5
    distance = (at[:, None].square() + at[None].square()).sqrt()
    return 1 - ((distance - radius).abs() < stroke / 2).float()[..., None]


def prepared(images, size, **options):
    """Sketches with strokes as drawn, unless options say otherwise."""
    return prepare_sketches(images, size, SketchConfig(**{"strokes": "keep", **options}))


def test_a_plain_drawing_stays_as_it_is():
    drawing = ring()
    sketch = prepared(drawing[None], 256)
    assert sketch.shape == (1, 1, 256, 256)
    torch.testing.assert_close(sketch[0, 0], drawing[..., 0] * 2 - 1)


@pytest.mark.parametrize("channels", [1, 3])
def test_white_on_black_is_turned(channels):
    drawing = ring().expand(-1, -1, channels)
    torch.testing.assert_close(prepared([1 - drawing], 64), prepared([drawing], 64))
    assert prepared([1 - drawing], 64, invert="never")[0, 0, 0, 0] < -0.99
    assert prepared([drawing], 64, invert="always")[0, 0, 0, 0] < -0.99


def test_a_filled_black_shape_on_white_is_not_turned():
    drawing = paper()
    drawing[30:226, 30:226] = 0
    assert prepared([drawing], 64)[0, 0, 0, 0] == 1


def test_a_dark_frame_around_white_paper_is_not_taken_for_black_paper():
    drawing = ring()
    drawing[:3] = drawing[-3:] = drawing[:, :3] = drawing[:, -3:] = 0
    assert prepared([drawing], 256)[0, 0, 128, 128] == 1


def test_tall_drawings_are_letterboxed_not_stretched():
    drawing = torch.ones(256, 128, 1)
    drawing[64:192, 32:96] = 0  # 1/2 of the height, 1/4 of the longer side wide
    black = prepared([drawing], 64)[0, 0] < 0
    rows, columns = black.any(dim=1).nonzero(), black.any(dim=0).nonzero()
    assert (rows.min(), rows.max(), columns.min(), columns.max()) == (16, 47, 24, 39)


@pytest.mark.parametrize("stroke", [1, 2, 3])
def test_thin_lines_survive_shrinking(stroke):
    drawing = ring(stroke=stroke, radius=100)
    sketch = prepared([drawing], 64)[0, 0]
    at = torch.arange(64) - 31.5
    distance = (at[:, None].square() + at[None].square()).sqrt()
    angle = torch.atan2(at[:, None].expand(64, 64), at[None].expand(64, 64))
    near = (distance - 25).abs() < 1.5
    darkest = [sketch[near & (angle >= a) & (angle < a + 0.2)].min() for a in torch.arange(-3.1, 2.9, 0.2)]
    assert max(darkest) < -0.25  # the outline has no gap all around
    assert sketch[distance < 20].min() > 0.9  # and nothing appears elsewhere


def test_a_single_dot_survives_shrinking():
    drawing = ring()
    drawing[128, 128] = 0
    assert prepared([drawing], 64)[0, 0, 30:35, 30:35].min() < 0.5


@pytest.mark.parametrize("stroke", [1, 5, 17])
@pytest.mark.parametrize("pen", [0.02, 0.06])
def test_strokes_get_the_asked_width(stroke, pen):
    sketch = prepared([ring(radius=90, stroke=stroke)], 128, strokes="redraw", stroke_width=pen)[0, 0]
    ink = ((1 - sketch) / 2).sum()
    expected = 2 * torch.pi * (90 / 256 * 128) * pen * 128
    assert abs(ink / expected - 1) < 0.15


def test_redrawn_strokes_stay_in_one_piece():
    drawing = torch.minimum(ring(stroke=9), ring(radius=40, stroke=14))
    drawing[126:131, 0:256] = 0
    sketch = prepared([drawing], 256, strokes="redraw", stroke_width=0.01)[0, 0]
    _, count = ndimage.label(sketch.numpy() < 0, structure=np.ones((3, 3)))
    assert count == 1


def test_filled_areas_stay_filled_when_strokes_are_redrawn():
    drawing = ring(radius=100)
    drawing[108:148, 108:148] = 0
    sketch = prepared([drawing], 256, strokes="redraw", stroke_width=0.02)[0, 0]
    assert (sketch[112:144, 112:144] < 0).all()


def test_cropping_fills_the_square_with_the_drawing():
    drawing = paper(400, 600)
    drawing[300:340, 50:130] = 0
    black = prepared([drawing], 128, crop=True, margin=0.1)[0, 0] < 0
    columns, rows = black.any(dim=0).nonzero(), black.any(dim=1).nonzero()
    assert 0.78 < len(columns) / 128 < 0.88
    assert abs(len(columns) / len(rows) - 2) < 0.1
    assert abs(rows.float().mean() - 63.5) < 1


def test_grey_stays_grey_and_grey_paper_becomes_white():
    drawing = paper() * 0.8
    drawing[60:200, 60:80] = 0.1
    drawing[60:200, 160:180] = 0.45
    sketch = prepared([drawing], 256)[0, 0]
    assert sketch[10, 10] == 1
    assert sketch[100, 70] == pytest.approx(-1, abs=0.02)
    assert sketch[100, 170] == pytest.approx(0, abs=0.03)
    assert prepared([drawing], 256, levels=False)[0, 0, 10, 10] == pytest.approx(0.6, abs=1e-3)


def test_a_photo_of_paper_in_uneven_light_becomes_white():
    light = torch.linspace(0.95, 0.55, 256)[None, :, None] * torch.linspace(1, 0.85, 256)[:, None, None]
    sketch = prepared([ring() * light * 0.9 + 0.05], 128)
    clean = prepared([ring()], 128)
    assert sketch[clean == 1].min() > 0.8
    assert sketch[clean < -0.9].max() < -0.2


@pytest.mark.parametrize("levels", [True, False])
def test_faint_drawings_can_be_cropped(levels):
    drawing = 1 - 0.12 * (1 - ring(radius=40))
    black = prepared([drawing], 64, crop=True, levels=levels)[0, 0] < 0.95
    assert black.any(dim=0).sum() > 48


@pytest.mark.parametrize("pen", [0.0, 1.0])
def test_transparent_drawings(pen):
    """Black or white strokes on a transparent ground."""
    ink = 1 - ring()
    drawing = torch.cat([torch.full((256, 256, 3), pen), ink], dim=2)
    torch.testing.assert_close(prepared([drawing], 64), prepared([ring()], 64), atol=1e-5, rtol=0)


def test_masks_are_drawings_of_what_they_mark():
    mask = (1 - ring())[..., 0]
    expected = prepared([ring()], 64)
    for given in (mask, mask[None], [mask], [mask[None]]):
        torch.testing.assert_close(prepared(given, 64), expected)


def test_drawings_of_different_sizes_in_one_list():
    given = [ring()[None].expand(2, -1, -1, 3), ring(100, 30), (1 - ring(64, 20))[..., 0]]
    assert prepared(given, 32).shape == (4, 1, 32, 32)


@pytest.mark.parametrize(
    ("given", "said"),
    [
        ([], "no sketches"),
        (torch.ones(0, 64, 64, 3), "no sketches"),
        ([ring(), torch.ones(64, 64, 3)], "sketch 2 is blank"),
        ([ring(), ring(), torch.zeros(64, 64)], "sketch 3 is blank.*MASK"),
        ([torch.full((64, 64, 3), float("nan"))], "sketch 1 contains"),
        ([ring(), torch.ones(0, 5, 1)], "sketch 2 is empty"),
        ([ring() * 255], "0 to 1"),
        ([torch.ones(5)], "expected"),
    ],
)
def test_unusable_sketches_are_named(given, said):
    with pytest.raises(ValueError, match=said):
        prepared(given, 64)


# ---------------------------------------------------------------------------------------------------------- strokes


def drawings_with_lines(width):
    """Line drawings of a model's samples [2,1,32,32] in -1..1 with one line, `width` px wide."""
    drawings = torch.ones(2, 1, 32, 32)
    drawings[:, :, 4:28, 14 : 14 + width] = -1
    return drawings


def thin_line():
    """[1,256,256,1] in 0..1, as thin as a quarter of a pixel of a 32 px sketch."""
    drawing = paper()
    drawing[40:220, 127:129] = 0
    return drawing[None]


@pytest.mark.parametrize("given", [None, SketchConfig(), SketchConfig(strokes="match", stroke_width=0.02, crop=False)])
def test_strokes_become_as_wide_as_the_reference_also_with_defaults_spelled_out(given):
    sketch = prepare_sketches(thin_line(), 32, given, reference=drawings_with_lines(4))
    assert stroke_width(sketch) == pytest.approx(4 / 32, rel=0.3)
    assert torch.equal(sketch, prepare_sketches(thin_line(), 32, reference=drawings_with_lines(4)))


@pytest.mark.parametrize("strokes", ["keep", "redraw"])
def test_other_strokes_do_not_follow_the_reference(strokes):
    config = SketchConfig(strokes=strokes)
    sketch = prepare_sketches(thin_line(), 32, config, reference=drawings_with_lines(4))
    assert stroke_width(sketch) < 2 / 32
    assert torch.equal(sketch, prepare_sketches(thin_line(), 32, config))


def test_matching_strokes_need_a_reference():
    with pytest.raises(ValueError, match=r'"match" needs.*reference.*"redraw".*"keep"'):
        prepare_sketches(thin_line(), 32)


@pytest.mark.parametrize("name", ["apple", "avocado", "banana_1", "banana_2", "lemon", "strawberry_1", "strawberry_2"])
def test_a_colour_photo_is_refused(name):
    (photo,) = load_images(SAMPLES / "photos" / f"{name}.png")
    with pytest.raises(ValueError, match=r"sketch 2 looks like a photo .*PhotoSketch"):
        prepared([ring(), photo], 64)


@pytest.mark.parametrize(
    ("pen", "ground"),
    [
        ((0.1, 0.2, 0.9), WHITE),
        ((0.8, 0.1, 0.1), WHITE),
        ((0.1, 0.5, 0.2), YELLOW),
        ((0.8, 0.1, 0.1), YELLOW),
        ((0.9, 0.9, 0.4), BLACKBOARD),
    ],
)
def test_drawings_in_colour_are_no_photos(pen, ground):
    """Pens up to a twelfth of the side wide, on white and coloured paper, and chalk on a blackboard."""
    ink = 1 - ring(stroke=21)
    drawing = ink * torch.tensor(pen) + (1 - ink) * torch.tensor(ground)
    assert prepared([drawing], 64).min() < 0


def test_a_photographed_drawing_in_warm_light_is_no_photo():
    light = torch.linspace(0.6, 1, 256)[None, :, None] * torch.tensor((1.0, 0.93, 0.84))
    assert prepared([ring().clamp(0.15, 1) * light], 64).min() < 0
