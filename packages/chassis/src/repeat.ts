import { setTimeout as sleep } from 'node:timers/promises'

interface Repeated {
  /** Milliseconds from the end of one run to the beginning of the next. */
  pause: number
  /** Milliseconds until the first; as long as a pause if not given. */
  first?: number
  onError: (error: unknown) => void
}

/**
 * Does something again and again, one run after the other: none overlaps another one, however long it takes.
 *
 * @returns how to stop; it resolves once nothing is being done any more
 */
export function repeat(step: () => Promise<void>, { pause, first = pause, onError }: Repeated): () => Promise<void> {
  const stopping = new AbortController()

  async function run(): Promise<void> {
    for (let wait = first; ; wait = pause) {
      await sleep(wait, undefined, { signal: stopping.signal }).catch(() => {})
      if (stopping.signal.aborted) return
      await step().catch(onError)
    }
  }
  const running = run()

  return async () => {
    stopping.abort()
    await running
  }
}
