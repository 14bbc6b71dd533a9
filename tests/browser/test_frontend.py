"""What depends on the insides of ComfyUI's frontend, on a plain page that stands for one."""

from __future__ import annotations

from pathlib import Path

import pytest

pytest.importorskip("playwright.sync_api", reason="playwright is not installed")
from browser_page import ROOT, browser, needs_browser, site

pytestmark = needs_browser

SCRIPTS = {
    "app": """const root = { id: 'w1', nodes: {}, getNodeById: (id) => root.nodes[id] }
        export const app = { rootGraph: root, canvas: { graph: root }, nodeOutputs: {},
            extensionManager: { workflow: { activeWorkflow: null, openWorkflows: [] } },
            registerExtension: (extension) => extension.setup() }""",
    "api": """export const api = { queuePrompt: async () => ({ prompt_id: 'p' + ++window.asked }),
        getWorkflowTemplates: async () => ({ nodes: ['z', 'a'], other: ['z', 'a'] }) }
        window.asked = 0""",
}
NODES = """<div data-node-id="1" id="one"><div data-testid="node-body-1"></div></div>
    <div data-node-id="2" id="two"><div data-testid="node-body-2"></div></div>"""
SHOW = """async ([id, text]) => {
    const { app } = await import('/scripts/app.js'), { showOwn } = await import('/nodes/web/frontend.js')
    const element = document.createElement('div'), node = { id, graph: app.canvas.graph }
    Object.assign(element, { className: 'gansketching-pad', textContent: text })
    window.nodes = [...(window.nodes ?? []), node]
    window.elements = [...(window.elements ?? []), element]
    showOwn(node, { element, options: { getMinHeight: () => 123 } })
}"""


@pytest.fixture
def page(site, browser):
    page = browser.new_page()
    for name, text in SCRIPTS.items():
        answer = {"body": text, "content_type": "text/javascript"}
        page.route(f"**/scripts/{name}.js", lambda route, _, answer=answer: route.fulfill(**answer))
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
    page.evaluate(SHOW, [1, "of another node"])
    page.evaluate(SHOW, [2, "left by an undo"])
    page.evaluate("() => { two.append(...elements); nodes[1].onRemoved() }")
    page.evaluate(SHOW, [2, "own"])
    page.get_by_text("own", exact=True).wait_for()
    assert page.get_by_text("left by an undo").count() == 0 and page.get_by_text("of another node").is_visible()


def test_app_mode_gets_its_elements_too(page):
    page.evaluate("LiteGraph.vueNodesMode = false")
    page.evaluate(SHOW, [7, "left by an undo"])
    page.evaluate("() => { one.append(...elements); nodes[0].onRemoved(); two.id = 'linearCenterPanel' }")
    page.evaluate(SHOW, [7, "own"])
    page.get_by_text("own", exact=True).wait_for()


def test_a_message_belongs_to_the_workflow_that_queued_its_prompt(page):
    told = page.evaluate(
        """async () => {
            const { app } = await import('/scripts/app.js'), { api } = await import('/scripts/api.js')
            const { isOfOpenWorkflow } = await import('/nodes/web/frontend.js')
            const first = { name: 'first' }, second = { name: 'second' }, { workflow } = app.extensionManager
            workflow.openWorkflows.push(first, second)
            workflow.activeWorkflow = first
            const { prompt_id } = await api.queuePrompt()
            const ask = (prompt, id) => isOfOpenWorkflow({ prompt, workflow: id })
            const here = ask(prompt_id, 'w1')
            workflow.activeWorkflow = second // a copy, of the same id
            return [here, ask(prompt_id, 'w1'), ask('queued before a reload', 'w1'), ask('queued elsewhere', 'w2')]
        }"""
    )
    assert told == [True, False, True, False]


def test_the_output_of_a_node_is_found_inside_a_subgraph(page):
    found = page.evaluate(
        """async () => {
            const { app } = await import('/scripts/app.js')
            const { nodeOf, outputOf } = await import('/nodes/web/frontend.js')
            const inner = { id: 'inside', getNodeById: (id) => (id === '12' ? deep : undefined) }
            const deep = { id: 12, graph: inner }
            app.rootGraph.nodes = { 3: { id: 3, graph: app.rootGraph, subgraph: inner } }
            app.nodeOutputs = { 3: 'of 3', 'inside:12': 'of 12' }
            return [nodeOf('3:12') === deep, nodeOf('4:12') === undefined, outputOf(nodeOf(3)), outputOf(deep)]
        }"""
    )
    assert found == [True, True, "of 3", "of 12"]


def test_only_the_templates_of_this_pack_are_put_in_order(page):
    page.route(
        "**/extensions/nodes/*.js", lambda route: route.fulfill(path=ROOT / "nodes/web" / Path(route.request.url).name)
    )
    listed = page.evaluate(
        """async () => {
            const { api } = await import('/scripts/api.js')
            await import('/extensions/nodes/frontend.js')
            return await api.getWorkflowTemplates()
        }"""
    )
    assert listed == {"nodes": ["a", "z"], "other": ["z", "a"]}


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


def test_texts_follow_the_setting_of_the_language(page):
    said = page.evaluate(
        """async () => {
            const { app } = await import('/scripts/app.js'), { t } = await import('/nodes/web/language.js')
            await import('/nodes/web/frontend.js')
            const before = t('Go on')
            const settings = { 'Comfy.Locale': 'de' }
            app.extensionManager.setting = { get: (id) => settings[id] }
            const german = t('Step {step} of {total}', { step: 3, total: 9 })
            settings['Comfy.Locale'] = 'zh-TW'
            return [before, german, t('Go on'), t('not translated {n}', { n: 1 })]
        }"""
    )
    assert said == ["Go on", "Schritt 3 von 9", "繼續訓練", "not translated 1"]
