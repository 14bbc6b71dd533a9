"""The Sketch Pad's editor in a real browser, on a plain page. Needs playwright and a Chromium or Chrome."""

from __future__ import annotations

import numpy as np
import pytest
from browser_page import Pad, browser, needs_browser, site

from gansketching_core.sketches import pad as pad_module

pytestmark = needs_browser


@pytest.fixture
def pad(browser, site):
    page = browser.new_page(viewport={"width": 900, "height": 900})
    errors = []
    page.on("pageerror", lambda error: errors.append(error))
    page.goto(site)
    page.wait_for_function("window.editor")
    yield Pad(page)
    page.close()
    assert errors == []


def rendered(value: str, sheet: int = 0, size: int = 256) -> np.ndarray:
    return np.asarray(pad_module.render_sheet(pad_module.parse(value)[sheet], size)) / 255


def ends(stroke: dict) -> list[int]:
    return stroke["p"][:2] + stroke["p"][-2:]


LINE = ((200, 300), (800, 300))


def test_a_line_lands_where_the_pointer_was_and_is_kept_short(pad):
    pad.draw(*LINE)
    ((stroke,),) = pad.sheets
    assert ends(stroke) == pytest.approx([200, 300, 800, 300], abs=3) and len(stroke["p"]) <= 6
    assert pad.page.evaluate("values") == [pad.value]
    assert pad_module.parse(pad.value)


@pytest.mark.parametrize("scale", [0.4, 2.0])
def test_lines_land_under_the_pointer_while_the_graph_is_zoomed(pad, scale):
    pad.page.evaluate(f"document.getElementById('pad').style.transform = 'scale({scale}) translate(-20px, -100px)'")
    pad.draw((300, 400), (600, 700))
    ((stroke,),) = pad.sheets
    assert ends(stroke) == pytest.approx([300, 400, 600, 700], abs=8)


def test_pixels_agree_with_python(pad):
    pad.draw((150, 700), (300, 200), (500, 800), (850, 350))
    pad.press("]", "]", "]", "]", "m")
    pad.draw((120, 150), (400, 400))
    pad.press("m", "e")
    pad.draw((300, 450), (700, 520))
    pad.press("p", "[", "[", "[", "[", "[", "[", "[")
    pad.draw((600, 900), (900, 880), (750, 700))
    page, python = pad.pixels(256), rendered(pad.value)
    assert (1 - python).mean() > 0.03  # there is something to compare
    assert np.abs(page - python).mean() < 0.002
    assert np.abs(page - python).max() < 0.35


def test_undo_and_redo(pad):
    empty = pad.value
    pad.draw(*LINE)
    first = pad.value
    pad.draw((200, 600), (800, 600))
    second = pad.value
    pad.press("Control+z")
    assert pad.value == first
    pad.press("Control+z", "Control+z")
    assert pad.value == empty and pad.page.locator('button[title^="Undo"]').is_disabled()
    pad.press("Control+Shift+Z", "Control+y")
    assert pad.value == second
    pad.click("Undo")
    pad.draw((100, 100), (110, 110))
    assert len(pad.sheets[0]) == 2 and pad.page.locator('button[title^="Redo"]').is_disabled()


def test_the_eraser_erases_on_the_page_too(pad):
    pad.draw(*LINE)
    pad.click("Eraser")
    pad.draw((500, 200), (500, 400))
    assert pad.sheets[0][1]["e"] == 1
    pixels = pad.pixels(256)
    assert pixels[75, 125] == 1 and pixels[75, 80] < 0.1


def test_mirrored_drawing_is_symmetric(pad):
    pad.click("Mirrored drawing")
    pad.draw((100, 200), (400, 700))
    left, right = pad.sheets[0]
    assert right["p"][::2] == [1023 - x for x in left["p"][::2]] and right["p"][1::2] == left["p"][1::2]
    python = rendered(pad.value)
    assert np.abs(python - python[:, ::-1]).mean() < 0.001


def test_sheets_are_added_duplicated_removed_and_turned(pad):
    pad.draw(*LINE)
    pad.click("New sheet")
    pad.draw((500, 100), (500, 900))
    pad.click("Duplicate the sheet")
    a, b, c = pad.sheets
    assert b == c != a and pad.page.locator(".sheet").count() == 3
    pad.press("PageUp", "PageUp")
    assert np.abs(pad.pixels(256) - rendered(pad.value, 0)).mean() < 0.002
    pad.click("Remove the sheet")
    assert pad.sheets == [b, c]
    pad.click("Undo")
    assert pad.sheets == [a, b, c]
    pad.press("Delete")
    assert pad.sheets == [[], b, c]


def test_a_pad_holds_thirty_sheets(pad):
    for _ in range(29):
        pad.click("New sheet")
    assert len(pad.sheets) == 30 and pad.page.locator('button[title^="New sheet"]').is_disabled()
    pad.draw(*LINE)
    assert len(pad_module.parse(pad.value)) == 30


def test_the_sheets_stay_inside_the_pad(pad):
    width = "document.querySelector('#pad').getBoundingClientRect()[side]"
    edge = pad.page.evaluate(width.replace("side", "'right'"))
    for _ in range(12):
        pad.click("New sheet")
    strip = pad.page.locator(".strip").bounding_box()
    assert strip["x"] + strip["width"] <= edge
    assert pad.page.locator('button[title^="Remove the sheet"]').bounding_box()["x"] < edge
    current = pad.page.locator('.sheet[aria-current="true"]').bounding_box()
    assert strip["x"] <= current["x"] and current["x"] + current["width"] <= strip["x"] + strip["width"]
    pad.page.evaluate("document.querySelector('#pad').style.width = 'max-content'")  # as a grid of the page may ask
    assert pad.page.locator("#pad").bounding_box()["width"] < 500


