"""Compose GANs in a real ComfyUI's editor: its inputs grow. Needs what comfyui_editor.py says."""

from __future__ import annotations

import pytest
from comfyui_editor import browser, editor, needs_editor, server

pytestmark = needs_editor
BUILD = """() => {
    app.graph.clear()
    const at = (kind, x, y) => {
        const node = LiteGraph.createNode('GANSketching_' + kind)
        app.graph.add(node)
        node.pos = [x, y]
        return node
    }
    window.load = at('LoadStyleGAN', 100, 100)
    window.compose = at('ComposeModels', 600, 100)
    Object.assign(app.canvas.ds, { scale: 1, offset: [80, 60] })
    app.canvas.setDirty(true, true)
}"""
CONNECT = """([name]) => {
    load.connect(0, compose, compose.inputs.findIndex((input) => input.name === name))
}"""
DISCONNECT = "([name]) => compose.disconnectInput(compose.inputs.findIndex((input) => input.name === name))"
SOCKETS = "compose.inputs.map(({ name }) => name).filter((name) => name.startsWith('model_'))"
WEIGHTS = "compose.widgets.filter(({ hidden }) => !hidden).map(({ name }) => name).filter((name) => name !== 'mode')"
SOURCES = """Object.fromEntries(compose.inputs.filter(({ link }) => link != null)
    .map(({ name }, k) => [name, compose.getInputNode(compose.inputs.findIndex((input) => input.name === name)).id]))"""
REMEMBER = """() => {
    const tracker = app.extensionManager.workflow.activeWorkflow.changeTracker
    if (tracker.captureCanvasState) tracker.captureCanvasState()
    else tracker.checkState()
}"""
RELOAD = """async () => {
    const graph = JSON.parse(JSON.stringify(app.graph.serialize()))
    app.graph.clear()
    await app.loadGraphData(graph)
    window.compose = app.graph._nodes.find(({ type }) => type === 'GANSketching_ComposeModels')
    window.load = app.graph._nodes.find(({ type }) => type === 'GANSketching_LoadStyleGAN')
}"""


@pytest.fixture
def page(editor):
    editor.page.evaluate(BUILD)
    editor.page.wait_for_timeout(1500)
    return editor.page


def shown(page) -> tuple[list[str], list[str]]:
    page.wait_for_timeout(300)
    return page.evaluate(SOCKETS), page.evaluate(WEIGHTS)


def up_to(count: int) -> tuple[list[str], list[str]]:
    numbers = range(1, count + 1)
    return [f"model_{k}" for k in numbers], [f"weight_{k}" for k in numbers]


def test_inputs_grow_with_the_models_that_are_connected(editor, page):
    if editor.first_vue and editor.vue:
        assert shown(page) == up_to(8), "the first Vue renderer would go on showing inputs that are gone"
        return
    assert shown(page) == up_to(1)
    editor.photograph("compose_new")
    heights = [page.evaluate("compose.size[1]")]
    for k in (1, 2, 3):
        page.evaluate(CONNECT, [f"model_{k}"])
        assert shown(page) == up_to(k + 1)
        heights.append(page.evaluate("compose.size[1]"))
    assert heights == sorted(set(heights)), "each model makes the node higher"
    page.evaluate("compose.widgets.find(({ name }) => name === 'weight_2').value = -1.25")
    editor.photograph("compose_three")
    if editor.vue:
        node = page.locator("[data-node-id]", has_text="Compose GANs")
        assert node.get_by_text("weight_4", exact=True).count() and not node.get_by_text("weight_5").count()
    page.evaluate(DISCONNECT, ["model_2"])
    assert shown(page) == up_to(4), "model_3 is still connected"
    page.evaluate(RELOAD)
    assert shown(page) == up_to(4)
    assert sorted(page.evaluate(SOURCES)) == ["model_1", "model_3"]
    assert page.evaluate("compose.widgets.find(({ name }) => name === 'weight_2').value") == -1.25
    page.evaluate(DISCONNECT, ["model_3"])
    assert shown(page) == up_to(2)
    for k in range(2, 9):
        page.evaluate(CONNECT, [f"model_{k}"])
        page.wait_for_timeout(100)
    assert shown(page) == up_to(8)
    assert len(page.evaluate(SOURCES)) == 8
    prompt = page.evaluate("async () => (await app.graphToPrompt()).output")
    inputs = next(node["inputs"] for node in prompt.values() if node["class_type"] == "GANSketching_ComposeModels")
    assert len([name for name in inputs if name.startswith("model_")]) == 8 and inputs["weight_2"] == -1.25
    assert editor.complaints() == []


def test_an_undo_takes_the_last_model_away(editor, page):
    if editor.first_vue and editor.vue:
        pytest.skip("this renderer shows all inputs")
    page.evaluate(RELOAD)  # a history of its own
    page.wait_for_timeout(500)
    page.evaluate(CONNECT, ["model_1"])
    assert shown(page) == up_to(2)
    page.evaluate(REMEMBER)
    page.evaluate("async () => { await app.extensionManager.workflow.activeWorkflow.changeTracker.undo() }")
    page.wait_for_timeout(500)
    page.evaluate("() => { window.compose = app.graph._nodes.find(({ type }) => type.endsWith('ComposeModels')) }")
    assert shown(page) == up_to(1)
