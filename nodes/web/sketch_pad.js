// The widget of the Sketch Pad node. The editor itself, sketch_pad/editor.js, is independent of ComfyUI.

import { addElement, app, passOn, rememberForUndo, whenExecuted } from './frontend.js'
import { t } from './language.js'
import { SketchEditor } from './sketch_pad/editor.js'

const SMALLEST = [360, 470] // of the pad, in pixels of the graph

app.registerExtension({
  name: 'gansketching.SketchPad',
  getCustomWidgets() {
    return { GANSKETCHING_STROKES: makePad }
  }
})

function makePad(node, inputName, inputData) {
  const element = document.createElement('div')
  element.style.minHeight = `${SMALLEST[1]}px` // App Mode gives it no height
  const onChange = () => {
    widget?.callback?.(widget.value)
    rememberForUndo()
  }
  const editor = new SketchEditor(element, { value: inputData[1]?.default, onChange })
  const widget = addElement(node, inputName, element, {
    type: 'GANSKETCHING_STROKES',
    label: t('Draw'),
    height: () => SMALLEST[1],
    value: { get: () => editor.getValue(), set: (value) => editor.setValue(value) }
  })
  passOn(element)
  whenExecuted(node, (output) => showReferences(editor, output?.gansketching_reference ?? []))
  return { widget, minWidth: SMALLEST[0], minHeight: SMALLEST[1] }
}

function showReferences(editor, references) {
  editor.setReferences(references.map(({ picture }) => picture))
  if (references.length && editor.isEmpty()) editor.show(t('Trace the picture, then run again.'))
}
