"""The subgraph blueprints in the editor of a real ComfyUI, offered and inserted. Needs what comfyui_editor.py says."""

from __future__ import annotations

import json
import urllib.error

import pytest
from comfyui_editor import ROOT, browser, editor, needs_editor, server

pytestmark = needs_editor
BLUEPRINTS = {path.stem: json.loads(path.read_text("utf-8")) for path in (ROOT / "subgraphs").glob("*.json")}
INSERTED = """() => app.graph._nodes.map(({ subgraph, inputs, outputs }) => ({
    types: subgraph?.nodes.map(({ type }) => type).sort(),
    sockets: [...inputs, ...outputs].filter(({ widget }) => !widget).map(({ name }) => name)
}))"""


@pytest.fixture(scope="module")
def offered(server) -> set[str]:
    try:
        return {entry["name"] for entry in server.get("/api/global_subgraphs").values()}
    except urllib.error.HTTPError:
        pytest.skip("this ComfyUI offers no blueprints of packs")


def test_the_blueprints_are_offered(offered):
    assert BLUEPRINTS and offered >= BLUEPRINTS.keys()


@pytest.mark.parametrize("name", BLUEPRINTS)
def test_a_blueprint_is_found_and_inserted(offered, editor, name):
    page = editor.page
    page.evaluate("() => { app.graph.clear(); app.canvas.setDirty(true, true) }")
    for _ in range(5):  # an editor that is still busy overlooks a click
        page.mouse.dblclick(900, 600)
        page.wait_for_timeout(2000)
        if page.locator("input:focus").count():
            break
    page.keyboard.type(name)
    page.wait_for_timeout(1500)
    editor.photograph(f"search_{name}")
    page.keyboard.press("Enter")
    page.wait_for_timeout(500)
    page.mouse.click(700, 400)  # newer editors let the user choose where it lies
    page.wait_for_function("app.graph._nodes.length === 1")
    page.wait_for_timeout(1000)
    editor.photograph(f"inserted_{name}")
    (inserted,) = page.evaluate(INSERTED)
    (definition,) = BLUEPRINTS[name]["definitions"]["subgraphs"]
    assert inserted["types"] == sorted(node["type"] for node in definition["nodes"])
    sockets = [socket["name"] for socket in definition["inputs"] + definition["outputs"]]
    assert [socket for socket in inserted["sockets"] if socket in sockets] == sockets
    assert editor.complaints() == []
