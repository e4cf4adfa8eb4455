/** The figure that such a share of all figures does not exceed. */
export function quantile(figures: number[], share: number): number {
  const sorted = figures.toSorted((one, other) => one - other)
  return sorted[Math.min(sorted.length - 1, Math.floor(sorted.length * share))] as number
}

export function median(figures: number[]): number {
  return quantile(figures, 0.5)
}
