// Puts the view of a training into its node. The view itself, training_view/view.js, is independent of ComfyUI.
//
// A node shows the training of its own workflow: the latest message about a prompt that was queued from there or, after the
// page was loaded anew, the last message, which the node has returned as its output.

import { addElement, api, app, grow, isOfOpenWorkflow, nodeOf, outputOf, setValue, showInApp, watch, whenRemoved } from './frontend.js'
import { t } from './language.js'
import { TrainingView } from './training_view/view.js'

const NODE = 'GANSketching_FineTuneMapping'
const HEIGHT = { empty: 26, shown: 430 } // pixels of the graph, at least
const MOST_MESSAGES = 30 // that are kept
const views = new Map() // node -> its view
const messages = new Map() // the latest of each training, the latest last

app.registerExtension({
  name: 'gansketching.TrainingView',
  setup() {
    api.addEventListener('gansketching.training', ({ detail }) => receive(detail))
    watch(showAll)
  },
  nodeCreated(node) {
    if (node.comfyClass === NODE) addView(node)
  }
})

function addView(node) {
  const element = document.createElement('div')
  const view = new TrainingView(element, { onStop: stop, onGoOn: () => goOn(node) })
  addElement(node, 'training', element, {
    type: 'GANSKETCHING_TRAINING',
    label: t('Training'),
    height: () => (view.message ? HEIGHT.shown : HEIGHT.empty)
  })
  views.set(node, view)
  whenRemoved(node, () => views.delete(node))
}

function receive(message) {
  messages.delete(message.token)
  messages.set(message.token, message)
  if (messages.size > MOST_MESSAGES) messages.delete(messages.keys().next().value)
  showAll()
  if (message.picture && message.state === 'training' && isOfOpenWorkflow(message)) showInApp(message.picture, message)
}

function showAll() {
  const latest = [...messages.values()].reverse().filter(isOfOpenWorkflow)
  for (const [node, view] of views) {
    const message = latest.find(({ node: id }) => nodeOf(id) === node) ?? outputOf(node)?.gansketching_training?.[0]
    if (!message || view.shows(message)) continue
    const isFirst = !view.message
    view.update(message)
    if (isFirst) grow(node)
  }
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

/** Run once with go_on switched on. */
async function goOn(node) {
  const widget = node.widgets.find(({ name }) => name === 'go_on')
  const before = widget.value
  setValue(widget, true)
  await app.queuePrompt(0)
  setValue(widget, before)
}
