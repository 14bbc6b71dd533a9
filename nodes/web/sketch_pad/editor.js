// The editor of the Sketch Pad, on any page: new SketchEditor(element, { value, onChange }).

import { t } from '../language.js'
import { finished, isTooMuch, MAX_SHEETS, MAX_WIDTH, mirrored, paint, paintStroke, parse, serialise, UNITS } from './strokes.js'
import { addStyle, ICONS } from './style.js'

const PIXELS = 1024 // of the canvas; the page shows it at any size
const THUMBNAIL = 88
const HISTORY = 200 // steps that can be undone
const WIDTHS = [2, 4, 6, 8, 12, 16, 20, 24, 32, 40, 48, 64, 80, 96, 128, 160, 200, MAX_WIDTH]
const SMALLEST_PRESSURE = 15 // percent of the width

export class SketchEditor {
  /** onChange(value) is called after every change by the user, not after setValue. */
  constructor(root, { value = '', onChange = () => {} } = {}) {
    addStyle()
    this.root = root
    this.onChange = onChange
    this.tool = 'pen'
    this.widths = { pen: 16, eraser: 64 }
    this.mirror = false
    this.references = []
    this.ownReference = null
    this.line = null // being drawn
    this.build()
    this.listen()
    this.setValue(value)
  }

  // ------------------------------------------------------------------------------------------------------- the value

  getValue() {
    return this.unreadable ?? serialise(this.sheets)
  }

  /** A value that can't be read is kept until the user draws something else. */
  setValue(text) {
    if (this.sheets && text === this.getValue()) return
    this.sheets = [[]]
    this.unreadable = null
    let message = ''
    if (text) {
      try {
        this.sheets = parse(text)
      } catch (error) {
        this.unreadable = text
        message = `${t("This drawing can't be shown; drawing replaces it.")} ${error.message}`
      }
    }
    this.current = Math.min(this.current ?? 0, this.sheets.length - 1)
    this.past = []
    this.future = []
    this.line = null
    this.warn(message)
  }

  /** Pictures to trace, one for each sheet (further sheets use the last one): URLs. Not part of the value. */
  setReferences(urls) {
    this.references = urls
    this.show()
  }

  isEmpty() {
    return this.sheets.every((sheet) => !sheet.length)
  }

  get sheet() {
    return this.sheets[this.current]
  }

  change(sheets, current = this.current) {
    if (isTooMuch(sheets)) return this.warn(t('The pad is full: clear a sheet or remove one.'))
    this.past = [...this.past, [this.sheets, this.current]].slice(-HISTORY)
    this.future = []
    this.go(sheets, current)
  }

  changeSheet(strokes) {
    this.change(this.sheets.map((sheet, k) => (k === this.current ? strokes : sheet)))
  }

  go(sheets, current) {
    this.sheets = sheets
    this.current = current
    this.unreadable = null
    this.show()
    this.onChange(this.getValue())
  }

  // ------------------------------------------------------------------------------------------------ what users can do

  undo() {
    this.travel(this.past, this.future)
  }

  redo() {
    this.travel(this.future, this.past)
  }

  travel(from, to) {
    if (!from.length) return
    to.push([this.sheets, this.current])
    this.go(...from.pop())
  }

  clear() {
    if (this.sheet.length || this.unreadable !== null) this.changeSheet([])
  }

  /** One blank sheet instead of all there are. */
  startAnew() {
    if (!this.isEmpty() || this.sheets.length > 1 || this.unreadable !== null) this.change([[]], 0)
  }

  addSheet(strokes = []) {
    if (this.sheets.length >= MAX_SHEETS) return this.warn(t('A pad holds {count} sheets.', { count: MAX_SHEETS }))
    this.change(this.sheets.toSpliced(this.current + 1, 0, strokes), this.current + 1)
  }

  removeSheet() {
    if (this.sheets.length === 1) return this.clear()
    const left = this.sheets.toSpliced(this.current, 1)
    this.change(left, Math.min(this.current, left.length - 1))
  }

