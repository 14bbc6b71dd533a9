// Load Sketches and Load Photos take pictures that are dropped onto the node or chosen with its button: they are uploaded into
// a new folder of ComfyUI's input folder, which the node then loads.

import { api, app, setValue } from './frontend.js'
import { t } from './language.js'

const NODES = {
  GANSketching_LoadSketches: { list: 'folder', name: 'sketches' },
  GANSketching_LoadPhotos: { list: 'source', name: 'photos' }
}
const ENDINGS = ['.png', '.jpg', '.jpeg', '.webp', '.bmp', '.gif', '.tif', '.tiff'] // as gansketching_core/datasets.py

app.registerExtension({
  name: 'gansketching.PictureUpload',
  nodeCreated(node) {
    if (NODES[node.comfyClass]) addUpload(node, NODES[node.comfyClass])
  }
})

function addUpload(node, { list, name }) {
  const button = node.addWidget('button', 'upload', null, () => choose((files) => upload(files)), { serialize: false })
  const invite = () => (button.label = t('Choose pictures, or drop them here'))
  invite()
  button.serialize = false
  node.onDragOver = (event) => [...(event.dataTransfer?.items ?? [])].some(({ kind }) => kind === 'file')
  node.onDragDrop = (event) => {
    const files = pictures(event.dataTransfer?.files)
    if (!files.length) return false
    upload(files)
    return true
  }

  async function upload(files) {
    try {
      const folder = await newFolder(node.comfyClass, list, name)
      for (const [k, file] of files.entries()) {
        button.label = t('Uploading {number} of {count} ...', { number: k + 1, count: files.length })
        node.setDirtyCanvas?.(true, true)
        await send(file, folder)
      }
      await app.refreshComboInNodes?.()
      const widget = node.widgets.find((widget) => widget.name === list)
      if (!widget.options.values.includes(folder)) widget.options.values = [...widget.options.values, folder]
      setValue(widget, folder)
    } catch (error) {
      const toast = { severity: 'error', summary: t('Upload'), detail: error.message, life: 10000 }
      app.extensionManager?.toast?.add(toast)
    } finally {
      invite()
      node.setDirtyCanvas?.(true, true)
    }
  }
}

const pictures = (files) => [...(files ?? [])].filter(({ name }) => ENDINGS.some((end) => name.toLowerCase().endsWith(end)))

function choose(act) {
  const input = Object.assign(document.createElement('input'), { type: 'file', multiple: true, accept: ENDINGS.join() })
  input.addEventListener('change', () => input.files.length && act(pictures(input.files)))
  input.click()
}

/** "sketches 1", "sketches 2" ...: the first that the server does not list yet. */
async function newFolder(type, list, name) {
  const facts = (await (await api.fetchApi(`/object_info/${type}`)).json())[type]
  const known = facts.input.required[list][0]
  let number = 1
  while (known.includes(`${name} ${number}`)) number++
  return `${name} ${number}`
}

async function send(file, folder) {
  const body = new FormData()
  body.append('image', file)
  body.append('type', 'input')
  body.append('subfolder', folder)
  const response = await api.fetchApi('/upload/image', { method: 'POST', body })
  const reason = `${response.status} ${response.statusText}`
  if (!response.ok) throw new Error(t('{name} was not uploaded: {reason}', { name: file.name, reason }))
}
