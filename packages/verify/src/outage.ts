/**
 * Something that is tried again until it works.
 *
 * @param report receives the first failure, and not the same again before it was over
 */
export function createOutage(report: (error: unknown) => void) {
  let reported: string | undefined
  return {
    failed(error: unknown): void {
      const reason = reasonOf(error)
      if (reason === reported) return
      reported = reason
      report(error)
    },
    isOver(): void {
      reported = undefined
    },
  }
}

/** What fetch says of a failure, which is in its cause. */
export function reasonOf(error: unknown): string {
  const { message, cause } = error as Error & { cause?: { code?: string; message?: string } }
  return [message, cause?.code ?? cause?.message].filter((part) => part !== undefined).join(': ')
}
