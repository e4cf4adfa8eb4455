import type { FastifyBaseLogger } from 'fastify'
import { Counter } from 'prom-client'

/** Milliseconds that a count of lines is for. */
const window = 1_000

const leftOut = new Counter({
  name: 'sallyport_log_lines_left_out_total',
  help: 'Requests that failed or were refused and have no line in the log, as there were too many of one code',
})

/** The windows that are open, by the code of the problem. Codes are ours: no client can make one up. */
const open = new Map<string, { logged: number; leftOut: number }>()

/**
 * Whether one more problem with this code may have a line in the log. What is sent without end must not be logged
 * without end: of a flood, the first lines of each second show what it is and where it comes from. How many were left
 * out is logged when their second is over.
 *
 * @param most lines a second
 */
export function isLogged(code: string, most: number, log: Pick<FastifyBaseLogger, 'warn'>): boolean {
  let count = open.get(code)
  if (!count) {
    count = { logged: 0, leftOut: 0 }
    open.set(code, count)
    setTimeout(close, window, code, count, log).unref()
  }
  if (count.logged === most) {
    count.leftOut += 1
    leftOut.inc()
    return false
  }
  count.logged += 1
  return true
}

function close(code: string, { leftOut }: { leftOut: number }, log: Pick<FastifyBaseLogger, 'warn'>): void {
  open.delete(code)
  if (leftOut > 0)
    log.warn({ event: 'requests_failed', code, left_out: leftOut }, 'more requests failed than the log has lines for')
}
