/** Bars with what they vary by, as SVG for the documents; readable on light and on dark pages. */

export interface Spread {
  lowest: number
  median: number
  highest: number
}

export interface RangeBar {
  label: string
  spread: Spread
  /** Whether it is ours, and not what it is compared with. */
  ours?: boolean
}

const width = 760
const left = 340
const right = 150

/** Groups of horizontal bars from zero to the median, with a whisker from the lowest figure to the highest. Each group has its own scale. */
export function rangeChart(title: string, groups: { title: string; unit: string; bars: RangeBar[] }[]): string {
  let y = 52
  const parts: string[] = []
  for (const group of groups) {
    const most = Math.max(...group.bars.map(({ spread }) => spread.highest))
    const at = (value: number) => left + (value / most) * (width - left - right)
    y += 22
    parts.push(`<text class="group" x="16" y="${y}">${escapeText(group.title)}</text>`)
    y += 12
    for (const { label, spread, ours } of group.bars) {
      const [from, middle, to] = [at(spread.lowest), at(spread.median), at(spread.highest)].map((x) => x.toFixed(1))
      const [top, line, bottom] = [y + 5, y + 11, y + 17]
      parts.push(
        `<text x="${left - 12}" y="${y + 16}" text-anchor="end">${escapeText(label)}</text>`,
        `<rect class="${ours ? 'ours' : 'theirs'}" x="${left}" y="${y}" width="${(Number(middle) - left).toFixed(1)}" height="22" rx="3"/>`,
        `<path class="whisker" d="M${from} ${line}H${to}M${from} ${top}V${bottom}M${to} ${top}V${bottom}"/>`,
        `<text x="${Number(to) + 8}" y="${y + 16}">${short(spread.median)} ${group.unit}</text>`,
      )
      y += 30
    }
  }
  return `<svg xmlns="http://www.w3.org/2000/svg" viewBox="0 0 ${width} ${y + 16}" role="img" aria-label="${escapeText(title)}">
<style>
svg { background: #fff } text { font: 14px system-ui, sans-serif; fill: #1f2328 } .title { font-weight: 600; font-size: 16px } .group { font-weight: 600 }
.ours { fill: #0969da } .theirs { fill: #8c959f } .whisker { fill: none; stroke: #1f2328; stroke-width: 1.5 }
@media (prefers-color-scheme: dark) {
svg { background: #0d1117 } text { fill: #e6edf3 } .ours { fill: #4493f8 } .theirs { fill: #7d8590 } .whisker { stroke: #e6edf3 }
}
</style>
<text class="title" x="16" y="32">${escapeText(title)}</text>
${parts.join('\n')}
</svg>
`
}

function short(value: number): string {
  return value >= 100 ? value.toFixed(0) : String(Number(value.toFixed(value >= 10 ? 1 : 2)))
}

function escapeText(text: string): string {
  return text.replaceAll('&', '&amp;').replaceAll('<', '&lt;').replaceAll('"', '&quot;')
}
