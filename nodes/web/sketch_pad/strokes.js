// The value of a Sketch Pad: reading, writing, simplifying and painting strokes. gansketching_core/sketches/pad.py
// documents the format and paints the same geometry.
//
// A stroke here is { width, points: [{ x, y, f }, ...], eraser }: x and y in units (0 to 1023), f in percent of width.

import { t } from '../language.js'

export const UNITS = 1024
export const MAX_WIDTH = 256
export const MAX_SHEETS = 30
export const MAX_STROKES = 5000 // of all sheets, as are the points
export const MAX_POINTS = 60000
const MAX_CHARACTERS = 1000000
const TOLERANCE = 0.75 // units that a simplified line may be away from the drawn one

const isWhole = (value, low, high) => Number.isInteger(value) && value >= low && value <= high

/** The sheets of a value. Throws an Error if it is none. */
export function parse(text) {
  if (typeof text !== 'string' || text.length > MAX_CHARACTERS) throw new Error(t('The drawing is too long.'))
  const data = JSON.parse(text)
  if (data?.v !== 1) throw new Error(t('The drawing is from a newer version of GANSketching.'))
  const { sheets } = data
  if (!Array.isArray(sheets) || !isWhole(sheets.length, 1, MAX_SHEETS)) throw new Error(t('The drawing has no sheets.'))
  const read = sheets.map((sheet) => sheet.map(parseStroke))
  if (isTooMuch(read)) throw new Error(t('The drawing has too many strokes.'))
  return read
}

function parseStroke({ w, p, f, e = 0 }) {
  const fits =
    isWhole(w, 1, MAX_WIDTH) &&
    Array.isArray(p) &&
    p.length >= 2 &&
    p.length % 2 === 0 &&
    p.every((value) => isWhole(value, 0, UNITS - 1)) &&
    (f === undefined || (f.length === p.length / 2 && f.every((value) => isWhole(value, 1, 100)))) &&
    isWhole(e, 0, 1)
  if (!fits) throw new Error(t('A stroke of the drawing is damaged.'))
  const points = []
  for (let k = 0; k < p.length; k += 2) points.push({ x: p[k], y: p[k + 1], f: f ? f[k / 2] : 100 })
  return { width: w, points, eraser: e === 1 }
}

export function serialise(sheets) {
  return JSON.stringify({ v: 1, sheets: sheets.map((sheet) => sheet.map(serialiseStroke)) })
}

function serialiseStroke({ width, points, eraser }) {
  const stroke = { w: width, p: points.flatMap(({ x, y }) => [x, y]) }
  if (points.some(({ f }) => f !== 100)) stroke.f = points.map(({ f }) => f)
  if (eraser) stroke.e = 1
  return stroke
}

export function isTooMuch(sheets) {
  const strokes = sheets.flat()
  const points = strokes.reduce((sum, stroke) => sum + stroke.points.length, 0)
  return strokes.length > MAX_STROKES || points > MAX_POINTS
}

/** A drawn line as it is saved: whole numbers, and only the points that its shape needs. */
export function finished({ width, points, eraser }) {
  const clamp = (value) => Math.min(Math.max(Math.round(value), 0), UNITS - 1)
  const kept = simplified(points, width).map(({ x, y, f }) => ({ x: clamp(x), y: clamp(y), f: Math.round(f) }))
  return { width, eraser, points: kept.filter((p, k) => k === 0 || p.x !== kept[k - 1].x || p.y !== kept[k - 1].y) }
}

/** Ramer-Douglas-Peucker on (x, y, half the width), so that changes of width are kept as well as corners. */
function simplified(points, width) {
  const place = ({ x, y, f }) => [x, y, (width * f) / 200]
  const keep = new Set([0, points.length - 1])
  const todo = [[0, points.length - 1]]
  while (todo.length) {
    const [first, last] = todo.pop()
    let farthest = TOLERANCE
    let middle = -1
    for (let k = first + 1; k < last; k++) {
      const distance = toSegment(place(points[k]), place(points[first]), place(points[last]))
      if (distance > farthest) [farthest, middle] = [distance, k]
    }
    if (middle < 0) continue
    keep.add(middle)
    todo.push([first, middle], [middle, last])
  }
  return points.filter((_, k) => keep.has(k))
}

function toSegment(point, from, to) {
  const along = to.map((value, k) => value - from[k])
  const square = along.reduce((sum, value) => sum + value * value, 0)
  const dot = along.reduce((sum, value, k) => sum + value * (point[k] - from[k]), 0)
  const share = square ? Math.min(Math.max(dot / square, 0), 1) : 0
  return Math.hypot(...point.map((value, k) => value - from[k] - share * along[k]))
}

export function mirrored(stroke) {
  return { ...stroke, points: stroke.points.map((point) => ({ ...point, x: UNITS - 1 - point.x })) }
}

/** Paint strokes on a transparent canvas: black ink; the eraser makes it transparent again. */
export function paint(canvas, strokes) {
  const context = canvas.getContext('2d')
  context.clearRect(0, 0, canvas.width, canvas.height)
  for (const stroke of strokes) paintStroke(context, stroke, 0)
}

/** Paint a stroke from point number `first` on: discs at the points, joined by bands, filled as one shape. */
export function paintStroke(context, { width, points, eraser }, first) {
  const scale = context.canvas.width / UNITS
  const spots = points.slice(first).map(({ x, y, f }) => [(x + 0.5) * scale, (y + 0.5) * scale, (width * f * scale) / 200])
  context.save()
  context.globalCompositeOperation = eraser ? 'destination-out' : 'source-over'
  context.fillStyle = '#000'
  context.beginPath()
  spots.forEach(([x, y, r], k) => {
    context.moveTo(x + r, y)
    context.arc(x, y, r, 0, 2 * Math.PI)
    if (k > 0) addBand(context, spots[k - 1], spots[k])
  })
  context.fill()
  context.restore()
}

/** The band has the same orientation as the discs, so that overlaps stay filled. */
function addBand(context, [x0, y0, r0], [x1, y1, r1]) {
  const length = Math.hypot(x1 - x0, y1 - y0)
  if (!length) return
  const across = (y1 - y0) / length
  const down = (x0 - x1) / length
  context.moveTo(x0 + across * r0, y0 + down * r0)
  context.lineTo(x1 + across * r1, y1 + down * r1)
  context.lineTo(x1 - across * r1, y1 - down * r1)
  context.lineTo(x0 - across * r0, y0 - down * r0)
  context.closePath()
}