def test_a_new_drawing_replaces_all_sheets_and_can_be_undone(pad):
    new = pad.page.locator('button[title^="New drawing"]')
    assert new.is_disabled() and pad.page.get_by_text("Draw here").is_visible()
    pad.draw(*LINE)
    assert not pad.page.get_by_text("Draw here").is_visible()
    pad.click("Duplicate the sheet")
    pad.click("New sheet")
    before = pad.sheets
    assert len(before) == 3 and pad.page.get_by_text("Draw here").is_visible()
    new.click()
    assert pad.sheets == [[]] and pad.page.locator(".sheet").count() == 1
    pad.click("Undo")
    assert pad.sheets == before


def test_the_invitation_to_draw_goes_with_the_first_touch(pad):
    pad.page.mouse.move(*pad.at(300, 300))
    pad.page.mouse.down()
    assert not pad.page.get_by_text("Draw here").is_visible()
    pad.page.mouse.up()


def test_a_value_can_be_put_back(pad):
    pad.draw(*LINE)
    pad.press("n")
    pad.draw((500, 100), (500, 900))
    value, before = pad.value, pad.pixels(256)
    pad.page.reload()
    pad.page.wait_for_function("window.editor")
    pad.page.evaluate("value => editor.setValue(value)", value)
    assert pad.value == value and pad.page.evaluate("values") == []
    pad.page.evaluate("editor.showSheet(1)")
    assert np.array_equal(pad.pixels(256), before)


@pytest.mark.parametrize(
    "text", ["{oops", '{"v":2,"sheets":[[]]}', '{"v":1,"sheets":[[{"w":1,"p":[-5,2]}]]}', "[]", "7"]
)
def test_a_value_that_cannot_be_read_stays_until_something_is_drawn(pad, text):
    pad.page.evaluate("text => editor.setValue(text)", text)
    assert pad.value == text and "can't be shown" in pad.page.locator(".message").inner_text()
    pad.draw(*LINE)
    assert len(pad_module.parse(pad.value)[0]) == 1 and not pad.page.locator(".message").is_visible()


def test_keys_work_on_the_pad_only_and_go_no_further(pad):
    pad.draw(*LINE)
    pad.page.locator("#elsewhere").focus()
    pad.press("Control+z", "Delete", "e")
    assert len(pad.sheets[0]) == 1
    pad.page.evaluate("keys.length = 0")
    pad.draw((100, 100), (100, 900))
    pad.press("e", "Delete", "Control+z", "Backspace", "x")
    assert pad.page.evaluate("keys.filter(key => key !== 'Control')") == ["x"]


def pointer(pad, kind: str, events: list[tuple[str, float, float, float]]) -> None:
    """Pointer events as a pen or a finger makes them, through the DevTools protocol for a finger."""
    for name, x, y, pressure in events:
        left, top = pad.at(x, y)
        details = {"pointerType": kind, "pressure": pressure, "clientX": left, "clientY": top, "pointerId": 1}
        pad.page.evaluate(
            """([name, details]) => {
                const surface = document.querySelector('.surface')
                surface.setPointerCapture = () => {}
                surface.dispatchEvent(new PointerEvent(name, { ...details, buttons: 1, bubbles: true, button: 0 }))
            }""",
            [name, details],
        )


def test_a_pens_pressure_makes_the_line_thicker(pad):
    moves = [("pointermove", 200 + 50 * k, 500, 0.2 + 0.06 * k) for k in range(12)]
    pointer(pad, "pen", [("pointerdown", 200, 500, 0.2), *moves, ("pointerup", 750, 500, 0)])
    ((stroke,),) = pad.sheets
    assert stroke["f"][0] == 20 and max(stroke["f"]) > 80
    assert np.abs(pad.pixels(256) - rendered(pad.value)).mean() < 0.002
    pointer(pad, "touch", [("pointerdown", 200, 200, 0.3), ("pointermove", 600, 200, 0.3), ("pointerup", 600, 200, 0)])
    assert "f" not in pad.sheets[0][1]


def test_an_interrupted_line_is_not_kept(pad):
    pointer(
        pad, "touch", [("pointerdown", 200, 200, 0.5), ("pointermove", 600, 200, 0.5), ("pointercancel", 600, 200, 0)]
    )
    assert pad.sheets == [[]] and pad.pixels(256).min() == 1


def test_a_line_ends_where_the_page_takes_the_pad_away(pad):
    pad.page.mouse.move(*pad.at(200, 300))
    pad.page.mouse.down()
    pad.page.mouse.move(*pad.at(400, 300), steps=4)
    pad.page.evaluate("document.body.append(document.getElementById('pad'))")
    pad.page.mouse.move(880, 880)
    pad.page.mouse.up()
    pad.draw((200, 600), (800, 600))
    first, second = pad.sheets[0]
    assert ends(first) == pytest.approx([200, 300, 400, 300], abs=3)
    assert ends(second) == pytest.approx([200, 600, 800, 600], abs=3)


def test_a_dropped_picture_lies_under_the_drawing_and_not_in_it(pad):
    pad.page.evaluate(
        """async () => {
            const canvas = Object.assign(document.createElement('canvas'), { width: 8, height: 8 })
            const blob = await new Promise((done) => canvas.toBlob(done))
            const dataTransfer = new DataTransfer()
            dataTransfer.items.add(new File([blob], 'cat.png', { type: 'image/png' }))
            document.getElementById('pad').dispatchEvent(new DragEvent('drop', { dataTransfer, bubbles: true }))
        }"""
    )
    pad.page.locator(".reference").wait_for(state="visible")
    assert pad.sheets == [[]]
    pad.click("Take the picture away")
    assert not pad.page.locator(".reference").is_visible()