  showSheet(number) {
    this.line = null
    this.current = Math.min(Math.max(number, 0), this.sheets.length - 1)
    this.show()
  }

  setTool(tool) {
    this.tool = tool
    this.show()
  }

  setWidth(width) {
    this.widths[this.tool] = width
    this.show()
  }

  stepWidth(step) {
    const place = WIDTHS.findIndex((width) => width >= this.widths[this.tool])
    this.setWidth(WIDTHS[Math.min(Math.max(place + step, 0), WIDTHS.length - 1)])
  }

  toggleMirror() {
    this.mirror = !this.mirror
    this.show()
  }

  /** Remove the picture, or ask for one. */
  toggleReference() {
    if (!this.reference()) return this.file.click()
    this.ownReference = null
    this.setReferences([])
  }

  reference() {
    return this.ownReference ?? this.references[Math.min(this.current, this.references.length - 1)]
  }

  takeFile(files) {
    const file = [...(files ?? [])].find(({ type }) => type.startsWith('image/'))
    if (!file) return false
    const reader = new FileReader()
    reader.onload = () => {
      this.ownReference = reader.result
      this.show()
    }
    reader.readAsDataURL(file)
    return true
  }

  // ---------------------------------------------------------------------------------------------------------- drawing

  /** The position of the pointer on the sheet. The bounding box of the canvas includes the page's scaling. */
  place(event) {
    const box = this.surface.getBoundingClientRect()
    const pressure = event.pointerType === 'pen' && event.pressure > 0 ? event.pressure * 100 : 100
    return {
      x: ((event.clientX - box.left) / box.width) * UNITS - 0.5,
      y: ((event.clientY - box.top) / box.height) * UNITS - 0.5,
      f: Math.min(Math.max(pressure, SMALLEST_PRESSURE), 100)
    }
  }

  startLine(event) {
    if (event.button !== 0 || this.line) return
    event.stopPropagation()
    this.surface.setPointerCapture(event.pointerId)
    const eraser = this.tool === 'eraser' || (event.buttons & 32) !== 0 // a pen turned round
    this.invitation.hidden = true
    this.line = { pointer: event.pointerId, width: this.widths[this.tool], eraser, points: [this.place(event)] }
    this.paintLine(0)
  }

  continueLine(event) {
    if (event.pointerId !== this.line?.pointer) return
    event.stopPropagation()
    const from = this.line.points.length - 1
    const steps = event.getCoalescedEvents?.() ?? []
    for (const step of steps.length ? steps : [event]) this.line.points.push(this.place(step))
    this.paintLine(from)
  }

  endLine(event) {
    if (event.pointerId !== this.line?.pointer) return
    const line = finished(this.line)
    this.line = null
    this.changeSheet([...this.sheet, line, ...(this.mirror ? [mirrored(line)] : [])])
  }

  dropLine(event) {
    if (event.pointerId !== this.line?.pointer) return
    this.line = null
    this.show()
  }

  paintLine(from) {
    const context = this.surface.getContext('2d')
    paintStroke(context, this.line, from)
    if (this.mirror) paintStroke(context, mirrored(this.line), from)
  }

  // ------------------------------------------------------------------------------------------------- keys and listeners

  shortcut({ key, ctrlKey, metaKey, altKey, shiftKey }) {
    if (altKey) return null
    if (ctrlKey || metaKey) {
      return { z: () => (shiftKey ? this.redo() : this.undo()), y: () => this.redo() }[key.toLowerCase()]
    }
    const actions = {
      p: () => this.setTool('pen'),
      e: () => this.setTool('eraser'),
      m: () => this.toggleMirror(),
      n: () => this.addSheet(),
      d: () => this.addSheet(this.sheet),
      '[': () => this.stepWidth(-1),
      ']': () => this.stepWidth(1),
      PageUp: () => this.showSheet(this.current - 1),
      PageDown: () => this.showSheet(this.current + 1),
      Delete: () => this.clear(),
      Backspace: () => this.clear()
    }
    return actions[key.length === 1 ? key.toLowerCase() : key]
  }

