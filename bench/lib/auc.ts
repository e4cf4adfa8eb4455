/**
 * The probability that a random figure of the first is larger than a random one of the second, where equal ones count
 * half: 0.5 if nothing tells them apart, 0 or 1 if everything does.
 */
export function auc(first: number[], second: number[]): number {
  const all = [
    ...first.map((figure) => ({ figure, isFirst: true })),
    ...second.map((figure) => ({ figure, isFirst: false })),
  ]
  all.sort((one, other) => one.figure - other.figure)
  let ranks = 0
  for (let at = 0; at < all.length; ) {
    let end = at
    let ofFirst = 0
    while (end < all.length && all[end]?.figure === all[at]?.figure) if (all[end++]?.isFirst) ofFirst += 1
    // The mean of the ranks that equal figures share.
    ranks += ofFirst * ((at + 1 + end) / 2)
    at = end
  }
  return (ranks - (first.length * (first.length + 1)) / 2) / (first.length * second.length)
}

/** Where 95 of 100 samples lie that are drawn from these figures, with replacement, as many as there are. */
export function bootstrapInterval(first: number[], second: number[], rounds = 1_000): [from: number, to: number] {
  const draw = (figures: number[]) => figures.map(() => figures[Math.floor(Math.random() * figures.length)] as number)
  const drawn = Array.from({ length: rounds }, () => auc(draw(first), draw(second))).sort((one, other) => one - other)
  return [drawn[Math.floor(rounds * 0.025)] as number, drawn[Math.floor(rounds * 0.975)] as number]
}
