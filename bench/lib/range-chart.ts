import { errorBar, escapeText, picture, short } from './chart.ts'

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
      const [from, middle, to] = [at(spread.lowest), at(spread.median), at(spread.highest)] as const
      const line = y + 11
      parts.push(
        `<text x="${left - 12}" y="${y + 16}" text-anchor="end">${escapeText(label)}</text>`,
        `<rect class="${ours ? 'ours' : 'theirs'}" x="${left}" y="${y}" width="${(middle - left).toFixed(1)}" height="22" rx="3"/>`,
        ...errorBar([
          { x: from, y: line },
          { x: to, y: line },
        ]),
        `<text x="${(to + 8).toFixed(1)}" y="${y + 16}">${short(spread.median)} ${group.unit}</text>`,
      )
      y += 30
    }
  }
  return picture(title, y + 16, parts)
}
