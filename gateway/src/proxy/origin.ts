import { type Logger, listOrigin, noteRefusedOrigin, Problem } from '@sallyport/chassis'
import type { RequestContext } from '../pipeline/request-context.ts'

/**
 * Checks which page opens a WebSocket, since browsers send no preflight before an upgrade: one of these origins, or of the
 * host that it is opened at.
 *
 * @returns a check that throws 403 ORIGIN_REFUSED for any other
 */
export function createOriginCheck(origins: string[], logger: Logger): (context: RequestContext) => void {
  return ({ header, source }) => {
    const origin = header('origin')
    if (origin === undefined || origins.includes(origin) || isOwn(origin, source.host)) return
    noteRefusedOrigin(origin, listOrigin, logger)
    throw new Problem(403, 'ORIGIN_REFUSED', 'This page may not open this connection')
  }
}

const isOwn = (origin: string, host: string) => URL.canParse(origin) && new URL(origin).host === host
