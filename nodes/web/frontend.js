// Everything here that depends on the insides of ComfyUI's frontend, and not only on its documented extension API, so that
// a new frontend needs changes in this file alone. It works in frontends from 1.27 on, in both renderers and in App Mode.

import { app } from '../../scripts/app.js'
import { api } from '../../scripts/api.js'
import { useLanguage } from './language.js'

export { api, app }

const EVERY = 150 // milliseconds between two looks at the page
const PATIENCE = 4 // looks before an element that the renderer does not show is inserted
const WIDTH = 400 // pixels of the graph, of an inserted element
const widgets = new Map() // node -> its widget with an element
const owners = new WeakMap() // element -> its node, also after that was removed
const missed = new WeakMap() // element -> consecutive looks in which it was not shown
const queued = new Map() // id of a prompt -> the workflow that was open when it was queued here
const watchers = [] // called at every look

useLanguage(() => app.extensionManager?.setting?.get('Comfy.Locale'))

app.registerExtension({
  name: 'gansketching.Frontend',
  setup() {
    noteWhoQueues()
    sortTemplates()
    setInterval(look, EVERY)
  }
})

/** Call `act` several times a second. */
export function watch(act) {
  watchers.push(act)
}

function look() {
  document.documentElement.classList.toggle('gansketching-app-picture', Boolean(document.querySelector('#linearCenterPanel img')))
  if (window.LiteGraph.vueNodesMode || isApp()) lookAfterElements()
  for (const act of watchers) act()
}

// ------------------------------------------------------------------------------------------------ nodes and their elements

/** Add `element` to a node as a widget. Its class gansketching-... identifies its kind.
 *
 * label: its title in App Mode. height(): at least, in pixels of the graph. fixed: it is not made higher.
 * value: { get, set } if the workflow keeps its value.
 */
export function addElement(node, name, element, { type, label, height, fixed = false, value }) {
  const widget = node.addDOMWidget(name, type, element, {
    serialize: Boolean(value),
    hideOnZoom: false,
    getMinHeight: height,
    ...(fixed && { margin: 4, getMaxHeight: height }),
    getValue: value?.get ?? (() => undefined),
    setValue: value?.set ?? (() => {})
  })
  if (!value) widget.serialize = false
  widget.label = label
  showOwn(node, widget)
  return widget
}

/** Keep the element of `widget` visible.
 *
 * ComfyUI's Vue renderers and App Mode do not always do that. After an undo, frontend 1.58 still shows the element of the node
 * that was replaced, so that what the user draws on it is lost; the first such renderer (frontend 1.27) shows no element
 * of an unknown kind.
 */
export function showOwn(node, widget) {
  widgets.set(node, widget)
  owners.set(widget.element, node)
  whenRemoved(node, () => widgets.delete(node))
}

export function whenRemoved(node, act) {
  chain(node, 'onRemoved', act)
}

export function whenExecuted(node, act) {
  chain(node, 'onExecuted', act)
}

/** A workflow's values and links have been given to the node. */
export function whenConfigured(node, act) {
  chain(node, 'onConfigure', act)
}

export function whenConnectionsChange(node, act) {
  chain(node, 'onConnectionsChange', act)
}

function chain(node, method, act) {
  const before = node[method]
  node[method] = function (...given) {
    before?.apply(this, given)
    act(...given)
  }
}

function lookAfterElements() {
  for (const [node, { element, options }] of widgets) {
    if (node.graph !== app.canvas.graph) continue
    missed.set(element, element.isConnected ? 0 : (missed.get(element) ?? 0) + 1)
    if (!element.isConnected) place(node, element)
    const frame = element.closest('.gansketching-frame')
    if (frame) frame.style.height = `${options.getMinHeight()}px`
  }
}

function place(node, element) {
  const kind = [...element.classList].find((name) => name.startsWith('gansketching-'))
  const isLeft = (other) => !widgets.has(owners.get(other)) && owners.get(other)?.id === node.id
  const left = [...document.querySelectorAll(`.${kind}`)].find(isLeft)
  const body = document.querySelector(`[data-testid="node-body-${node.id}"]`)
  if (left) left.replaceWith(element)
  else if (body && missed.get(element) > PATIENCE) body.append(framed(element))
}

/** The element in a frame of its size, whose pointer events do not move the node. */
function framed(element) {
  const frame = document.createElement('div')
  frame.className = 'gansketching-frame'
  Object.assign(frame.style, { boxSizing: 'border-box', width: '100%', minWidth: `${WIDTH}px`, padding: '0 12px' })
  for (const type of ['pointerdown', 'pointermove', 'pointerup']) {
    frame.addEventListener(type, (event) => event.stopPropagation())
  }
  frame.append(element)
  return frame
}

