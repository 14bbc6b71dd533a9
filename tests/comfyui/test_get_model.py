"""Get Model's button in a real ComfyUI's editor. Needs what comfyui_editor.py says, and no internet."""

from __future__ import annotations

import pytest
from comfyui_editor import browser, editor, needs_editor, server

pytestmark = needs_editor
BUILD = """() => {
    app.graph.clear()
    const node = LiteGraph.createNode('GANSketching_GetModel')
    app.graph.add(node)
    node.pos = [300, 200]
    Object.assign(app.canvas.ds, { scale: 1, offset: [80, 60] })
    app.canvas.setDirty(true, true)
}"""
TELL = "(detail) => app.api.dispatchCustomEvent('gansketching.download', detail)"


@pytest.fixture
def page(editor):
    page = editor.page
    page.evaluate(BUILD)
    page.wait_for_timeout(1500)
    page.asked = []

    def note(request):
        if request.url.endswith("/gansketching/download"):
            page.asked.append(request.post_data)

    page.on("request", note)
    yield page
    page.remove_listener("request", note)


def button(page, label: str):
    return page.get_by_role("button", name=label, exact=True)


def test_nothing_is_downloaded_before_the_licence_is_accepted(editor, page):
    button(page, "Download ...").click()
    page.get_by_text("Do you accept the licence").wait_for()
    editor.photograph("licence")
    assert page.get_by_text("NVIDIA Source Code License").count() > 0
    page.keyboard.press("Escape")
    page.wait_for_timeout(1000)
    assert page.asked and all("accepted" not in asked for asked in page.asked)


def test_the_button_shows_how_far_a_download_is_and_cancels_it(editor, page):
    offer = page.evaluate("app.graph._nodes[0].widgets[0].value")
    told = {"offer": offer, "text": "", "total": 200_000_000}
    page.evaluate(TELL, {**told, "state": "downloading", "done": 90_000_000})
    cancel = button(page, f"{offer}: 45% - cancel")
    cancel.wait_for()
    editor.photograph("downloading")
    cancel.click()
    page.wait_for_timeout(1000)
    assert any('"cancel":true' in asked for asked in page.asked)
    page.evaluate(TELL, {**told, "state": "failed", "done": 0, "text": "the server answers 404"})
    page.get_by_text("the server answers 404").first.wait_for()
    button(page, "Download ...").wait_for()
