// What a node shows of its training: sketches and samples, loss curves, remaining time, and buttons to stop and to go on.
// Independent of ComfyUI: `update` takes the messages that nodes/training_view.py sends.

import { t } from '../language.js'

const COLOURS = ['#4c9be8', '#e8684a', '#5ac17f', '#a97fdb', '#e0a63c', '#45c4cf']
const EARLY = 20 // steps, until which a training has usually not come near enough to be used
const STYLE = `
.gansketching-view { display: flex; flex-direction: column; gap: 4px; box-sizing: border-box; width: 100%; height: 100%;
  padding: 2px 4px; overflow: hidden; font: 12px/1.4 sans-serif; color: var(--input-text, #ddd); }
.gansketching-view .pictures { flex: 1 1 0; min-height: 240px; display: flex; gap: 4px; }
.gansketching-view .picture { flex: 4 1 0; position: relative; }
.gansketching-view .picture.sketches { flex: 1 1 0; }
.gansketching-view img { position: absolute; inset: 0; width: 100%; height: 100%; object-fit: contain; border-radius: 4px;
  cursor: zoom-in; }
.gansketching-view canvas { flex: 0 0 72px; width: 100%; height: 72px; }
.gansketching-view .row { flex: 0 0 auto; display: flex; flex-wrap: wrap; align-items: center; gap: 8px; min-height: 24px; }
.gansketching-view .text { flex: 1 1 auto; white-space: nowrap; overflow: hidden; text-overflow: ellipsis; }
.gansketching-view .legend { flex: 0 0 auto; display: flex; flex-wrap: wrap; gap: 0 10px; font-size: 11px; }
.gansketching-view button { flex: 0 0 auto; padding: 3px 10px; border-radius: 4px; cursor: pointer;
  border: 1px solid var(--border-color, #666); background: var(--comfy-input-bg, #333); color: inherit; font: inherit; }
.gansketching-view button:hover:enabled { border-color: var(--input-text, #ddd); }
.gansketching-view button:disabled { opacity: 0.5; cursor: default; }
.gansketching-view [hidden], .gansketching-app-picture .gansketching-view .pictures { display: none; } /* App Mode shows them */
.gansketching-large { max-width: none; max-height: none; border: 0; padding: 0; background: none; cursor: zoom-out; }
.gansketching-large::backdrop { background: rgb(0 0 0 / 80%); }
.gansketching-large img { display: block; width: 92vw; height: 92vh; object-fit: contain; }
`

const endings = () => ({
  stopping: t('Stopping after this step ...'),
  done: t('Finished.'),
  stopped: t('Stopped; the model is kept.'),
  cancelled: t('Cancelled; run again to go on.'),
  failed: t('Failed; the error says why.')
})

/** A duration as a text: "40 s", "3 min", "2 h 5 min". */
export function inWords(seconds) {
  const minutes = Math.round(seconds / 60)
  if (seconds < 90) return t('{seconds} s', { seconds: Math.max(1, Math.round(seconds)) })
  if (minutes < 60) return t('{minutes} min', { minutes })
  return t('{hours} h {minutes} min', { hours: Math.floor(minutes / 60), minutes: minutes % 60 })
}

export class TrainingView {
  /** onStop(token): called when the user wants to stop and keep; may return a promise of whether it worked.
   * onGoOn(): called when the user wants to train the rest of a stopped training.
   */
  constructor(element, { onStop, onGoOn }) {
    this.element = element
    this.onStop = onStop
    element.classList.add('gansketching-view')
    element.append(make('style', { textContent: STYLE }))
    this.hint = make('div', { className: 'text', textContent: t('Shows the training while it runs.') })
    this.sketches = makePicture(t('Your sketches'))
    this.samples = makePicture(t('Samples before and after'))
    this.sketches.classList.add('sketches')
    this.pictures = make('div', { className: 'pictures', hidden: true })
    this.pictures.append(this.sketches, this.samples)
    this.canvas = make('canvas', { hidden: true })
    this.legend = make('div', { className: 'legend' })
    this.text = make('div', { className: 'text', role: 'status' })
    this.button = make('button', { type: 'button', textContent: t('Stop and keep'), hidden: true })
    this.button.title = t('Use the model as it is: end the training after this step and hand the model on')
    this.button.addEventListener('click', () => this.stop())
    this.goOn = make('button', { type: 'button', textContent: t('Go on'), hidden: true })
    this.goOn.title = t('Train the remaining steps')
    this.goOn.addEventListener('click', () => {
      this.goOn.disabled = true
      onGoOn()
    })
    const row = make('div', { className: 'row' })
    row.append(this.text, this.button, this.goOn)
    element.append(this.hint, row, this.pictures, this.legend, this.canvas)
    new ResizeObserver(() => this.draw()).observe(element)
  }

