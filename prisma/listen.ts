import { setTimeout as sleep } from 'node:timers/promises'
import pg from 'pg'

export interface Listener {
  /** Whether messages are being received now. */
  readonly connected: boolean
  close(): Promise<void>
}

interface ListenerEvents {
  onMessage: (message: string) => void
  /** Called when the connection is lost: from here on messages are missed. */
  onDisconnect: () => void
  onError: (error: Error) => void
}

/** How long to wait before connecting again, in milliseconds. */
const retryAfter = 500

/**
 * Receives what others NOTIFY on a channel of Postgres, on a connection of its own, and connects again whenever that
 * is lost. Postgres delivers at commit, in order of commit, and keeps nothing for those who are not connected.
 */
export function listen(url: string, channel: string, events: ListenerEvents): Listener {
  let closed = false
  let client: pg.Client | undefined
  let connected = false

  const loop = (async () => {
    while (!closed) {
      client = new pg.Client({
        connectionString: url,
        keepAlive: true,
        connectionTimeoutMillis: 2_000,
        application_name: 'sallyport',
      })
      const ended = new Promise<void>((resolve) => client?.once('end', resolve))
      client.on('error', events.onError)
      client.on('notification', ({ payload = '' }) => events.onMessage(payload))
      try {
        await client.connect()
        await client.query(`LISTEN ${client.escapeIdentifier(channel)}`)
        connected = true
        await ended
        events.onDisconnect()
      } catch (error) {
        events.onError(error as Error)
        // Not waited for: on a connection that never was, it may not come to an end.
        client.end().catch(() => {})
      }
      connected = false
      if (!closed) await sleep(retryAfter)
    }
  })()

  return {
    get connected() {
      return connected
    },
    async close() {
      closed = true
      client?.end().catch(() => {})
      await loop
    },
  }
}
