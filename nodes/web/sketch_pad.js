// The widget of the Sketch Pad node. The editor itself, sketch_pad/editor.js, is independent of ComfyUI.

import { app } from '../../scripts/app.js'
import { showOwn } from './own_elements.js'
import { SketchEditor } from './sketch_pad/editor.js'

const SMALLEST = [360, 430] // of the pad, in pixels of the graph

app.registerExtension({
  name: 'gansketching.SketchPad',
  getCustomWidgets() {
    return { GANSKETCHING_STROKES: makePad }
  }
})

function makePad(node, inputName, inputData) {
  const element = document.createElement('div')
  const editor = new SketchEditor(element, { value: inputData[1]?.default, onChange: () => rememberForUndo(widget) })
  const widget = node.addDOMWidget(inputName, 'GANSKETCHING_STROKES', element, {
    getValue: () => editor.getValue(),
    setValue: (value) => editor.setValue(value),
    getMinHeight: () => SMALLEST[1],
    hideOnZoom: false
  })
  showOwn(node, widget)
  passOn(element)
  showReferencesOfRuns(node, editor)
  return { widget, minWidth: SMALLEST[0], minHeight: SMALLEST[1] }
}

/** ComfyUI watches only its own canvas for changes, so a finished line is reported to its undo history. */
function rememberForUndo(widget) {
  widget?.callback?.(widget.value)
  const tracker = app.extensionManager?.workflow?.activeWorkflow?.changeTracker
  if (tracker?.captureCanvasState) tracker.captureCanvasState()
  else tracker?.checkState?.()
}

/** In the classic renderer the pad lies over the graph: the wheel and the middle button go to the graph. */
function passOn(element) {
  const isClassic = () => !window.LiteGraph?.vueNodesMode
  const isMiddle = ({ button, buttons }) => button === 1 || (buttons & 4) !== 0
  element.addEventListener('wheel', (event) => isClassic() && app.canvas.processMouseWheel(event))
  element.addEventListener('pointerdown', (event) => isClassic() && isMiddle(event) && app.canvas.processMouseDown(event))
  element.addEventListener('pointermove', (event) => isClassic() && isMiddle(event) && app.canvas.processMouseMove(event))
  element.addEventListener('pointerup', (event) => isClassic() && isMiddle(event) && app.canvas.processMouseUp(event))
}

function showReferencesOfRuns(node, editor) {
  const before = node.onExecuted
  node.onExecuted = function (output) {
    before?.apply(this, arguments)
    const pictures = (output?.gansketching_reference ?? []).map(({ picture }) => picture)
    editor.setReferences(pictures)
    if (pictures.length && editor.sheets.every((sheet) => !sheet.length)) editor.show('Trace the picture, then run again.')
  }
}