/** In the classic renderer an element lies over the graph: its wheel and middle button go to the graph. */
export function passOn(element) {
  const isClassic = () => !window.LiteGraph.vueNodesMode && !isApp()
  const isMiddle = ({ button, buttons }) => button === 1 || (buttons & 4) !== 0
  element.addEventListener('wheel', (event) => isClassic() && app.canvas.processMouseWheel(event))
  element.addEventListener('pointerdown', (event) => isClassic() && isMiddle(event) && app.canvas.processMouseDown(event))
  element.addEventListener('pointermove', (event) => isClassic() && isMiddle(event) && app.canvas.processMouseMove(event))
  element.addEventListener('pointerup', (event) => isClassic() && isMiddle(event) && app.canvas.processMouseUp(event))
}

/** Enlarge a node until all it has fits; never make it smaller than the user has. */
export function grow(node) {
  const [width, height] = node.computeSize()
  node.setSize([Math.max(width, node.size[0]), Math.max(height, node.size[1])])
  node.setDirtyCanvas?.(true, true)
}

/** Make a node as high as what it shows. */
export function fitHeight(node) {
  node.setSize([node.size[0], node.computeSize()[1]])
  node.setDirtyCanvas?.(true, true)
}

/** Whether a node may lose and gain sockets. The Vue renderers before frontend 1.41 go on showing those that it was made with. */
export function showsChangedSockets() {
  const [major, minor] = (window.__COMFYUI_FRONTEND_VERSION__ ?? '0.0').split('.').map(Number)
  return !window.LiteGraph.vueNodesMode || major > 1 || minor >= 41
}

/** Hide a widget, or show it; its value stays. */
export function setHidden(widget, hidden) {
  widget.hidden = hidden
  widget.options = { ...widget.options, hidden }
  if (widget._state?.options) widget._state.options.hidden = hidden // what the Vue renderer of frontend 1.49 looks at
}

/** Give a widget a value as a user does. */
export function setValue(widget, value) {
  widget.value = value
  widget.callback?.(value)
}

/** ComfyUI watches only its own canvas for changes, so a change elsewhere is reported to its undo history. */
export function rememberForUndo() {
  const tracker = openWorkflow()?.changeTracker
  if (tracker?.captureCanvasState) tracker.captureCanvasState()
  else tracker?.checkState?.()
}

// -------------------------------------------------------------------------------------------------- workflows and prompts

const root = () => app.rootGraph ?? app.graph
const openWorkflow = () => app.extensionManager?.workflow?.activeWorkflow

/** The node of an execution id: "12", or "3:12" for node 12 in the subgraph of node 3. */
export function nodeOf(id) {
  const path = String(id).split(':')
  let graph = root()
  for (const step of path.slice(0, -1)) graph = graph?.getNodeById(step)?.subgraph
  return graph?.getNodeById(path.at(-1))
}

/** What a node has returned for the editor. ComfyUI keeps it for every open workflow, through undo and changes of the tab. */
export function outputOf(node) {
  const inside = node.graph && node.graph !== root()
  return app.nodeOutputs?.[inside ? `${node.graph.id}:${node.id}` : String(node.id)]
}

/** A name of a node of the open workflow that it still has when the page is loaded anew. */
export function nameOf(node) {
  return `${openWorkflow()?.path} ${node.graph?.id} ${node.id}`
}

/** Whether a message about a prompt concerns the open workflow.
 *
 * prompt: its id. workflow: the id of the workflow it was made from; copies have it, too. That decides only for prompts
 * that were queued elsewhere, or before this page was loaded.
 */
export function isOfOpenWorkflow({ prompt, workflow }) {
  const origin = queued.get(prompt)
  const isKnown = origin && app.extensionManager?.workflow?.openWorkflows?.includes(origin)
  return isKnown ? origin === openWorkflow() : workflow === root()?.id
}

function noteWhoQueues() {
  const queue = api.queuePrompt
  api.queuePrompt = async function (...given) {
    const workflow = openWorkflow()
    const answer = await queue.apply(this, given)
    queued.set(answer?.prompt_id, workflow)
    return answer
  }
}

// ----------------------------------------------------------------------------------------------- App Mode and the templates

const isApp = () => Boolean(document.querySelector('#linearCenterPanel'))

/** Show a picture (a data: URL) large in App Mode, where ComfyUI shows previews. In the graph the node itself shows it. */
export async function showInApp(picture, { prompt, node }) {
  if (!isApp()) return
  const blob = await (await fetch(picture)).blob()
  const ids = { nodeId: node, displayNodeId: node, parentNodeId: node, realNodeId: node }
  api.dispatchCustomEvent('b_preview_with_metadata', { blob, jobId: prompt, ...ids })
}

/** The server lists templates in the order of its file system: this pack's are put in the order of their names. */
function sortTemplates() {
  const pack = decodeURIComponent(new URL(import.meta.url).pathname.split('/extensions/')[1]?.split('/')[0] ?? '')
  const list = api.getWorkflowTemplates
  api.getWorkflowTemplates = async function (...given) {
    const templates = await list.apply(this, given)
    templates?.[pack]?.sort()
    return templates
  }
}
