"""The Sketch Pad's value: what is drawn from it, and what is refused."""

from __future__ import annotations

import importlib
import json

import pytest
import torch
from mutations import mutated

from gansketching_core.cli.pack import load_pack
from gansketching_core.sketches import pad

load_pack()
SketchPad = importlib.import_module("gansketching_pack.nodes.sketch_pad").SketchPad
headless = importlib.import_module("gansketching_pack.nodes.headless")
host = importlib.import_module("gansketching_pack.nodes.host")
LINE = {"w": 64, "p": [256, 512, 768, 512]}


def value(*sheets: list) -> str:
    return json.dumps({"v": 1, "sheets": sheets})


def drawn(*sheets: list, size: int = 256) -> torch.Tensor:
    return pad.render(pad.parse(value(*sheets)), size)


def ink(image: torch.Tensor) -> torch.Tensor:
    """[H,W]: 1 where the line is."""
    return 1 - image[..., 0]


def test_a_line_has_its_place_width_and_round_ends():
    (line,) = ink(drawn([LINE]))
    rows, columns = line.sum(1), line.sum(0)
    assert line[:, 128].sum() == pytest.approx(16, abs=0.2)  # 64 of 1024 units
    assert (rows * torch.arange(256)).sum() / rows.sum() == pytest.approx(512.5 / 4 - 0.5, abs=0.1)
    assert (columns > 0).nonzero().aminmax().min == 56 and (columns > 0).nonzero().aminmax().max == 200
    assert line.sum() == pytest.approx(128 * 16 + torch.pi * 8**2, rel=0.01)


def test_a_slanted_line_has_the_same_width():
    (line,) = ink(drawn([{"w": 64, "p": [200, 200, 800, 650]}]))
    assert line.sum() == pytest.approx(750 / 4 * 16 + torch.pi * 8**2, rel=0.01)


def test_a_dot_is_a_disc_and_its_edge_is_smooth():
    (dot,) = ink(drawn([{"w": 200, "p": [300, 700]}]))
    assert dot.sum() == pytest.approx(torch.pi * 25**2, rel=0.01)
    assert ((dot > 0.1) & (dot < 0.9)).sum() > 60


def test_pressure_narrows_the_line():
    (line,) = ink(drawn([{**LINE, "f": [25, 100]}]))
    widths = line[:, 70:190].sum(0)
    assert widths[0] == pytest.approx(4.6, abs=0.3) and widths[-1] == pytest.approx(15.8, abs=0.3)
    assert (widths.diff() > -0.3).all()


def test_the_eraser_takes_away_what_was_drawn_before_it():
    eraser = {"w": 100, "p": [512, 300, 512, 700], "e": 1}
    (before,) = ink(drawn([LINE, eraser]))
    assert before[:, 118:138].sum() == 0 and before[:, :100].sum() > 500
    (after,) = ink(drawn([eraser, LINE]))
    assert torch.equal(after, ink(drawn([LINE]))[0])


def test_every_size_shows_the_same_drawing():
    sheet = [LINE, {"w": 20, "p": [100, 100, 400, 900, 900, 200], "f": [30, 100, 60]}]
    large, small = drawn(sheet, size=1024), drawn(sheet, size=64)
    assert large.shape == (1, 1024, 1024, 3) and small.shape == (1, 64, 64, 3)
    shrunk = torch.nn.functional.avg_pool2d(large.permute(0, 3, 1, 2), 16).permute(0, 2, 3, 1)
    assert (shrunk - small).abs().mean() < 0.003


def test_the_same_value_gives_the_same_pixels_in_the_range_of_an_image():
    sheet = [{"w": 12, "p": [0, 0, 1023, 1023, 1023, 0]}]
    first = drawn(sheet)
    assert torch.equal(first, drawn(sheet)) and first.dtype == torch.float32
    assert first.min() == 0 and first.max() == 1 and torch.equal(first[..., 0], first[..., 2])


def test_blank_sheets_are_left_out_and_the_order_kept():
    other = {"w": 64, "p": [512, 100]}
    batch = drawn([], [LINE], [{**LINE, "e": 1}], [other], [other, {"w": 200, "p": [512, 100], "e": 1}])
    assert torch.equal(batch, torch.cat([drawn([LINE]), drawn([other])]))


