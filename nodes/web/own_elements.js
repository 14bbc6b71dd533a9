// ComfyUI's Vue renderer goes on showing the element of a node that an undo has replaced by another of the same id
// (seen in its frontend 1.58): what is drawn there would be lost. Here such an element gives way to the new node's own.

import { app } from '../../scripts/app.js'

const FRAMES = 60 // of the page, that the renderer is given to show the graph
const elements = new Map() // node -> what it shows

app.registerExtension({
  name: 'gansketching.OwnElements',
  afterConfigureGraph() {
    for (const [node, element] of elements) show(node, element, FRAMES)
  }
})

/** See to it that `node` shows `element`, which has a class of its own kind. */
export function showOwn(node, element) {
  elements.set(node, element)
  const before = node.onRemoved
  node.onRemoved = function () {
    elements.delete(node)
    before?.apply(this, arguments)
  }
}

function show(node, element, frames) {
  if (!elements.has(node) || element.isConnected || !frames) return
  if (node.graph === app.canvas.graph) {
    const kind = [...element.classList].find((name) => name.startsWith('gansketching-'))
    document.querySelector(`[data-node-id="${node.id}"] .${kind}`)?.replaceWith(element)
  }
  requestAnimationFrame(() => show(node, element, frames - 1))
}
