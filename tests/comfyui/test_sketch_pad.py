"""The Sketch Pad in a real ComfyUI's editor, in all that users do to a graph. Needs what comfyui_editor.py says."""

from __future__ import annotations

import json

import pytest
from comfyui_editor import Pad, browser, editor, needs_editor, server
from PIL import Image

pytestmark = needs_editor
BUILD = """() => {
    const pad = LiteGraph.createNode('GANSketching_SketchPad'), save = LiteGraph.createNode('SaveImage')
    for (const { subgraph } of app.graph._nodes) subgraph?.clear()
    app.graph.clear()
    pad.pos = [60, 60] // before they are added: the first Vue renderer may leave a node where it was then
    save.pos = [900, 60]
    app.graph.add(pad)
    app.graph.add(save)
    pad.connect(0, save, 0)
}"""
REFERENCE = """() => {
    const load = LiteGraph.createNode('LoadImage')
    const pad = app.graph._nodes.find(({ type }) => type.endsWith('SketchPad'))
    load.pos = [900, 300]
    app.graph.add(load)
    load.widgets[0].value = 'under.png'
    load.connect(0, pad, pad.findInputSlot('reference'))
}"""
VIEW = "(scale) => { Object.assign(app.canvas.ds, { scale, offset: [80, 60] }); app.canvas.setDirty(true, true) }"
PADS = "app.graph._nodes.filter(({ type }) => type === 'GANSketching_SketchPad')"
LOAD = "async (text) => { await app.loadGraphData(JSON.parse(text)) }"
COPY = f"() => {{ app.canvas.copyToClipboard({PADS}); app.canvas.pasteFromClipboard({{ position: [60, 900] }}) }}"
INTO_SUBGRAPH = f"() => {{ app.canvas.deselectAll?.(); app.graph.convertToSubgraph(new Set({PADS})) }}"
OPEN_SUBGRAPH = "() => app.canvas.setGraph(app.graph._nodes.find(({ subgraph }) => subgraph).subgraph)"
CLOSE_SUBGRAPH = "() => app.canvas.setGraph(app.rootGraph ?? app.graph.rootGraph)"
INSIDE = "({ dataset }) => app.canvas.graph.getNodeById(Number(dataset.nodeId))"
QUEUED = """async () => Object.values((await app.graphToPrompt()).output)
    .filter((node) => node.class_type === 'GANSketching_SketchPad').map((node) => node.inputs.strokes)"""
LINE, CROSS = ((200, 300), (800, 300)), ((100, 100), (900, 900))


class Drawn:
    """A graph of one Sketch Pad and a node that saves its pictures."""

    def __init__(self, editor):
        self.editor, self.page, self.pad = editor, editor.page, Pad(editor.page)
        self.page.evaluate(BUILD)
        self.look()

    def look(self, scale: float = 1.0) -> None:
        self.page.evaluate(VIEW, scale)
        self.page.locator(".surface").first.wait_for()
        self.page.wait_for_function(f"{PADS}.every(({{ widgets }}) => widgets[0].element.isConnected)")
        self.page.wait_for_timeout(800)

    @property
    def values(self) -> list[str]:
        return self.page.evaluate(f"{PADS}.map(({{ widgets }}) => widgets[0].value)")

    def strokes(self) -> list[int]:
        """How many strokes each sheet of the only pad has."""
        (value,) = self.values
        return [len(sheet) for sheet in json.loads(value)["sheets"]]

    def saved(self) -> int:
        """How many pictures a run saves."""
        self.editor.run()
        self.editor.wait_for("event.type.startsWith('execution_')")
        end = next(event for event in self.page.evaluate("seen") if event["type"].startswith("execution_"))
        assert end["type"] == "execution_success", end
        outputs = self.editor.server.finished(end["prompt_id"])["outputs"]
        return sum(len(shown.get("images", [])) for shown in outputs.values())

    def queued(self) -> list[str]:
        """The sketches that a run would be given."""
        return self.page.evaluate(QUEUED)


@pytest.fixture
def drawn(editor):
    drawn = Drawn(editor)
    yield drawn
    assert [error for error in editor.errors if "gansketching" in error or "sketch_pad" in error] == []


def test_the_pad_is_drawn_on_while_the_graph_is_zoomed(drawn):
    drawn.pad.draw(*LINE)
    drawn.look(0.6)
    drawn.pad.draw(*CROSS)
    drawn.look(1.4)
    drawn.pad.draw(*CROSS)
    (value,) = drawn.values
    places = [stroke["p"][:2] + stroke["p"][-2:] for stroke in json.loads(value)["sheets"][0]]
    assert places[0] == pytest.approx([200, 300, 800, 300], abs=4)
    assert places[1] == pytest.approx([100, 100, 900, 900], abs=6)
    assert places[2] == pytest.approx([100, 100, 900, 900], abs=4)