  onKey(event) {
    if (event.target === this.range && ['Delete', 'Backspace', 'PageUp', 'PageDown'].includes(event.key)) return
    const action = this.shortcut(event)
    if (!action) return
    event.preventDefault()
    event.stopPropagation()
    if (!this.line) action()
  }

  listen() {
    const { root, surface } = this
    surface.addEventListener('pointerdown', (event) => this.startLine(event))
    surface.addEventListener('pointermove', (event) => this.continueLine(event))
    surface.addEventListener('pointerup', (event) => this.endLine(event))
    surface.addEventListener('lostpointercapture', (event) => this.endLine(event)) // the pad was removed from the page
    surface.addEventListener('pointercancel', (event) => this.dropLine(event))
    root.addEventListener('keydown', (event) => this.onKey(event))
    root.addEventListener('mousedown', (event) => {
      if (event.target === this.range) return
      event.preventDefault() // else the browser moves the focus
      this.keys.focus({ preventScroll: true }) // a text field: ComfyUI leaves Ctrl+Z and Delete to it
    })
    root.addEventListener('paste', (event) => {
      if (!this.takeFile(event.clipboardData?.files)) return
      event.preventDefault()
      event.stopPropagation()
    })
    root.addEventListener('dragover', (event) => {
      event.preventDefault()
      event.stopPropagation()
      root.classList.add('dropping')
    })
    root.addEventListener('dragleave', () => root.classList.remove('dropping'))
    root.addEventListener('drop', (event) => {
      event.preventDefault()
      event.stopPropagation()
      root.classList.remove('dropping')
      if (!this.takeFile(event.dataTransfer?.files)) this.warn(t('Only a picture file can be traced.'))
    })
  }

  // --------------------------------------------------------------------------------------------------------- the page

  build() {
    this.root.classList.add('gansketching-pad')
    this.root.innerHTML = `
      <input class="keys" readonly inputmode="none" aria-label="${t('Sketch Pad: keyboard shortcuts')}">
      <div class="bar" role="toolbar" aria-label="${t('Drawing tools')}"></div>
      <div class="stage"><div class="paper"><img class="reference" alt="" hidden><div class="axis" hidden></div>
        <div class="invitation">${t('Draw here')}</div>
        <canvas class="surface" width="${PIXELS}" height="${PIXELS}" aria-label="${t('Sheet to draw on')}"></canvas></div></div>
      <div class="message" role="status" hidden></div>
      <div class="strip" role="list" aria-label="${t('Sheets')}"></div>
      <div class="bar" role="toolbar" aria-label="${t('Sheets')}"></div>
      <input class="file" type="file" accept="image/*" hidden>`
    for (const name of ['keys', 'surface', 'reference', 'axis', 'invitation', 'message', 'strip', 'file']) {
      this[name === 'reference' ? 'picture' : name] = this.root.querySelector(`.${name}`)
    }
    this.buildTools(...this.root.querySelectorAll('.bar'))
    this.file.addEventListener('change', () => {
      this.takeFile(this.file.files)
      this.file.value = ''
    })
  }

