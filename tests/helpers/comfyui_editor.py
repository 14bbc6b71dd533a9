"""A browser with the editor of a real ComfyUI, in every frontend and renderer, for the tests that need one.

COMFYUI_PATH and COMFYUI_PYTHON as in comfyui_server.py. COMFYUI_FRONTENDS: further frontends to test beside the one
that ComfyUI has installed, as paths of their `static` folders joined like PATH. COMFYUI_SCREENSHOTS: a folder that gets
pictures of what the tests have seen.
"""

from __future__ import annotations

import json
import os
from pathlib import Path

import pytest
from browser_page import BROWSER, Pad, browser
from comfyui_server import COMFYUI, ROOT, Server

__all__ = ["PACK", "ROOT", "Editor", "Pad", "browser", "editor", "needs_editor", "server", "start_server"]

PACK = "sketching"
FRONTENDS = ["", *filter(None, os.environ.get("COMFYUI_FRONTENDS", "").split(os.pathsep))]
SCREENSHOTS = os.environ.get("COMFYUI_SCREENSHOTS")
READY = "window.app?.graph && window.LiteGraph && Boolean(LiteGraph.registered_node_types['GANSketching_SketchPad'])"
FIT = """([left, top, right, bottom]) => {
    const scale = Math.min(1760 / (right - left), 820 / (bottom - top), 1)
    Object.assign(app.canvas.ds, { scale, offset: [90 / scale - left, 110 / scale - top] })
    app.canvas.setDirty(true, true)
}"""
BOXES = """() => app.graph._nodes.map((node) => {
    const [x, y, width, height] = node.boundingRect ?? node.getBounding()
    const missing = !LiteGraph.registered_node_types[node.type]
    return { name: `${node.id} ${node.type}`, x, y, width, height, missing }
})"""
VUE_BOXES = """() => [...document.querySelectorAll('[data-node-id]')].map((element) => {
    const { x, y, width, height } = element.getBoundingClientRect(), { scale, offset } = app.canvas.ds
    const { left, top } = app.canvas.canvas.getBoundingClientRect()
    const name = `${element.dataset.nodeId} ${app.graph.getNodeById(Number(element.dataset.nodeId))?.type}`
    const place = { x: (x - left) / scale - offset[0], y: (y - top) / scale - offset[1] }
    return { name, ...place, width: width / scale, height: height / scale, missing: false }
})"""
WATCH = """() => {
    window.seen = []
    for (const type of ['execution_success', 'execution_error', 'execution_interrupted', 'gansketching.training'])
        app.api.addEventListener(type, ({ detail }) => window.seen.push({ type, ...detail }))
}"""

needs_editor = pytest.mark.skipif(not (COMFYUI and BROWSER), reason="needs COMFYUI_PATH and a browser")


def start_server(base: Path, frontend: str | None = None) -> Server:
    """A ComfyUI with this pack, all of whose folders are in `base`; frontend: the static folder of another one."""
    for name in ("custom_nodes", "input", "output", "temp", "user/default"):
        (base / name).mkdir(parents=True)
    settings = {"Comfy.TutorialCompleted": True, "Comfy.Minimap.Visible": False, "Comfy.Graph.CanvasInfo": False}
    (base / "user/default/comfy.settings.json").write_text(json.dumps(settings))
    (base / "custom_nodes" / PACK).symlink_to(ROOT)
    return Server(base, *(["--front-end-root", frontend] if frontend else []))


@pytest.fixture(scope="module", params=FRONTENDS, ids=lambda path: "other frontend" if path else "its frontend")
def server(request, tmp_path_factory):
    server = start_server(tmp_path_factory.mktemp("comfyui"), request.param)
    server.label = "other" if request.param else "own"
    yield server
    server.stop()


