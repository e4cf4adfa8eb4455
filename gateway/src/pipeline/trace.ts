import { randomUUID } from 'node:crypto'
import type { IsTrusted } from './request-context.ts'

/** version-traceid-parentid-flags; the ids are not all zero, and version ff does not exist (W3C Trace Context). */
const traceparent = /^(?!ff)[0-9a-f]{2}-(?!0{32})[0-9a-f]{32}-(?!0{16})[0-9a-f]{16}-[0-9a-f]{2}$/

const uuid = /^[0-9a-f]{8}-[0-9a-f]{4}-4[0-9a-f]{3}-[0-9a-f]{4}-[0-9a-f]{12}$/

/** An id that a proxy of ours may have given a request. */
const requestId = /^[\w.-]{1,64}$/

/**
 * The `traceparent` a request came with, if it is one. Else a new one: the trace has the request's own id, so that one
 * finds the other, and it begins here, so any span id will do.
 */
export function traceOf(sent: string | undefined, id: string): string {
  if (sent !== undefined && traceparent.test(sent)) return sent
  const trace = (uuid.test(id) ? id : randomUUID()).replaceAll('-', '')
  return `00-${trace}-${trace.slice(0, 16)}-00`
}

/** The id of a request: a proxy's in front of us, if we trust who sends it, for it is an identity header; else new. */
export function requestIdOf(sent: string | undefined, peer: string, isTrusted: IsTrusted): string {
  if (sent !== undefined && requestId.test(sent) && isTrusted(peer)) return sent
  return randomUUID()
}
