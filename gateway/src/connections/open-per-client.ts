import type { EventEmitter } from 'node:events'
import { normalizeIP } from '@fastify/rate-limit'
import type { Counts } from '../workers/open-counts.ts'

/**
 * Bounds what each client has open at once: connections, bodies. A client is an address, or of an IPv6 address the /64
 * that one subscriber has.
 *
 * @param kind what is open, as the counts know it
 * @returns notes one more until it closes; false if the client has `most` already
 */
export function openPerClient(
  kind: string,
  most: number,
  counts: Counts,
): (address: string, opened: EventEmitter) => Promise<boolean> {
  return async (address, opened) => {
    const bounds = [{ key: `${kind} ${normalizeIP(address)}`, most }]
    let isOpen = true
    let isCounted = false
    opened.once('close', () => {
      isOpen = false
      if (isCounted) counts.close(bounds)
    })
    isCounted = (await counts.open(bounds)) === -1
    if (isCounted && !isOpen) counts.close(bounds)
    return isCounted
  }
}