  update(message) {
    this.message = message
    const runs = message.state === 'training' || message.state === 'stopping'
    this.hint.hidden = true
    this.pictures.hidden = !message.picture
    setPicture(this.sketches, message.sketches)
    setPicture(this.samples, message.picture)
    this.button.hidden = !runs
    this.button.disabled = message.state === 'stopping' || this.asked === message.token
    this.button.textContent = message.step < EARLY ? t('Stop and keep') : t('Use now (stop and keep)')
    this.goOn.hidden = message.state !== 'stopped'
    this.goOn.disabled = false
    const parts = [t('Step {step} of {total}', message)]
    if (message.state === 'training' && message.step) parts.push(t('{time} left', { time: inWords(message.seconds_left) }))
    else if (!runs) parts.push(inWords(message.seconds))
    const ending = endings()[message.state]
    if (ending) parts.push(ending)
    this.text.textContent = parts.join(t(', '))
    this.showLegend(Object.keys(message.curves))
    this.draw()
  }

  /** Show no training. */
  clear() {
    this.message = undefined
    this.hint.hidden = false
    this.pictures.hidden = this.button.hidden = this.goOn.hidden = true
    this.text.textContent = ''
    this.showLegend([])
    this.draw()
  }

  /** Whether this message is the one that was shown last. */
  shows({ token, state, step, picture }) {
    const { message } = this
    return message?.token === token && message.state === state && message.step === step && message.picture === picture
  }

  async stop() {
    const { token } = this.message
    this.asked = token
    this.button.disabled = true
    if ((await this.onStop(token)) === false) {
      this.asked = undefined
      this.text.textContent = t('Stopping did not work; it may have ended already.')
    }
  }

  showLegend(names) {
    if (this.legend.textContent === names.join('')) return
    const items = names.map((name) => make('span', { textContent: name }))
    items.forEach((item, k) => (item.style.color = COLOURS[k % COLOURS.length]))
    this.legend.replaceChildren(...items)
  }

  /** The curves, smoothed, at the resolution of the screen. */
  draw() {
    const curves = Object.values(this.message?.curves ?? {}).filter((points) => points.length > 1)
    this.canvas.hidden = !curves.length
    if (!curves.length) return
    const width = this.canvas.clientWidth
    const height = this.canvas.clientHeight
    const ratio = Math.min(3, window.devicePixelRatio || 1) * 2 // the graph may be zoomed in
    this.canvas.width = Math.max(1, width * ratio)
    this.canvas.height = Math.max(1, height * ratio)
    const pen = this.canvas.getContext('2d')
    pen.scale(ratio, ratio)
    const values = curves.flat()
    const last = Math.max(...values.map(([step]) => step), 1)
    const top = Math.max(...values.map(([, value]) => value), 1e-6)
    const place = ([step, value]) => [2 + (step / last) * (width - 4), height - 2 - (Math.max(value, 0) / top) * (height - 4)]
    pen.lineJoin = 'round'
    Object.values(this.message.curves).forEach((points, k) => {
      pen.strokeStyle = COLOURS[k % COLOURS.length]
      for (const [line, alpha, thickness] of [[points, 0.3, 1], [smooth(points), 1, 1.5]]) {
        pen.globalAlpha = alpha
        pen.lineWidth = thickness
        pen.beginPath()
        line.forEach((point) => pen.lineTo(...place(point)))
        pen.stroke()
      }
    })
  }
}

/** A picture that is enlarged by a click. */
function makePicture(title) {
  const box = make('div', { className: 'picture', hidden: true })
  const image = make('img', { alt: title, title: t('{title}: click to enlarge', { title }), draggable: false })
  image.addEventListener('click', () => enlarge(image.src, title))
  box.append(image)
  return box
}

function setPicture(box, url) {
  box.hidden = !url
  if (url && box.firstChild.src !== url) box.firstChild.src = url
}

function enlarge(url, title) {
  const dialog = make('dialog', { className: 'gansketching-large' })
  dialog.append(make('img', { src: url, alt: title }))
  dialog.addEventListener('click', () => dialog.close())
  dialog.addEventListener('close', () => dialog.remove())
  document.body.append(dialog)
  dialog.showModal()
}

function smooth(points) {
  let mean = points[0]?.[1] ?? 0
  return points.map(([step, value], k) => {
    mean += (value - mean) / Math.min(k + 1, 12)
    return [step, mean]
  })
}

function make(tag, properties) {
  return Object.assign(document.createElement(tag), properties)
}
