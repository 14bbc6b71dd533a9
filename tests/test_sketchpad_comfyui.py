"""The Sketch Pad inside a real ComfyUI: drawn, undone, saved, loaded, copied and run in its editor.

COMFYUI_PATH and COMFYUI_PYTHON as in test_comfyui.py; also needs playwright and a Chromium or Chrome.
"""

from __future__ import annotations

import json

import pytest
from test_comfyui import COMFYUI, ROOT, Server
from test_sketchpad_browser import BROWSER, Pad, browser  # noqa: F401, the fixture is used by name

pytestmark = pytest.mark.skipif(not (COMFYUI and BROWSER), reason="needs COMFYUI_PATH and a browser")
READY = "window.app?.graph && window.LiteGraph && Boolean(LiteGraph.registered_node_types['GANSketching_SketchPad'])"
BUILD = """() => {
    const pad = LiteGraph.createNode('GANSketching_SketchPad'), save = LiteGraph.createNode('SaveImage')
    app.graph.clear()
    app.graph.add(pad)
    app.graph.add(save)
    pad.pos = [0, 60]
    save.pos = [500, 60]
    pad.connect(0, save, 0)
    Object.assign(app.canvas.ds, { scale: 1, offset: [60, 20] })
    app.canvas.setDirty(true, true)
}"""
PADS = "app.graph._nodes.filter(({ type }) => type === 'GANSketching_SketchPad')"
LOAD = "async (text) => { await app.loadGraphData(JSON.parse(text)) }"
COPY = f"() => {{ app.canvas.copyToClipboard({PADS}); app.canvas.pasteFromClipboard({{ position: [60, 800] }}) }}"


@pytest.fixture(scope="module")
def server(tmp_path_factory):
    base = tmp_path_factory.mktemp("comfyui")
    for name in ("custom_nodes", "input", "output", "temp", "user/default"):
        (base / name).mkdir(parents=True)
    (base / "user/default/comfy.settings.json").write_text('{"Comfy.TutorialCompleted": true}')
    (base / "custom_nodes/sketching").symlink_to(ROOT)
    server = Server(base)
    yield server
    server.stop()


def values(page) -> list[str]:
    return page.evaluate(f"{PADS}.map(({{ widgets }}) => widgets[0].value)")


def test_a_drawing_survives_all_that_users_do_to_a_graph(server, browser):  # noqa: F811
    page = browser.new_page(viewport={"width": 1400, "height": 900})
    page.goto(f"http://127.0.0.1:{server.port}", timeout=120_000)
    page.wait_for_function(READY, timeout=120_000)
    page.wait_for_timeout(2000)  # the editor opens its own workflow first
    page.keyboard.press("Escape")
    page.evaluate(BUILD)
    page.locator(".surface").wait_for()
    page.wait_for_timeout(500)
    pad = Pad(page)
    pad.draw((200, 300), (800, 300))
    pad.draw((500, 100), (500, 900))
    pad.press("Control+z", "n")
    pad.draw((100, 100), (900, 900))
    (value,) = values(page)
    first, second = json.loads(value)["sheets"]
    assert [len(first), len(second)] == [1, 1] and second[0]["p"] == pytest.approx([100, 100, 900, 900], abs=4)
    page.evaluate(LOAD, page.evaluate("JSON.stringify(app.graph.serialize())"))
    assert values(page) == [value]
    page.evaluate(COPY)
    assert values(page) == [value, value]
    prompt = page.evaluate("async () => (await app.graphToPrompt()).output")
    outputs = server.run(prompt)
    assert sorted(len(shown["images"]) for shown in outputs.values() if "images" in shown) == [2]
    page.close()
