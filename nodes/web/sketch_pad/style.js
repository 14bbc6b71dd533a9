// The style of the Sketch Pad: ComfyUI's colours inside ComfyUI, dark ones elsewhere.

const CSS = `
.gansketching-pad { display: flex; flex-direction: column; gap: 6px; box-sizing: border-box; width: 100%; height: 100%;
  min-height: 0; padding: 6px; border-radius: 8px; background: var(--comfy-input-bg, #222);
  color: var(--input-text, #ddd); font: 12px/1.3 system-ui, sans-serif; user-select: none; -webkit-user-select: none;
  position: relative; outline: 1px solid transparent; }
.gansketching-pad:focus-within { outline: 2px solid var(--p-primary-color, #4a9eff); outline-offset: -1px; }
.gansketching-pad .keys { position: absolute; width: 1px; height: 1px; padding: 0; border: 0; opacity: 0;
  pointer-events: none; }
.gansketching-pad .bar { display: flex; flex-wrap: wrap; align-items: center; gap: 4px; flex: none; }
.gansketching-pad .gap { flex: 1; }
.gansketching-pad button { display: inline-flex; align-items: center; justify-content: center; width: 28px; height: 28px;
  padding: 0; border: 1px solid var(--border-color, #4e4e4e); border-radius: 6px; cursor: pointer; color: inherit;
  background: var(--comfy-menu-bg, #353535); }
.gansketching-pad button.anew { width: auto; gap: 4px; padding: 0 8px; font: inherit; }
.gansketching-pad button:hover:enabled { border-color: var(--descrip-text, #999); }
.gansketching-pad button:focus-visible, .gansketching-pad input:focus-visible {
  outline: 2px solid var(--p-primary-color, #4a9eff); outline-offset: 1px; }
.gansketching-pad button:disabled { opacity: 0.35; cursor: default; }
.gansketching-pad button[aria-pressed='true'] { background: var(--p-primary-color, #4a9eff); color: #fff;
  border-color: transparent; }
.gansketching-pad button svg { width: 16px; height: 16px; fill: none; stroke: currentColor; stroke-width: 1.6;
  stroke-linecap: round; stroke-linejoin: round; pointer-events: none; }
.gansketching-pad input[type='range'] { width: 72px; min-width: 40px; flex: 0 1 72px; margin: 0 2px;
  accent-color: var(--p-primary-color, #4a9eff); }
.gansketching-pad .stage { flex: 1; min-height: 120px; display: grid; place-items: center; container-type: size; }
.gansketching-pad .paper { position: relative; width: min(100cqw, 100cqh); aspect-ratio: 1; background: #fff;
  border-radius: 4px; overflow: hidden; }
.gansketching-pad .paper > * { position: absolute; inset: 0; width: 100%; height: 100%; }
.gansketching-pad .reference { object-fit: contain; opacity: 0.3; pointer-events: none; }
.gansketching-pad .axis { left: 50%; width: 0; border-left: 1px dashed #4a9eff; pointer-events: none; }
.gansketching-pad [hidden] { display: none !important; }
.gansketching-pad .invitation { display: grid; place-items: center; color: #aaa; font-size: 22px; pointer-events: none; }
.gansketching-pad .surface { touch-action: none; cursor: crosshair; }
.gansketching-pad .strip { display: flex; gap: 4px; align-items: center; flex: none; overflow-x: auto; padding: 2px;
  scrollbar-width: thin; width: 0; min-width: 100%; box-sizing: border-box; /* however many there are, the pad keeps its width */ }
.gansketching-pad .strip button.sheet { flex: none; width: 44px; height: 44px; background: #fff; position: relative;
  overflow: hidden; padding: 0; border-width: 2px; }
.gansketching-pad .strip button.sheet[aria-current='true'] { border-color: var(--p-primary-color, #4a9eff); }
.gansketching-pad .strip canvas { width: 100%; height: 100%; pointer-events: none; }
.gansketching-pad .strip span { position: absolute; left: 2px; top: 0; font-size: 9px; color: #888; }
.gansketching-pad .message { flex: none; }
.gansketching-pad .message.warning { color: var(--error-text, #ff8a80); }
.gansketching-pad.dropping { outline: 2px dashed var(--p-primary-color, #4a9eff); }
`

const svg = (paths) => `<svg viewBox="0 0 16 16" aria-hidden="true">${paths}</svg>`

export const ICONS = {
  pen: svg('<path d="M2.5 13.5l.8-3L11 2.8a1.2 1.2 0 0 1 1.7 0l.5.5a1.2 1.2 0 0 1 0 1.7L5.500 12.700zM9.500 4.300l2.200 2.200"/>'),
  eraser: svg('<path d="M6 13.500L2.600 10.100a1 1 0 0 1 0-1.400L8.700 2.600a1 1 0 0 1 1.400 0l3.300 3.300a1 1 0 0 1 0 1.400L7.200 13.500zM5.500 5.800l4.700 4.700M6 13.500h7.500"/>'),
  mirror: svg('<path d="M8 1.500v13" stroke-dasharray="2 2"/><path d="M5.500 4v8L1.500 12zM10.500 4v8l4 0z"/>'),
  undo: svg('<path d="M5.500 2.500L2.500 5.500l3 3M2.500 5.500h7a4 4 0 0 1 0 8H6"/>'),
  redo: svg('<path d="M10.500 2.500l3 3-3 3M13.500 5.500h-7a4 4 0 0 0 0 8H10"/>'),
  clear: svg('<path d="M2.500 4h11M6.500 4V2.500h3V4M4 4l.700 9.500h6.600L12 4M6.700 6.500v4.500M9.300 6.500v4.500"/>'),
  add: svg('<path d="M8 3v10M3 8h10"/>'),
  duplicate: svg('<rect x="5.500" y="5.500" width="8" height="8" rx="1"/><path d="M3 10.500h-.5v-8h8V3"/>'),
  anew: svg('<path d="M3 2h7l3 3v9H3zM10 2v3h3"/>'),
  remove: svg('<path d="M4 4l8 8M12 4l-8 8"/>'),
  picture: svg('<rect x="2" y="3" width="12" height="10" rx="1"/><circle cx="5.500" cy="6.500" r="1"/><path d="M2.500 12l4-4 3 3 2-2 2.500 2.500"/>')
}

/** Put the rules into the page, once. */
export function addStyle() {
  if (document.getElementById('gansketching-pad-style')) return
  const style = document.createElement('style')
  style.id = 'gansketching-pad-style'
  style.textContent = CSS
  document.head.append(style)
}
