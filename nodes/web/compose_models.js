// Compose GANs shows as many of its models as are connected, and one more, each with its weight.

import { app, fitHeight, setHidden, showsChangedSockets, whenConfigured, whenConnectionsChange } from './frontend.js'

const NODE = 'GANSketching_ComposeModels'

app.registerExtension({
  name: 'gansketching.ComposeModels',
  nodeCreated(node) {
    if (node.comfyClass !== NODE) return
    const sockets = node.inputs.filter(({ name }) => name.startsWith('model_')).map((input) => ({ ...input, link: null }))
    // Later, but before the undo history looks: a link that is replaced is removed first, and files are read in parts.
    const update = () => queueMicrotask(() => showConnected(node, sockets))
    whenConnectionsChange(node, update)
    whenConfigured(node, update)
    update()
  }
})

function showConnected(node, sockets) {
  const input = (name) => node.inputs.find((one) => one.name === name)
  const isUsed = ({ name }) => [name, weightOf(name)].some((one) => input(one)?.link != null)
  const last = showsChangedSockets() ? sockets.findLastIndex(isUsed) + 2 : sockets.length
  const shown = Math.min(last, sockets.length)
  let changed = false
  sockets.forEach(({ name, type, ...options }, k) => {
    if (Boolean(input(name)) === k < shown) return
    if (k < shown) node.addInput(name, type, options)
    else node.removeInput(node.inputs.indexOf(input(name)))
    changed = true
  })
  sockets.forEach(({ name }, k) => setHidden(node.widgets.find((one) => one.name === weightOf(name)), k >= shown))
  if (changed) fitHeight(node)
}

const weightOf = (name) => name.replace('model_', 'weight_')
