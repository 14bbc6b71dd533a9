// The texts of these scripts in the user's language. tools/locales.py makes texts.js, and finds the texts by the calls of t.

import { TEXTS } from './texts.js'

let askLanguage = () => 'en'

/** ask(): the user's language when a text is needed, as ComfyUI names it: "zh-TW". */
export function useLanguage(ask) {
  askLanguage = ask
}

/** An English text in the user's language, or as it is. "{name}" in it stands for values.name. */
export function t(text, values = {}) {
  const translation = TEXTS[askLanguage()]?.[text] ?? text
  return translation.replace(/\{(\w+)\}/g, (_, name) => values[name])
}
