"""How nodes come to show their own elements in ComfyUI's Vue renderers, on a plain page that stands for one."""

from __future__ import annotations

import pytest

pytest.importorskip("playwright.sync_api", reason="playwright is not installed")
from browser_page import browser, needs_browser, site

pytestmark = needs_browser

APP = "export const app = { canvas: { graph: {} }, registerExtension: (extension) => extension.setup() }"
NODES = """<div data-node-id="1" id="one"><div data-testid="node-body-1"></div></div>
    <div data-node-id="2"><div data-testid="node-body-2"><p class="gansketching-pad">left by an undo</p></div></div>"""
SHOW = """async ([id, text]) => {
    const { app } = await import('/scripts/app.js'), { showOwn } = await import('/nodes/web/own_elements.js')
    const element = document.createElement('div'), node = { id, graph: app.canvas.graph }
    Object.assign(element, { className: 'gansketching-pad', textContent: text })
    window.nodes = [...(window.nodes ?? []), node]
    showOwn(node, { element, options: { getMinHeight: () => 123 } })
}"""


@pytest.fixture
def page(site, browser):
    page = browser.new_page()
    page.route("**/scripts/app.js", lambda route: route.fulfill(body=APP, content_type="text/javascript"))
    page.goto(site)
    page.evaluate("(html) => { document.body.innerHTML = html; window.LiteGraph = { vueNodesMode: true } }", NODES)
    yield page
    page.close()


def test_a_renderer_that_shows_no_elements_gets_them(page):
    page.evaluate("() => { document.getElementById('one').onpointerdown = () => { window.moved = true } }")
    page.evaluate(SHOW, [1, "own"])
    own = page.get_by_text("own", exact=True)
    own.click()
    assert page.evaluate("window.moved") is None, "drawing would move the node"
    page.wait_for_function("document.querySelector('.gansketching-frame').offsetHeight === 123")
    page.evaluate("document.querySelector('[data-testid=node-body-1]').replaceChildren()")  # folded and unfolded
    own.wait_for()


def test_what_an_undo_left_gives_way(page):
    page.evaluate(SHOW, [2, "own"])
    page.get_by_text("own", exact=True).wait_for()
    assert page.get_by_text("left by an undo").count() == 0


def test_nothing_is_done_where_it_is_not_needed(page):
    page.evaluate("LiteGraph.vueNodesMode = false")
    page.evaluate(SHOW, [1, "classic"])
    page.wait_for_timeout(1500)
    page.evaluate("LiteGraph.vueNodesMode = true")
    page.evaluate("nodes[0].graph = {}")  # of another graph than the one that is shown
    page.wait_for_timeout(1500)
    assert page.get_by_text("classic").count() == 0
    page.evaluate("nodes[0].onRemoved()")
    page.evaluate("async () => { nodes[0].graph = (await import('/scripts/app.js')).app.canvas.graph }")
    page.wait_for_timeout(1500)
    assert page.get_by_text("classic").count() == 0