@pytest.mark.parametrize("sheets", [[[]], [[], []], [[{**LINE, "e": 1}]], [[LINE, {**LINE, "w": 90, "e": 1}]]])
def test_an_empty_pad_is_an_error(sheets):
    with pytest.raises(ValueError, match=r"the Sketch Pad is empty.*draw"):
        drawn(*sheets)


HOSTILE = {
    "no text": (7, "text of a Sketch Pad, not 7"),
    "no JSON": ("{oops", "must be the JSON text of a Sketch Pad.*oops.*line 1"),
    "a list": ("[1]", r"JSON text of a Sketch Pad, not \[1\]"),
    "no version": ("{}", "not {}"),
    "a newer version": ('{"v":2,"sheets":[[]]}', "version 2, this pack reads 1: update"),
    "version true": ('{"v":true,"sheets":[[]]}', "version True"),
    "deep nesting": ("[" * 200_000, "recursion limit"),
    "deep nesting inside": ('{"v":1,"sheets":' + "[" * 900 + "]" * 900 + "}", "recursion limit"),
    "too long": ("x" * 1_000_001, "1000001 characters, at most 1000000"),
    "no sheets": ('{"v":1}', "sheets: Field required"),
    "zero sheets": (value(), "sheets: .*at least 1 item .*not 0"),
    "31 sheets": (value(*[[]] * 31), "sheets: .*at most 30 items .*not 31"),
    "a sheet of text": (value("abc"), "sheet 1: .*valid array .given: 'abc'"),
    "too many strokes": (value([{"w": 1, "p": [1, 1]}] * 5001), "5001 strokes, at most 5000"),
    "too many points": (value([{"w": 1, "p": [1, 1] * 30_001}] * 2), "60002 points, at most 60000"),
    "a stroke of text": (value([LINE, "s"]), "sheet 1, stroke 2: .*object .given: 's'"),
    "no width": (value([{"p": [1, 1]}]), "stroke 1, w: Field required"),
    "width 0": (value([{"w": 0, "p": [1, 1]}]), "w: .*greater than or equal to 1 .given: 0"),
    "width 257": (value([{"w": 257, "p": [1, 1]}]), "w: .*less than or equal to 256 .given: 257"),
    "no points": (value([{"w": 1, "p": []}]), "p: .*at least 2 items"),
    "half a point": (value([{"w": 1, "p": [1, 2, 3]}]), r"p must be a list x, y.*\[1, 2, 3\]"),
    "points of text": (value([{"w": 1, "p": "12"}]), "p: .*valid array .given: '12'"),
    "outside": (value([{"w": 1, "p": [1, 1024]}]), "p: .*less than 1024 .given: 1024"),
    "negative": (value([{"w": 1, "p": [-1, 1]}]), "p: .*greater than or equal to 0 .given: -1"),
    "a fraction": (value([{"w": 1, "p": [0.5, 1]}]), "p: .*valid integer .given: 0.5"),
    "true": (value([{"w": 1, "p": [True, 1]}]), "p: .*valid integer .given: True"),
    "NaN": ('{"v":1,"sheets":[[{"w":1,"p":[NaN,1]}]]}', "p: .*valid integer .given: nan"),
    "infinity": ('{"v":1,"sheets":[[{"w":1,"p":[1e999,1]}]]}', "p: .*valid integer .given: inf"),
    "a huge number": (
        '{"v":1,"sheets":[[{"w":1,"p":[1,' + "9" * 4000 + "]}]]}",
        "given: a huge number",
    ),
    "a gigantic number": ('{"v":1,"sheets":[[{"w":1,"p":[1,' + "9" * 9000 + "]}]]}", "out of range"),
    "pressure missing": (
        value([{"w": 1, "p": [1, 1, 2, 2], "f": [1]}]),
        "f must be a list with one percentage",
    ),
    "pressure 0": (value([{"w": 1, "p": [1, 1], "f": [0]}]), "f: .*greater than or equal to 1 .given: 0"),
    "a million errors": ('{"v":1,"sheets":[[' + "1," * 400_000 + "1]]}", "sheet 1, stroke 1: .*object"),
    "half a character": ("\ud800", "unicode"),
    "eraser 2": (value([{"w": 1, "p": [1, 1], "e": 2}]), "e: .*less than or equal to 1 .given: 2"),
}