def test_the_keys_of_the_pad_are_the_pads_alone(drawn):
    drawn.pad.draw(*LINE)
    drawn.pad.draw(*CROSS)
    drawn.pad.press("Control+z")
    assert drawn.strokes() == [1]
    drawn.pad.press("Control+Shift+Z")
    assert drawn.strokes() == [2]
    drawn.pad.press("n", "Delete")
    assert drawn.page.evaluate("app.graph._nodes.length") == 2


def test_comfyui_undoes_and_redoes_a_stroke(drawn):
    drawn.pad.draw(*LINE)
    drawn.page.wait_for_timeout(500)
    drawn.pad.draw(*CROSS)
    drawn.page.wait_for_timeout(500)
    drawn.page.mouse.click(1700, 900)  # on the empty canvas: the keys are ComfyUI's
    drawn.page.keyboard.press("Control+z")
    drawn.page.wait_for_timeout(1500)
    assert drawn.strokes() == [1]
    drawn.page.keyboard.press("Control+y")
    drawn.page.wait_for_timeout(1500)
    assert drawn.strokes() == [2]
    drawn.look()
    drawn.pad.draw(*LINE)  # and the pad that was made anew can be drawn on
    assert drawn.strokes() == [3]


def test_a_drawing_is_saved_loaded_copied_and_run(drawn):
    drawn.pad.draw(*LINE)
    drawn.pad.press("n")
    drawn.pad.draw(*CROSS)
    (value,) = drawn.values
    assert [len(sheet) for sheet in json.loads(value)["sheets"]] == [1, 1]
    drawn.page.evaluate(LOAD, drawn.page.evaluate("JSON.stringify(app.graph.serialize())"))
    drawn.look()
    assert drawn.values == [value]
    drawn.page.evaluate(COPY)
    drawn.page.wait_for_timeout(800)
    assert drawn.values == [value, value]
    outputs = drawn.editor.server.run(drawn.page.evaluate("async () => (await app.graphToPrompt()).output"))
    assert sorted(len(shown["images"]) for shown in outputs.values() if "images" in shown) == [2]


def test_a_picture_that_was_given_lies_under_the_drawing(drawn):
    Image.new("RGB", (32, 32), "red").save(drawn.editor.server.base / "input" / "under.png")
    drawn.page.evaluate(REFERENCE)
    assert drawn.saved() == 0  # the pad is empty: the run only brings the picture
    under = drawn.page.locator(".reference")
    under.wait_for()
    assert under.evaluate("(image) => image.complete && image.naturalWidth") > 0
    drawn.page.get_by_text("Trace the picture, then run again.").wait_for()
    drawn.pad.draw(*LINE)
    assert drawn.saved() == 1 and under.is_visible()


def test_another_workflow_brings_its_own_drawing(drawn):
    drawn.pad.draw(*LINE)
    other = drawn.page.evaluate("JSON.stringify(app.graph.serialize())")
    drawn.pad.draw(*CROSS)
    drawn.page.evaluate(LOAD, other)  # with a pad of the same id
    drawn.look()
    assert drawn.strokes() == [1]
    drawn.pad.draw(*CROSS)
    drawn.pad.draw(*CROSS)
    assert drawn.strokes() == [3]


def test_a_drawing_survives_a_reload_of_the_page(drawn):
    drawn.pad.draw(*LINE)
    (value,) = drawn.values
    drawn.page.wait_for_timeout(2500)  # the editor keeps the open workflow a little later
    drawn.editor.visit()
    drawn.look()
    assert drawn.values == [value]


def test_a_pad_is_drawn_on_inside_a_subgraph(drawn):
    drawn.pad.draw(*LINE)
    drawn.page.evaluate(INTO_SUBGRAPH)
    drawn.page.wait_for_timeout(1000)
    drawn.page.evaluate(OPEN_SUBGRAPH)
    drawn.page.wait_for_timeout(1000)
    if drawn.editor.vue and not drawn.page.evaluate(f"[...document.querySelectorAll('[data-node-id]')].some({INSIDE})"):
        drawn.editor.visit()
        pytest.skip("this frontend's Vue renderer, its first, shows no node of a subgraph, and of others none after it")
    drawn.look()
    drawn.pad.draw(*CROSS)
    drawn.editor.photograph("subgraph")
    drawn.page.evaluate(CLOSE_SUBGRAPH)
    drawn.page.wait_for_timeout(500)
    (queued,) = drawn.queued()
    assert [len(sheet) for sheet in json.loads(queued)["sheets"]] == [2]
    drawn.editor.visit()  # frontend 1.41's Vue renderer shows no new graph after it


def test_a_drawing_survives_a_subgraph(drawn):
    drawn.pad.draw(*LINE)
    (value,) = drawn.values
    drawn.page.evaluate(INTO_SUBGRAPH)
    drawn.page.wait_for_timeout(1000)
    assert drawn.queued() == [value]
    saved = drawn.page.evaluate("JSON.stringify((app.rootGraph ?? app.graph).serialize())")
    drawn.page.evaluate("() => app.graph.clear()")
    drawn.page.evaluate(LOAD, saved)
    drawn.page.wait_for_timeout(1000)
    assert drawn.queued() == [value]
