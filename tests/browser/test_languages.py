"""The Sketch Pad and the view of a training in other languages, on a plain page."""

from __future__ import annotations

import json
import re

import pytest

pytest.importorskip("playwright.sync_api", reason="playwright is not installed")
from browser_page import ROOT, browser, needs_browser, site

pytestmark = needs_browser

MESSAGE = {
    "token": "t",
    "total": 150,
    "seconds": 200,
    "seconds_left": 4000,
    "curves": {},
    "picture": "",
    "sketches": "",
}
SHOWN = """(element) => [...element.querySelectorAll('*')].flatMap((one) => [one.title, one.ariaLabel, one.alt,
    ...[...one.childNodes].filter((child) => child.nodeType === 3 && one.tagName !== 'STYLE').map((child) => child.data)
]).filter((text) => text?.trim())"""
KEYS = "Ctrl|Shift|Delete|Page|Up|Down|[PEMNDZ]"
ENGLISH = re.compile(rf"(?<![A-Za-z])(?!(?:{KEYS})(?![A-Za-z]))[A-Za-z]+")


@pytest.fixture
def speak(site, browser):
    pages = []

    def open_page(name: str, language: str):
        page = browser.new_page()
        pages.append(page)
        page.goto(site.replace("sketch_pad.html", f"{name}.html"))
        page.evaluate(
            "async (it) => (await import('/nodes/web/language.js')).useLanguage(() => it)",
            language,
        )
        return page

    yield open_page
    for page in pages:
        page.close()


def test_no_english_is_left_in_the_pad(speak):
    page = speak("sketch_pad", "zh")
    page.evaluate(
        """async () => {
            const { SketchEditor } = await import('/nodes/web/sketch_pad/editor.js')
            document.body.innerHTML = '<div id="pad" style="height: 500px"></div>'
            window.editor = new SketchEditor(document.getElementById('pad'))
        }"""
    )
    texts = [page.locator("#pad").evaluate(SHOWN)]
    for act in ("setReferences(['data:,'])", "setValue('{\"v\":2}')", "takeFile([])", "setValue(' ')"):
        page.evaluate(f"editor.{act}")
        texts.append(page.locator("#pad").evaluate(SHOWN))
    for _ in range(30):
        page.evaluate("editor.addSheet()")
    texts.append(page.locator("#pad").evaluate(SHOWN))
    assert "画板最多 30 张画纸。" in texts[-1] and "画纸 30 (Page Up, Page Down)" in texts[-1]
    shown = {text for group in texts for text in group if "JSON" not in text}  # the browser's own words
    assert len(shown) > 20 and [text for text in shown if ENGLISH.search(text.replace("GANSketching", ""))] == []


def test_no_english_is_left_in_the_view(speak):
    page = speak("training_view", "ja")
    page.evaluate(
        """async () => {
            const { TrainingView } = await import('/nodes/web/training_view/view.js')
            document.body.innerHTML = '<div id="view"></div>'
            window.view = new TrainingView(document.getElementById('view'), { onStop: () => false, onGoOn: () => {} })
        }"""
    )
    shown = set(page.locator("#view").evaluate(SHOWN))
    states = [("training", 3), ("training", 30), ("stopping", 31), ("stopped", 31), ("done", 150)]
    for state, step in [*states, ("cancelled", 9), ("failed", 9)]:
        page.evaluate("(message) => view.update(message)", MESSAGE | {"state": state, "step": step})
        shown |= set(page.locator("#view").evaluate(SHOWN))
    page.evaluate("view.stop()")
    shown |= set(page.locator("#view").evaluate(SHOWN))
    assert "ステップ 30/150、残り 1時間7分" in shown and "止めて残す" in shown
    assert len(shown) > 12 and [text for text in shown if ENGLISH.search(text)] == []


@pytest.mark.parametrize("language", ["en", "pt-BR", None])
def test_other_languages_see_english(speak, language):
    page = speak("training_view", language)
    page.evaluate("(message) => view.update(message)", MESSAGE | {"state": "stopped", "step": 30})
    assert page.get_by_role("status").inner_text() == "Step 30 of 150, 3 min, Stopped; the model is kept."


def test_all_languages_fit_into_the_smallest_view(speak):
    """The button stands below the text where both do not fit into one line."""
    texts = json.loads((ROOT / "nodes/web/texts.js").read_text("utf-8").partition("TEXTS = ")[2])
    for language in texts:
        page = speak("training_view", language)
        page.evaluate("(message) => view.update(message)", MESSAGE | {"state": "training", "step": 30})
        assert page.get_by_role("status").evaluate("(text) => text.scrollWidth <= text.clientWidth"), language
        button = page.get_by_role("button").first.bounding_box()
        view = page.locator("#view").bounding_box()
        assert button["x"] + button["width"] <= view["x"] + view["width"], language
