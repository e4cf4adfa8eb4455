import { holdLock, type Locks } from './platform.ts'

/** Longer than any call of ours may take, so that whoever still holds the lock then has been put to sleep. */
const longestWait = 15_000

/**
 * The lock is kept this long after the outcome is known here. The news goes to the other tabs by other ways than the
 * lock does, and the next holder must have heard it before it looks.
 */
const untilHeard = 100

/**
 * Runs a task while no other tab runs one.
 *
 * @param otherwise what to do if the lock cannot be had, or not in time. By default the task runs without it: the
 *   server gives the same response to two tabs that refresh at once, so a lock that hangs must not keep anybody out.
 */
export function exclusively<Result>(
  locks: Locks | undefined,
  task: () => Promise<Result>,
  otherwise = task,
): Promise<Result> {
  if (!locks) return task()
  return new Promise((resolve, reject) => {
    let hasBegun = false
    const waiting = new AbortController()
    const goOn = () => {
      waiting.abort()
      void begin(otherwise)
    }
    const givingUp = setTimeout(goOn, longestWait)
    // A lock may also be taken away while the task runs, which is no reason to run it twice.
    const begin = async (run: () => Promise<Result>) => {
      if (hasBegun) return
      hasBegun = true
      clearTimeout(givingUp)
      await run().then(resolve, reject)
      await new Promise((heard) => setTimeout(heard, untilHeard))
    }
    void holdLock(locks, waiting.signal, () => begin(task)).then(goOn)
  })
}
