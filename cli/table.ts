import { printable } from './printable.ts'

/** Lines with columns as wide as what is in them; the last is as long as it likes. */
export function tableOf(rows: string[][]): string[] {
  const cells = rows.map((row) => row.map(printable))
  const widths = (cells[0] ?? []).map((_, column) => Math.max(...cells.map((row) => (row[column] as string).length)))
  return cells.map((row) =>
    row
      .map((cell, column) => cell.padEnd(widths[column] as number))
      .join('  ')
      .trimEnd(),
  )
}
