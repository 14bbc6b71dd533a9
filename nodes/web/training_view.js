// Puts the view of a training into Fine-tune Mapping nodes. The view itself, training_view/view.js, is independent of ComfyUI.

import { app } from '../../scripts/app.js'
import { api } from '../../scripts/api.js'
import { showOwn } from './own_elements.js'
import { TrainingView } from './training_view/view.js'

const NODE = 'GANSketching_FineTuneMapping'
const HEIGHT = { empty: 26, shown: 300 } // pixels of the graph, at least
const views = new WeakMap() // node -> its view

app.registerExtension({
  name: 'gansketching.TrainingView',
  setup() {
    api.addEventListener('gansketching.training', ({ detail }) => show(detail))
  },
  nodeCreated(node) {
    if (node.comfyClass === NODE) addView(node)
  }
})

function addView(node) {
  const element = document.createElement('div')
  const view = new TrainingView(element, { onStop: stop })
  const widget = node.addDOMWidget('training', 'GANSKETCHING_TRAINING', element, {
    serialize: false,
    hideOnZoom: false,
    getMinHeight: () => (view.message ? HEIGHT.shown : HEIGHT.empty),
    getValue: () => undefined,
    setValue: () => {}
  })
  widget.serialize = false
  views.set(node, view)
  showOwn(node, widget)
}

function show(message) {
  const node = find(message.node)
  const view = node && views.get(node)
  if (!view) return
  const first = !view.message
  view.update(message)
  if (first) grow(node)
}

/** Enlarge the node for the pictures, once there are any; never make it smaller than the user has. */
function grow(node) {
  const [width, height] = node.computeSize()
  node.setSize([Math.max(width, node.size[0]), Math.max(height, node.size[1])])
  node.setDirtyCanvas?.(true, true)
}

/** The node of an execution id: "12", or "3:12" for node 12 in the subgraph of node 3. */
function find(id) {
  let graph = app.rootGraph ?? app.graph
  const path = String(id).split(':')
  for (const step of path.slice(0, -1)) graph = graph?.getNodeById(step)?.subgraph
  return graph?.getNodeById(path.at(-1))
}

async function stop(token) {
  try {
    const body = JSON.stringify({ token })
    const headers = { 'Content-Type': 'application/json' }
    return (await api.fetchApi('/gansketching/stop', { method: 'POST', headers, body })).ok
  } catch {
    return false
  }
}
