/**
 * The outcome of some work, or the reason of a signal as soon as that is aborted: as `fetch` does it. The work, which
 * others may wait for too, goes on; with a signal that is aborted already it does not begin.
 */
export function unlessAborted<Result>(
  signal: AbortSignal | null | undefined,
  work: () => Promise<Result>,
): Promise<Result> {
  if (!signal) return work()
  return new Promise((resolve, reject) => {
    // Browsers before 2022 give no reason.
    const abort = () => reject(signal.reason ?? new DOMException('The call was aborted', 'AbortError'))
    if (signal.aborted) return abort()
    signal.addEventListener('abort', abort)
    work()
      .then(resolve, reject)
      .finally(() => signal.removeEventListener('abort', abort))
  })
}
