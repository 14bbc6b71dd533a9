// ComfyUI's Vue renderers do not always show the DOM element of a widget. After an undo, frontend 1.58 still shows the
// element of the node that was replaced, so that what the user draws on it is lost; the first such renderer (frontend 1.27)
// shows no element of an unknown kind. This module checks the elements of this pack at intervals and inserts them itself.

import { app } from '../../scripts/app.js'

const EVERY = 150 // milliseconds between two checks
const PATIENCE = 4 // checks before an element that the renderer does not show is inserted
const WIDTH = 400 // pixels of the graph
const widgets = new Map() // node -> its widget with an element
const missed = new WeakMap() // element -> consecutive checks in which it was not shown

app.registerExtension({
  name: 'gansketching.OwnElements',
  setup() {
    setInterval(() => window.LiteGraph.vueNodesMode && lookAfterAll(), EVERY)
  }
})

/** Keep the element of `widget` visible in `node`. Its class gansketching-... identifies its kind. */
export function showOwn(node, widget) {
  widgets.set(node, widget)
  whenRemoved(node, () => widgets.delete(node))
}

export function whenRemoved(node, act) {
  const before = node.onRemoved
  node.onRemoved = function () {
    act()
    before?.apply(this, arguments)
  }
}

function lookAfterAll() {
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
  const other = document.querySelector(`[data-node-id="${node.id}"] .${kind}`)
  const body = document.querySelector(`[data-testid="node-body-${node.id}"]`)
  if (other) other.replaceWith(element)
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