  buildTools(tools, sheets) {
    this.buttons = {}
    const add = (bar, name, title, action) => {
      const button = makeButton(title, ICONS[name], action)
      this.buttons[name] = button
      bar.append(button)
    }
    const gap = () => Object.assign(document.createElement('div'), { className: 'gap' })
    add(tools, 'pen', t('Pen (P)'), () => this.setTool('pen'))
    add(tools, 'eraser', t('Eraser (E)'), () => this.setTool('eraser'))
    this.range = Object.assign(document.createElement('input'), { type: 'range', min: 0, max: WIDTHS.length - 1 })
    this.range.setAttribute('aria-label', t('Width'))
    this.range.addEventListener('input', () => this.setWidth(WIDTHS[this.range.value]))
    tools.append(this.range)
    add(tools, 'mirror', t('Mirrored drawing (M)'), () => this.toggleMirror())
    add(tools, 'picture', '', () => this.toggleReference())
    tools.append(gap())
    add(tools, 'undo', t('Undo (Ctrl+Z)'), () => this.undo())
    add(tools, 'redo', t('Redo (Ctrl+Shift+Z)'), () => this.redo())
    add(tools, 'clear', t('Clear the sheet (Delete)'), () => this.clear())
    add(sheets, 'add', t('New sheet (N)'), () => this.addSheet())
    add(sheets, 'duplicate', t('Duplicate the sheet (D)'), () => this.addSheet(this.sheet))
    add(sheets, 'remove', t('Remove the sheet'), () => this.removeSheet())
    sheets.append(gap())
    add(sheets, 'anew', t('New drawing: one blank sheet instead of all'), () => this.startAnew())
    this.buttons.anew.classList.add('anew')
    this.buttons.anew.append(t('New drawing'))
  }

  /** Show the drawing with a text below it, as one of something that went wrong. */
  warn(text) {
    this.show(text)
    this.message.classList.add('warning')
  }

  show(message = '') {
    paint(this.surface, this.sheet)
    this.message.textContent = message
    this.message.hidden = !message
    this.message.classList.remove('warning')
    this.axis.hidden = !this.mirror
    const { pen, eraser, mirror, picture, undo, redo, add, duplicate, remove, anew } = this.buttons
    press(pen, this.tool === 'pen')
    press(eraser, this.tool === 'eraser')
    press(mirror, this.mirror)
    const url = this.reference()
    press(picture, Boolean(url))
    name(picture, url ? t('Take the picture away') : t('Picture to trace: drop or paste one, or choose a file'))
    this.picture.hidden = !url
    if (url) this.picture.src = url
    this.invitation.hidden = Boolean(url) || this.sheet.length > 0
    undo.disabled = !this.past.length
    redo.disabled = !this.future.length
    add.disabled = duplicate.disabled = this.sheets.length >= MAX_SHEETS
    remove.disabled = anew.disabled = this.sheets.length === 1 && !this.sheet.length
    this.range.value = WIDTHS.findIndex((width) => width >= this.widths[this.tool])
    this.range.title = t('Width ([ and ]): {width} of {side}', { width: this.widths[this.tool], side: UNITS })
    this.showSheets()
  }

  /** Thumbnails are painted only for sheets that changed. */
  showSheets() {
    const { strip } = this
    while (strip.children.length > this.sheets.length) strip.lastChild.remove()
    this.sheets.forEach((sheet, k) => {
      if (!strip.children[k]) strip.append(this.makeThumbnail(k))
      const thumbnail = strip.children[k]
      thumbnail.setAttribute('aria-current', k === this.current)
      if (thumbnail.strokes === sheet) return
      thumbnail.strokes = sheet
      paint(thumbnail.querySelector('canvas'), sheet)
    })
    const now = strip.children[this.current]
    const hidden = now.offsetLeft < strip.scrollLeft || now.offsetLeft + now.offsetWidth > strip.scrollLeft + strip.clientWidth
    if (hidden) strip.scrollLeft = now.offsetLeft - strip.clientWidth / 2
  }

  makeThumbnail(number) {
    const content = `<canvas width="${THUMBNAIL}" height="${THUMBNAIL}"></canvas><span>${number + 1}</span>`
    const button = makeButton(t('Sheet {number} (Page Up, Page Down)', { number: number + 1 }), content, () => this.showSheet(number))
    button.classList.add('sheet')
    button.setAttribute('role', 'listitem')
    return button
  }
}

function makeButton(title, content, action) {
  const button = document.createElement('button')
  button.type = 'button'
  button.innerHTML = content
  name(button, title)
  button.addEventListener('click', action)
  return button
}

function name(button, title) {
  button.title = title
  button.setAttribute('aria-label', title)
}

function press(button, pressed) {
  button.setAttribute('aria-pressed', pressed)
}
