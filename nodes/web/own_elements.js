// ComfyUI's Vue renderers don't always show a node's own element, and what is drawn elsewhere would be lost. After an undo,
// frontend 1.58 goes on showing the element of the node that was replaced; the first such renderer (frontend 1.27) shows
// none that it doesn't know. So the elements of this pack are looked after here.

import { app } from '../../scripts/app.js'

const EVERY = 150 // milliseconds between two looks
const PATIENCE = 4 // looks for a renderer to show the element by itself
const WIDTH = 400 // pixels of the graph
const widgets = new Map() // node -> its widget with an element
const missed = new WeakMap() // element -> looks, one after the other, in which it was not shown

app.registerExtension({
  name: 'gansketching.OwnElements',
  setup() {
    setInterval(() => window.LiteGraph.vueNodesMode && lookAfterAll(), EVERY)
  }
})

/** See to it that `node` shows the element of `widget`, which has a class of its own kind. */
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

/** The element at its size; what is done to it does not move the node. */
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
