"""The live view of a training in a real ComfyUI, with several workflows open. Needs what comfyui_editor.py says."""

from __future__ import annotations

import pytest
import torch
from comfyui_editor import browser, editor, needs_editor, server

from gansketching_core.checkpoints import native
from gansketching_core.networks.stylegan2 import Discriminator, GanConfig, GanModel, Generator

pytestmark = needs_editor
GRAPH = """(seed) => {
    app.graph.clear()
    const add = (type, x, y, values = {}) => {
        const node = LiteGraph.createNode(type)
        node.pos = [x, y]
        app.graph.add(node)
        for (const widget of node.widgets ?? []) if (widget.name in values) widget.value = values[widget.name]
        return node
    }
    const ours = (type, ...given) => add(`GANSketching_${type}`, ...given)
    const train = ours('FineTuneMapping', 60, 60, { seed }), report = add('PreviewAny', 60, 900)
    const sources = {
        model: ours('LoadStyleGAN', 700, 60, { model_name: 'tiny.safetensors' }),
        sketches: ours('LoadSketches', 700, 260, { size: 32, limit: 1 }),
        photosketch: ours('LoadPhotoSketch', 700, 660, { network: 'line extractor (no weights)' }),
        options: ours('FineTuneOptions', 1100, 60, { steps: 5000, batch: 2, precision: 'float32' })
    }
    for (const [name, node] of Object.entries(sources)) node.connect(0, train, train.findInputSlot(name))
    train.connect(3, report, 0)
    return JSON.stringify(app.graph.serialize())
}"""
OPEN = "async ([graph, name]) => { await app.loadGraphData(JSON.parse(graph), true, true, name) }"
LOOK = "() => { Object.assign(app.canvas.ds, { scale: 0.9, offset: [60, 60] }); app.canvas.setDirty(true, true) }"
MOVE = """() => {
    app.graph._nodes.find(({ type }) => type === 'PreviewAny').pos = [60, 1000]
    const { changeTracker } = app.extensionManager.workflow.activeWorkflow
    changeTracker.captureCanvasState ? changeTracker.captureCanvasState() : changeTracker.checkState()
}"""
TEXT = "(text) => document.querySelector('.gansketching-view [role=status]')?.textContent.includes(text)"


@pytest.fixture
def page(editor):
    folder = editor.server.base / "models/stylegan"
    folder.mkdir(parents=True, exist_ok=True)
    torch.manual_seed(0)
    config = GanConfig(resolution=32, z_dim=32, w_dim=32, mapping_layers=2, channels=(32, 32, 16, 16))
    generator = Generator(config)
    model = GanModel(generator, Discriminator(config), config, generator.mean_w(), "tiny")
    native.save_model(model, folder / "tiny.safetensors")
    return editor.page


def test_a_training_is_shown_in_its_own_workflow_and_stays(page, editor):
    def look(tab: str = "") -> None:
        if tab:
            page.get_by_text(tab, exact=True).first.click()
            page.wait_for_timeout(2000)
        page.evaluate(LOOK)
        page.locator(".gansketching-view").first.wait_for()
        page.wait_for_timeout(1000)

    stop, picture = page.get_by_role("button", name="stop and keep"), page.locator(".gansketching-view img")
    name = "trains in " + ("Vue" if editor.vue else "canvas")
    graph = page.evaluate(GRAPH, int(editor.vue))  # else the second training would be known already
    page.evaluate(OPEN, [graph, name])
    page.evaluate(OPEN, [graph, "a copy"])
    look(name)
    editor.run()
    editor.wait_for("event.type === 'gansketching.training' && event.step >= 3 && event.picture", 300)
    picture.first.wait_for()
    stop.wait_for()
    look("a copy")
    assert not stop.is_visible() and not picture.locator("visible=true").count()
    assert page.locator(".gansketching-view .text").first.text_content() == "Shows the training while it runs."
    assert page.locator(".gansketching-view [role=status]").text_content() == ""
    look(name)
    stop.click()
    editor.wait_for("event.type.startsWith('execution_')", 300)
    page.wait_for_function(TEXT, arg="Stopped; the model is kept.")
    look("a copy")
    assert not picture.locator("visible=true").count()
    look(name)
    page.evaluate(MOVE)
    page.evaluate("async () => { await app.extensionManager.workflow.activeWorkflow.changeTracker.undo() }")
    page.wait_for_timeout(2000)
    look()
    assert page.evaluate("app.graph._nodes.find(({ type }) => type === 'PreviewAny').pos[1]") == 900
    page.wait_for_function(TEXT, arg="Stopped; the model is kept.")
    picture.first.wait_for()
    editor.photograph("after_undo")
    page.wait_for_timeout(2500)  # the editor keeps the open workflow a little later
    editor.visit()
    look(name)
    page.wait_for_function(TEXT, arg="Stopped; the model is kept.")
    picture.first.wait_for()
    editor.photograph("after_reload")
    assert editor.complaints() == []
