"""The templates that are apps, in App Mode of a real ComfyUI. Needs what comfyui_editor.py says."""

from __future__ import annotations

import json

import pytest
from comfyui_editor import PACK, Pad, browser, editor, needs_editor, server

pytestmark = needs_editor
APPS = ("draw_your_own_sketch", "photo_editing", "sketch_to_image")
OPEN = "async ([graph, name]) => { await app.loadGraphData(graph, true, true, name, { openSource: 'template' }) }"
FOUR_IMAGES = """() => {
    const widgets = app.graph._nodes.flatMap(({ widgets }) => widgets ?? [])
    for (const widget of widgets) if (widget.name === 'count') widget.value = 4
}"""
STROKES = "app.graph._nodes.find(({ type }) => type.endsWith('SketchPad')).widgets[0].value"


@pytest.fixture
def app(editor):
    def open_app(name: str):
        graph = editor.server.get(f"/api/workflow_templates/{PACK}/{name}.json")
        editor.page.evaluate(OPEN, [graph, name])
        editor.page.wait_for_timeout(2500)
        if not editor.page.locator("#linearCenterPanel").count():
            assert editor.page.evaluate("app.graph._nodes.length") == len(graph["nodes"]), "the graph opens as before"
            pytest.skip("this frontend has no App Mode")
        editor.dismiss_tour()
        return editor.page

    yield open_app
    editor.visit()


@pytest.mark.parametrize("name", APPS)
def test_an_app_shows_its_inputs_and_no_graph(app, editor, name):
    page = app(name)
    assert page.get_by_role("button", name="Run", exact=True).first.is_visible()
    graph = editor.server.get(f"/api/workflow_templates/{PACK}/{name}.json")
    for _, widget in graph["extra"]["linearData"]["inputs"]:
        own = {"strokes": page.locator(".surface"), "training": page.get_by_text("Shows the training while it runs.")}
        shown = own.get(widget) or page.get_by_text(widget, exact=True)  # frontend 1.41 has no labels for own widgets
        shown.locator("visible=true").first.wait_for()
    editor.photograph(f"app_{name}")
    assert editor.complaints() == []


def test_draw_undo_sheets_train_stop_and_samples_in_an_app(app, editor):
    page = app("draw_your_own_sketch")
    pad = Pad(page)
    assert page.locator(".surface").bounding_box()["width"] > 250
    pad.click("New drawing")
    pad.draw((300, 500), (500, 150 if editor.vue else 250), (700, 500), (500, 700), (300, 500))
    pad.draw((100, 100), (200, 100))
    pad.press("Control+z")
    pad.press("n")
    pad.draw((300, 300), (700, 300), (500, 800), (300, 300))
    assert [len(sheet) for sheet in json.loads(page.evaluate(STROKES))["sheets"]] == [1, 1]
    page.evaluate(FOUR_IMAGES)
    editor.watch()
    page.get_by_role("button", name="Run", exact=True).first.click()
    editor.wait_for("event.type === 'gansketching.training' && event.step >= 3 && event.picture", 300)
    picture = page.locator("#linearCenterPanel img, .gansketching-view .pictures img")  # 1.41 may leave it to the node
    picture.locator("visible=true").first.wait_for()
    page.wait_for_timeout(1000)
    editor.photograph("app_training")
    page.get_by_role("button", name="stop and keep").click()
    editor.wait_for("event.type.startsWith('execution_')", 300)
    assert page.evaluate("seen.find((event) => event.type.startsWith('execution_')).type") == "execution_success"
    page.get_by_role("button", name="Go on").wait_for()
    page.wait_for_timeout(1500)
    editor.photograph("app_samples")
    assert editor.complaints() == []
