/** How many wait for one turn, and for how many milliseconds each of them does. */
const most = 50
const longest = 5_000

export type TakeTurn = <Outcome>(of: string, work: () => Promise<Outcome>) => Promise<Outcome>

/**
 * Work of one kind comes one after the other in this process, in the order in which it was asked for: passwords of one
 * person from one place. So each finds what became of the one before, and right ones that come at the same moment, such
 * as those of tests that share a user, are not taken for guesses.
 *
 * @param busy what is thrown when too many wait already, or it was waited for too long
 */
export function createTurns(busy: () => Error): TakeTurn {
  const queues = new Map<string, (() => void)[]>()
  return async (of, work) => {
    const queue = queues.get(of)
    if (queue && queue.length >= most) throw busy()
    const came = performance.now()
    if (queue) await new Promise<void>((resolve) => queue.push(resolve))
    else queues.set(of, [])
    try {
      if (performance.now() - came > longest) throw busy()
      return await work()
    } finally {
      const next = queues.get(of)?.shift()
      if (next) next()
      else queues.delete(of)
    }
  }
}
