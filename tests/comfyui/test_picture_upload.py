"""Pictures dropped onto Load Sketches and Load Photos in a real ComfyUI. Needs what comfyui_editor.py says."""

from __future__ import annotations

import pytest
from comfyui_editor import browser, editor, needs_editor, server

pytestmark = needs_editor
DROP = """async ([type, count]) => {
    app.graph.clear()
    const node = LiteGraph.createNode(type)
    app.graph.add(node)
    const canvas = Object.assign(document.createElement('canvas'), { width: 64, height: 64 })
    const blob = await new Promise((done) => canvas.toBlob(done))
    const dataTransfer = new DataTransfer()
    dataTransfer.items.add(new File(['x'], 'notes.txt', { type: 'text/plain' }))
    for (let k = 0; k < count; k++) dataTransfer.items.add(new File([blob], `p${k}.png`, { type: 'image/png' }))
    const event = { dataTransfer }
    return node.onDragOver(event) && node.onDragDrop(event)
}"""
CHOSEN = "app.graph._nodes[0].widgets[0].value"


@pytest.mark.parametrize(("node", "name"), [("LoadSketches", "sketches"), ("LoadPhotos", "photos")])
def test_dropped_pictures_become_a_new_folder_and_are_chosen(editor, node, name):
    page = editor.page
    base = editor.server.base / "input"
    before = len(list(base.glob(f"{name} *")))
    for number in (before + 1, before + 2):
        assert page.evaluate(DROP, [f"GANSketching_{node}", 3])
        page.wait_for_function(f"{CHOSEN} === '{name} {number}'")
        assert sorted(path.name for path in (base / f"{name} {number}").iterdir()) == ["p0.png", "p1.png", "p2.png"]
    assert not page.evaluate(DROP, [f"GANSketching_{node}", 0]), "other files are left to ComfyUI"
    assert editor.complaints() == []
