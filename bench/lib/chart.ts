import { mkdirSync, writeFileSync } from 'node:fs'

/** Pictures for the documents: SVG as text, readable on light and on dark pages. */

/** The lowest and the highest figure of all rounds, drawn as an error bar. */
type Range = readonly [lowest: number, highest: number]

interface Bar {
  label: string
  value: number
  range?: Range
  /** Whether it is ours, and not what it is compared with. */
  ours?: boolean
}

interface Point {
  x: number
  y: number
  range?: Range
}

export const rangeOf = (figures: number[]): Range => [Math.min(...figures), Math.max(...figures)]

const width = 760
const left = 300
const right = 90

const graphs = new URL('../../../docs/graphs/', import.meta.url)

/** Puts a picture where the documents show it. */
export function draw(name: string, picture: string): void {
  mkdirSync(graphs, { recursive: true })
  writeFileSync(new URL(`${name}.svg`, graphs), picture)
}

/** Horizontal bars, from zero. */
export function barChart(title: string, bars: Bar[], unit: string): string {
  const most = Math.max(...bars.flatMap(({ value, range = [] }) => [value, ...range]))
  const rows = bars.map(({ label, value, range, ours }, index) => {
    const y = 64 + index * 34
    const lengthOf = (figure: number) => (figure / most) * (width - left - right)
    const spread = range?.map((figure) => ({ x: left + lengthOf(figure), y: y + 11 })) ?? []
    return [
      `<text x="${left - 12}" y="${y + 16}" text-anchor="end">${escapeText(label)}</text>`,
      `<rect class="${ours ? 'ours' : 'theirs'}" x="${left}" y="${y}" width="${lengthOf(value).toFixed(1)}" height="22" rx="3"/>`,
      ...errorBar(spread),
      `<text x="${(left + lengthOf(range?.[1] ?? value) + 8).toFixed(1)}" y="${y + 16}">${short(value)} ${unit}</text>`,
    ].join('\n')
  })
  return picture(title, 64 + bars.length * 34 + 12, rows)
}

interface Axes {
  x: string
  y: string
}

/** A line through measured points, and a second, dashed one to compare it with. */
export function lineChart(title: string, points: Point[], compared: Point[], { x, y }: Axes): string {
  const height = 400
  const [from, to, top, bottom] = [70, width - 40, 80, height - 56]
  const all = [...points, ...compared]
  const highest = Math.max(...all.flatMap((point) => [point.y, ...(point.range ?? [])]))
  const [mostX, mostY] = [Math.max(...all.map((point) => point.x)), highest * 1.1]
  const place = (point: Point): Point => ({
    x: from + (point.x / mostX) * (to - from),
    y: bottom - (point.y / mostY) * (bottom - top),
  })
  const path = (line: Point[]) =>
    line
      .map(place)
      .map((at, index) => `${index === 0 ? 'M' : 'L'}${at.x.toFixed(1)} ${at.y.toFixed(1)}`)
      .join(' ')
  const ticks = [0, 0.25, 0.5, 0.75, 1].flatMap((share) => {
    const at = place({ x: mostX * share, y: mostY * share })
    return [
      `<line class="grid" x1="${from}" x2="${to}" y1="${at.y}" y2="${at.y}"/>`,
      `<text x="${from - 8}" y="${at.y + 5}" text-anchor="end">${short(mostY * share)}</text>`,
      `<text x="${at.x}" y="${bottom + 20}" text-anchor="middle">${short(mostX * share)}</text>`,
    ]
  })
  return picture(title, height, [
    ...ticks,
    `<path class="compared" d="${path(compared)}"/>`,
    `<path class="line" d="${path(points)}"/>`,
    ...points.flatMap(({ x, range }) => errorBar(range?.map((y) => place({ x, y })) ?? [])),
    ...points.map(place).map((at) => `<circle class="ours" cx="${at.x.toFixed(1)}" cy="${at.y.toFixed(1)}" r="4"/>`),
    `<text x="${from}" y="${top - 14}">${escapeText(y)}</text>`,
    `<text x="${to}" y="${bottom + 42}" text-anchor="end">${escapeText(x)}</text>`,
  ])
}

/** From the lowest to the highest, with a stroke across at each end. */
export function errorBar([from, to]: Point[]): string[] {
  if (!from || !to) return []
  // Across means upright for a bar that lies, and level for one that stands.
  const [dx, dy] = from.x === to.x ? [5, 0] : [0, 5]
  const line = (one: Point, other: Point) =>
    `M${one.x.toFixed(1)} ${one.y.toFixed(1)}L${other.x.toFixed(1)} ${other.y.toFixed(1)}`
  const across = ({ x, y }: Point) => line({ x: x - dx, y: y - dy }, { x: x + dx, y: y + dy })
  return [`<path class="range" d="${line(from, to)}${across(from)}${across(to)}"/>`]
}

export function picture(title: string, height: number, parts: string[]): string {
  return `<svg xmlns="http://www.w3.org/2000/svg" viewBox="0 0 ${width} ${height}" role="img" aria-label="${escapeText(title)}">
<style>
svg { background: #fff } text { font: 14px system-ui, sans-serif; fill: #1f2328 } .title { font-weight: 600; font-size: 16px } .group { font-weight: 600 }
.ours { fill: #0969da } .theirs { fill: #8c959f } .grid { stroke: #d8dee4 }
.line { fill: none; stroke: #0969da; stroke-width: 2.5 } .range { fill: none; stroke: #1f2328; stroke-width: 1.5 }
.compared { fill: none; stroke: #8c959f; stroke-dasharray: 6 5; stroke-width: 2 }
@media (prefers-color-scheme: dark) {
svg { background: #0d1117 } text { fill: #e6edf3 } .ours { fill: #4493f8 } .theirs { fill: #7d8590 } .grid { stroke: #30363d }
.line { stroke: #4493f8 } .range { stroke: #e6edf3 } .compared { stroke: #7d8590 }
}
</style>
<text class="title" x="16" y="32">${escapeText(title)}</text>
${parts.join('\n')}
</svg>
`
}

export function short(value: number): string {
  return value >= 100 ? value.toFixed(0) : String(Number(value.toFixed(value >= 10 ? 1 : 2)))
}

export function escapeText(text: string): string {
  return text.replaceAll('&', '&amp;').replaceAll('<', '&lt;').replaceAll('"', '&quot;')
}
