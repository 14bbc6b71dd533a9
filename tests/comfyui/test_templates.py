"""The templates inside a real ComfyUI's editor: opened, looked over, drawn on, run, stopped. Needs what
comfyui_editor.py says."""

from __future__ import annotations

import json
import urllib.request

import pytest
from comfyui_editor import PACK, ROOT, Pad, browser, editor, needs_editor, server

pytestmark = needs_editor
TEMPLATES = sorted(path.stem for path in (ROOT / "workflows").glob("*.json"))
GROUPS = "app.graph._groups.map(({ title, _bounding: [x, y, width, height] }) => ({ title, x, y, width, height }))"

# The segments of wires that enter a node's box: more than 8 units into one that is not theirs, 24 into one that is.
HIDDEN = """(boxes) => {
    const scale = 0.25, left = -100, top = -200, hidden = []
    const canvas = Object.assign(document.createElement('canvas'), { width: 550, height: 350 })
    const pen = canvas.getContext('2d', { willReadFrequently: true })
    pen.setTransform(scale, 0, 0, scale, -left * scale, -top * scale)
    pen.lineWidth = 4
    for (const segment of app.canvas.renderedPaths) {
        const wires = [...(segment.linkIds ?? [segment.id])].map((id) => app.graph.links.get(id))
        const ends = wires.flatMap(({ origin_id, target_id }) => [String(origin_id), String(target_id)])
        pen.clearRect(left, top, canvas.width / scale, canvas.height / scale)
        pen.stroke(segment.path)
        for (const { name, x, y, width, height } of boxes) {
            const margin = ends.includes(name.split(' ')[0]) ? 24 : 8
            const corner = [(x + margin - left) * scale, (y + margin - top) * scale].map(Math.round)
            const size = [width, height].map((length) => Math.max(1, Math.round((length - 2 * margin) * scale)))
            const { data } = pen.getImageData(...corner, ...size)
            const seen = data.filter((value, k) => k % 4 === 3 && value > 99).length
            if (seen > 1) hidden.push([wires.map(({ id }) => id).join(), name, seen])
        }
    }
    return hidden
}"""


def overlap(a: dict, b: dict) -> float:
    """Area that both boxes cover, in square units of the graph."""
    wide = min(a["x"] + a["width"], b["x"] + b["width"]) - max(a["x"], b["x"])
    high = min(a["y"] + a["height"], b["y"] + b["height"]) - max(a["y"], b["y"])
    return max(wide, 0) * max(high, 0)


@pytest.mark.parametrize("template", TEMPLATES)
def test_a_template_opens_in_order(editor, template):
    """Every node is known, none covers another or a wire, and each lies whole in the group it is in."""
    editor.open(template)
    editor.photograph(template)
    boxes, groups = editor.boxes(), editor.page.evaluate(GROUPS)
    graph = json.loads((ROOT / "workflows" / f"{template}.json").read_text("utf-8"))
    assert len(boxes) == len(graph["nodes"]) and len(groups) == len(graph["groups"]) > 0
    assert [box["name"] for box in boxes if box["missing"]] == []
    if editor.vue and editor.first_vue:
        return  # its nodes are up to twice as high as those of all other renderers
    pairs = [(a["name"], b["name"]) for i, a in enumerate(boxes) for b in boxes[:i] if overlap(a, b) > 4]
    assert pairs == []
    cut = [
        (box["name"], group["title"])
        for box in boxes
        for group in groups
        if 4 < overlap(box, group) < box["width"] * box["height"] - 4 * (box["width"] + box["height"])
    ]
    assert cut == []
    assert editor.page.evaluate(HIDDEN, boxes) == []
    assert editor.page.evaluate("app.canvas.ds.scale") > 0.57, "the editor would leave all text out"
    assert editor.complaints() == []


def test_the_templates_are_offered_with_thumbnails(server):
    assert sorted(server.get("/api/workflow_templates")[PACK]) == TEMPLATES
    for template in TEMPLATES:
        url = f"http://127.0.0.1:{server.port}/api/workflow_templates/{PACK}/{template}.jpg"
        with urllib.request.urlopen(url, timeout=60) as response:
            assert response.headers["Content-Type"] == "image/jpeg"


def leave_dialog(page) -> None:
    """Until it is gone, the next one does not open."""
    page.keyboard.press("Escape")
    page.get_by_role("dialog").first.wait_for(state="hidden")


def test_sketch_typed_in_the_browser_of_templates_finds_them(editor):
    page = editor.page
    page.evaluate("() => app.graph.clear()")  # its nodes name the pack, too
    page.evaluate("() => app.extensionManager.command.execute('Comfy.BrowseTemplates')")
    page.get_by_text(PACK, exact=True).first.click()
    page.wait_for_timeout(2000)
    search = page.get_by_role("dialog").get_by_placeholder("Search").first
    if not search.count():
        leave_dialog(page)
        pytest.skip("this frontend's browser of templates has no search")
    search.fill("sketch")
    page.wait_for_timeout(1000)
    for template in (name for name in TEMPLATES if "sketch" in name):
        page.get_by_test_id(f"template-workflow-{template}").wait_for()
    editor.photograph("sketch_in_templates")
    page.get_by_test_id("template-workflow-style_mixing").wait_for(state="hidden")
    leave_dialog(page)


def test_draw_run_watch_and_stop(editor):
    """As a newcomer: the first template, chosen with the mouse, an own drawing, previews, Stop and keep, samples."""
    page = editor.page
    editor.choose("draw_your_own_sketch")
    page.locator(".surface").wait_for()
    pad = Pad(page)
    before = page.evaluate("app.graph._nodes.find(({ type }) => type.endsWith('SketchPad')).widgets[0].value")
    pad.click("Clear")
    top = 200 if editor.vue else 300  # else the second training would be known already
    pad.draw((300, 500), (500, top), (700, 500), (500, 700), (300, 500))
    drawn = page.evaluate("app.graph._nodes.find(({ type }) => type.endsWith('SketchPad')).widgets[0].value")
    assert drawn != before and len(json.loads(drawn)["sheets"][0]) == 1
    page.evaluate(
        "() => { for (const node of app.graph._nodes) for (const widget of node.widgets ?? [])"
        " { if (widget.name === 'count') widget.value = 4 } }"
    )
    editor.run()
    editor.wait_for("event.type === 'gansketching.training' && event.step >= 3 && event.picture")
    page.locator(".picture img, .picture canvas").first.wait_for()
    assert page.locator(".legend span").count() > 0
    editor.photograph("training")
    page.get_by_role("button", name="Stop and keep").click()
    editor.wait_for("event.type.startsWith('execution_')")
    ends = [event for event in page.evaluate("seen") if event["type"].startswith("execution_")]
    assert [event["type"] for event in ends] == ["execution_success"], ends
    states = [event["state"] for event in page.evaluate("seen") if event["type"] == "gansketching.training"]
    assert states[-1] in ("stopped", "finished") and len(states) > 3
    history = editor.server.finished(ends[0]["prompt_id"])
    pictures = [image for shown in history["outputs"].values() for image in shown.get("images", [])]
    assert any(image["type"] == "output" for image in pictures)
    assert any("Stopped and kept at step" in str(shown) for shown in history["outputs"].values())
    page.wait_for_timeout(1000)
    editor.photograph("result")
