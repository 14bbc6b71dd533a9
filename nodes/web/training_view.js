// Puts the view of a training into its node. The view itself, training_view/view.js, is independent of ComfyUI.
//
// A node shows the training of its own workflow: the latest message about a prompt that was queued from there or, after the
// page was loaded anew, the last message. The node has returned that as its output; the browser's session keeps it, too.

import { addElement, api, app, grow, isOfOpenWorkflow, nameOf, nodeOf, outputOf, setValue, showInApp, watch, whenRemoved } from './frontend.js'
import { t } from './language.js'
import { TrainingView } from './training_view/view.js'

const NODE = 'GANSketching_FineTuneMapping'
const HEIGHT = { empty: 26, shown: 430 } // pixels of the graph, at least
const MOST_MESSAGES = 30 // that are kept
const views = new Map() // node -> its view
const messages = new Map() // the latest of each training, the latest last
const KEPT = 'gansketching.training' // key of the session's storage
const MOST_KEPT = 8 // messages of ended trainings, up to 150 KB each
const before = JSON.parse(sessionStorage.getItem(KEPT) ?? '[]') // [name of a node, message], before the page was loaded anew
const kept = new Map(before)

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
    const message =
      latest.find(({ node: id }) => nodeOf(id) === node) ??
      outputOf(node)?.gansketching_training?.[0] ??
      before.find(([name]) => name === nameOf(node))?.[1]
    // Frontend 1.41 loads another workflow's nodes before it says that this is the open one.
    if (!message && view.message && !isOfOpenWorkflow(view.message)) view.clear()
    if (!message || view.shows(message)) continue
    keep(nameOf(node), message)
    const isFirst = !view.message
    view.update(message)
    if (isFirst) grow(node)
  }
}

function keep(name, message) {
  if (message.state === 'training' || message.state === 'stopping') return
  kept.delete(name)
  kept.set(name, message)
  if (kept.size > MOST_KEPT) kept.delete(kept.keys().next().value)
  try {
    sessionStorage.setItem(KEPT, JSON.stringify([...kept]))
  } catch {
    sessionStorage.removeItem(KEPT) // the storage is full: a loaded page then shows no ended training
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