class Editor:
    """A page with the editor, and what a user does on it."""

    def __init__(self, page, server: Server, vue: bool):
        self.page, self.server, self.vue = page, server, vue
        self.errors: list[str] = []
        page.on("pageerror", lambda error: self.errors.append(f"{error.message} {error.stack}"))
        self.warnings: list[str] = []
        page.on("console", self.note)
        self.visit()
        page.evaluate("async (on) => app.ui.settings.setSettingValueAsync('Comfy.VueNodes.Enabled', on)", vue)
        self.visit()
        page.keyboard.press("Escape")

    def note(self, message) -> None:
        if message.type in ("warning", "error"):
            self.warnings.append(f"{message.text} {message.location.get('url', '')}")

    def complaints(self) -> list[str]:
        """Errors, and warnings on the console, that concern files of this pack."""
        return [
            text for text in self.errors + self.warnings if f"/extensions/{PACK}/" in text or "gansketching" in text
        ]

    def dismiss_tour(self) -> None:
        """Close the welcome that ComfyUI shows with the first app."""
        skip = self.page.get_by_role("button", name="Skip", exact=True)
        if skip.count():
            skip.first.click()

    def visit(self) -> None:
        self.page.goto(f"http://127.0.0.1:{self.server.port}", timeout=120_000)
        self.page.wait_for_function(READY, timeout=120_000)
        self.page.wait_for_timeout(2000)  # the editor opens its own workflow first

    def open(self, template: str) -> None:
        """What choosing a template in the browser of templates does."""
        graph = self.server.get(f"/api/workflow_templates/{PACK}/{template}.json")
        graph["extra"].pop("linearMode", None)  # as a graph, also those that are apps
        self.page.evaluate("() => app.graph.clear()")
        self.page.wait_for_timeout(300)
        self.page.evaluate("async (graph) => { await app.loadGraphData(graph) }", graph)
        self.fit()

    def choose(self, template: str) -> None:
        """Open a template as a user does, with the mouse in the browser of templates."""
        self.page.evaluate("() => app.graph.clear()")
        self.page.evaluate("() => app.extensionManager.command.execute('Comfy.BrowseTemplates')")
        self.page.get_by_text(PACK, exact=True).first.click()
        card = self.page.get_by_test_id(f"template-workflow-{template}")
        card.locator("img").first.wait_for()
        self.page.wait_for_timeout(1000)
        self.photograph("templates")
        card.click()
        self.page.wait_for_function("app.graph._nodes.length > 0")
        self.page.wait_for_timeout(1500)
        if self.page.locator("#linearCenterPanel").count():
            self.photograph("template_as_app")
            self.dismiss_tour()
            self.page.evaluate("() => app.extensionManager.command.execute('Comfy.ToggleLinear')")
        self.fit()

    def fit(self) -> None:
        """Show the whole graph."""
        boxes = self.page.evaluate(BOXES)
        around = [min(b["x"] for b in boxes) - 20, min(b["y"] for b in boxes) - 60]
        around += [max(b["x"] + b["width"] for b in boxes), max(b["y"] + b["height"] for b in boxes)]
        self.page.evaluate(FIT, around)
        self.page.wait_for_timeout(1500)

    def boxes(self) -> list[dict]:
        """Where the nodes lie in the graph, large enough to show all that they have."""
        if not self.vue:
            return self.page.evaluate(BOXES)
        self.page.evaluate("() => { app.canvas.ds.scale = 0.85; app.canvas.setDirty(true, true) }")
        self.page.wait_for_timeout(1500)
        return self.page.evaluate(VUE_BOXES)

    @property
    def first_vue(self) -> bool:
        """Whether this is frontend 1.27, whose Vue renderer is the first."""
        return self.page.evaluate("window.__COMFYUI_FRONTEND_VERSION__ ?? ''").startswith("1.27.")

    def watch(self) -> None:
        self.page.evaluate(WATCH)

    def run(self) -> None:
        self.watch()
        self.page.evaluate("() => app.queuePrompt(0)")

    def wait_for(self, condition: str, seconds: int = 300) -> None:
        self.page.wait_for_function(f"seen.find((event) => {condition})", timeout=seconds * 1000)

    def photograph(self, name: str) -> None:
        if SCREENSHOTS:
            renderer = "vue" if self.vue else "classic"
            self.page.screenshot(path=str(Path(SCREENSHOTS, f"{self.server.label}_{renderer}_{name}.png")))


@pytest.fixture(scope="module", params=[False, True], ids=["classic", "vue"])
def editor(request, server, browser):
    page = browser.new_page(viewport={"width": 1900, "height": 1000})
    editor = Editor(page, server, request.param)
    yield editor
    page.close()
