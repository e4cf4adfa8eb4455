import type { EventEmitter } from 'node:events'
import { normalizeIP } from '@fastify/rate-limit'

/**
 * Bounds what each client has open at once: connections, bodies. A client is an address, or of an IPv6 address the /64
 * that one subscriber has.
 *
 * @returns notes one more until it closes; false if the client has `most` already
 */
export function openPerClient(most: number): (address: string, opened: EventEmitter) => boolean {
  const open = new Map<string, number>()
  return (address, opened) => {
    const client = normalizeIP(address)
    const others = open.get(client) ?? 0
    if (others >= most) return false
    open.set(client, others + 1)
    opened.once('close', () => {
      const left = (open.get(client) as number) - 1
      if (left === 0) open.delete(client)
      else open.set(client, left)
    })
    return true
  }
}