@pytest.mark.parametrize("case", HOSTILE)
def test_bad_values_are_refused_with_the_value_and_a_remedy(case):
    text, message = HOSTILE[case]
    with pytest.raises(ValueError, match=message) as error:
        pad.parse(text)
    assert len(str(error.value)) < 300
    assert SketchPad.VALIDATE_INPUTS(text) == str(error.value)


def test_mutated_values_are_read_or_refused():
    text = value([LINE, {**LINE, "f": [30, 70], "e": 1}], [{"w": 5, "p": [1, 2]}]).encode()
    for seed in range(500):
        try:
            pad.parse(mutated(text, seed).decode("utf-8", "surrogateescape"))
        except ValueError as error:
            assert len(str(error)) < 300, seed
            assert "sheet" in str(error) or "Sketch Pad" in str(error) or "version" in str(error), seed


# ------------------------------------------------------------------------------------------------------------ the node


def test_drawing_can_be_cancelled_between_strokes():
    polled = []

    def poll() -> None:
        polled.append(1)
        if len(polled) == 3:
            raise KeyboardInterrupt

    with pytest.raises(KeyboardInterrupt):
        pad.render(pad.parse(value([LINE] * 50)), 256, poll)
    assert len(polled) == 3


def test_the_node_gives_the_batch_its_count_and_the_reference():
    photos = torch.rand(2, 600, 900, 3)
    answer = SketchPad().draw(value([LINE], []), 128, photos)
    sketches, count = answer["result"]
    assert sketches.shape == (1, 128, 128, 3) and count == 1
    assert torch.equal(sketches, SketchPad().draw(value([LINE], []), 128)["result"][0])
    shown = answer["ui"]["gansketching_reference"]
    assert len(shown) == 2 and all(item["picture"].startswith("data:image/jpeg;base64,/9j/") for item in shown)


def test_the_node_says_before_the_run_what_is_wrong():
    assert SketchPad.VALIDATE_INPUTS(value([LINE])) is True
    assert SketchPad.VALIDATE_INPUTS(None) is True  # connected: known only when it runs
    default = SketchPad.INPUT_TYPES()["required"]["strokes"][1]["default"]
    assert "empty: draw" in SketchPad.VALIDATE_INPUTS(default)
    assert "empty: draw" in SketchPad.VALIDATE_INPUTS(default, reference=None), "nobody can trace it here"
    assert SketchPad.VALIDATE_INPUTS(value([LINE]), reference=None) is True


def test_in_comfyui_an_empty_pad_first_shows_what_to_trace(monkeypatch):
    later = object()
    monkeypatch.setattr(host, "execution_blocker", lambda: later)
    assert SketchPad.VALIDATE_INPUTS(pad.EMPTY, reference=None) is True
    assert "empty: draw" in SketchPad.VALIDATE_INPUTS(pad.EMPTY)
    answer = SketchPad().draw(pad.EMPTY, 64, torch.rand(1, 8, 8, 3))
    assert answer["result"] == (later, later) and len(answer["ui"]["gansketching_reference"]) == 1
    with pytest.raises(ValueError, match="empty: draw"):
        SketchPad().draw(pad.EMPTY, 64)


def test_a_workflow_with_a_pad_runs_without_comfyui(tmp_path):
    registry = {
        **headless.COMFY_NODES,
        "GANSketching_SketchPad": SketchPad,
    }
    host.set_folders(output=tmp_path, temp=tmp_path)
    prompt = {
        "1": {"class_type": "GANSketching_SketchPad", "inputs": {"strokes": value([LINE], [LINE]), "size": 64}},
        "2": {"class_type": "SaveImage", "inputs": {"images": ["1", 0], "filename_prefix": "pad"}},
    }
    assert len(headless.run(prompt, registry).files) == 2
    prompt["1"]["inputs"]["strokes"] = '{"v":1,"sheets":[[]]}'
    with pytest.raises(headless.WorkflowError, match="empty: draw"):
        headless.run(prompt, registry)
