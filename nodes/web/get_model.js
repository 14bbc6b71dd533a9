// The button of Get Model: asks the user to accept the licence, starts or cancels the download, shows its progress.

import { addElement, api, app, whenRemoved } from './frontend.js'
import { t } from './language.js'

const NODE = 'GANSketching_GetModel'
const HEIGHT = 36 // pixels of the graph
const STYLE = `
.gansketching-get { box-sizing: border-box; width: 100%; height: 100%; padding: 0 4px; }
.gansketching-get button { width: 100%; height: min(100%, 30px); min-height: 26px; overflow: hidden;
  text-overflow: ellipsis; white-space: nowrap; cursor: pointer; font: 12px/1.3 system-ui, sans-serif;
  border: 1px solid var(--border-color, #666); border-radius: 6px;
  background: var(--comfy-input-bg, #333); color: var(--input-text, #ddd); }
.gansketching-get button:hover { border-color: var(--input-text, #ddd); }
`
const buttons = new Map() // button -> its node

app.registerExtension({
  name: 'gansketching.GetModel',
  setup() {
    document.head.appendChild(document.createElement('style')).textContent = STYLE
    api.addEventListener('gansketching.download', ({ detail }) => show(detail))
  },
  nodeCreated(node) {
    if (node.comfyClass === NODE) addButton(node)
  }
})

function addButton(node) {
  const element = document.createElement('div')
  const button = element.appendChild(document.createElement('button'))
  element.className = 'gansketching-get'
  button.type = 'button'
  button.textContent = t('Download ...')
  button.addEventListener('click', () => press(node, button))
  addElement(node, 'download', element, { type: 'GANSKETCHING_DOWNLOAD', label: t('Download'), height: () => HEIGHT, fixed: true })
  buttons.set(button, node)
  whenRemoved(node, () => buttons.delete(button))
}

const offerOf = (node) => node.widgets.find(({ name }) => name === 'offer').value

async function press(node, button) {
  const offer = offerOf(node)
  if (button.busy === offer) return post({ offer, cancel: true })
  const facts = node.constructor.nodeData?.input?.required?.offer?.[1]?.gansketching_offers?.[offer] ?? {}
  const size = (await post({ offer, size: true }))?.size
  const bytes = size ? `${Math.round(size / 1e6)} MB` : t('size unknown')
  const paragraphs = [
    `${offer}: ${facts.about}`,
    t('From {address} ({size})', { address: facts.address, size: bytes }),
    t('Licence: {licence}', facts),
    t('Do you accept the licence and want to download it?')
  ]
  const message = paragraphs.join('\n\n')
  const agreed = app.extensionManager?.dialog?.confirm
    ? await app.extensionManager.dialog.confirm({ title: t('Download a model'), message })
    : window.confirm(message)
  if (agreed) await post({ offer, accepted: true })
}

async function post(body) {
  const headers = { 'Content-Type': 'application/json' }
  const response = await api.fetchApi('/gansketching/download', { method: 'POST', headers, body: JSON.stringify(body) })
  const answer = await response.json()
  if (!response.ok) tell('error', answer.error)
  return answer
}

function show({ offer, state, text, done, total }) {
  const runs = state === 'downloading' || state === 'converting'
  const far = total ? `${Math.floor((100 * done) / total)}%` : `${Math.round(done / 1e6)} MB`
  for (const [button, node] of buttons) {
    if (offerOf(node) !== offer && button.busy !== offer) continue
    button.busy = runs ? offer : undefined
    const says = { downloading: t('{offer}: {far} - cancel', { offer, far }), converting: t('Converting ...') }
    button.textContent = says[state] ?? t('Download ...')
  }
  if (state === 'done') {
    tell('success', t('{offer} is ready: {file}', { offer, file: text }))
    app.refreshComboInNodes?.()
  } else if (!runs) {
    tell(state === 'failed' ? 'error' : 'info', text)
  }
}

function tell(severity, detail) {
  app.extensionManager?.toast?.add({ severity, summary: t('Get StyleGAN Model'), detail, life: 10000 })
}
