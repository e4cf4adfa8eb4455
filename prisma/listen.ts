import { randomBytes } from 'node:crypto'
import { setTimeout as sleep } from 'node:timers/promises'
import { ConfigurationError } from '@sallyport/chassis'
import { Connection } from './connection.ts'
import { howToKeepSessions, retry } from './database.ts'

export interface Listener {
  /** Whether messages are being received now: not before the connection has proved it. */
  readonly connected: boolean
  close(): Promise<void>
}

interface ListenerOptions {
  onMessage: (message: string) => void
  /**
   * Called with each proof that messages arrive: everything that was committed before `sentAt` has been received.
   *
   * @param sentAt milliseconds, as performance.now() has them
   */
  onProof?: (sentAt: number) => void
  /** Called when the connection is lost, or cannot prove any more that it is not: from here on messages are missed. */
  onDisconnect: () => void
  onError: (error: Error) => void
  /**
   * Sends a NOTIFY, by the connections on which messages are sent. Without it the connection that listens does: that
   * proves that the connection lives, and not that what others send arrives.
   */
  notify?: Notify
}

type Notify = (channel: string, message: string) => Promise<unknown>

/** Milliseconds: until a lost connection is opened again, how often a proof is sent; and how many may be missing. */
const usualTiming = { retryAfter: 500, proveEvery: 1_000, mayMiss: 3 }

/**
 * Receives what others NOTIFY on a channel of Postgres, on a connection of its own, and connects again whenever that
 * is lost. Postgres delivers at commit, in order of commit, and keeps nothing for those who are not connected.
 *
 * A connection can be lost without a sign (a NAT or a load balancer forgets it, a machine is gone), and a pooler may
 * take LISTEN and deliver nothing. So we NOTIFY ourselves, on a second channel that nobody else knows, and a connection
 * on which that does not arrive is dropped and replaced.
 */
export function listen(url: string, channel: string, options: ListenerOptions, timing = usualTiming): Listener {
  const { onMessage, onProof, onDisconnect, onError, notify } = options
  const closing = new AbortController()
  let connected = false

  /** Every client of the database can NOTIFY anything. */
  function pass(message: string): void {
    try {
      onMessage(message)
    } catch (cause) {
      onError(new Error('a message that makes no sense', { cause }))
    }
  }

  async function follow(): Promise<void> {
    const connection = openAlone(url)
    const { stream } = connection.connection
    /** Says goodbye, and waits for nobody to hear it. */
    const drop = () => {
      void connection.end()
      stream.once('finish', () => stream.destroy())
    }
    closing.signal.addEventListener('abort', drop)
    const ended = new Promise<void>((resolve) => connection.once('end', resolve))
    const proofs = `${channel}_${randomBytes(8).toString('hex')}`
    const send = notify ?? ((to, message) => connection.query('SELECT pg_notify($1, $2)', [to, message]))
    let missing = 0
    let unsent: unknown

    connection.on('error', onError)
    connection.on('notification', ({ channel: from, payload = '' }) => {
      if (from !== proofs) return pass(payload)
      missing = 0
      connected = true
      onProof?.(Number(payload))
    })
    const prove = () => {
      if (missing === timing.mayMiss) {
        onError(new Error(explain(connected, unsent), { cause: unsent }))
        return drop()
      }
      missing += 1
      unsent = undefined
      send(proofs, String(performance.now())).catch((error: unknown) => {
        unsent = error
      })
    }

    let timer: NodeJS.Timeout | undefined
    try {
      await connection.connect()
      for (const name of [channel, proofs]) await connection.query(`LISTEN ${connection.escapeIdentifier(name)}`)
      prove()
      timer = setInterval(prove, timing.proveEvery)
      await ended
    } finally {
      clearInterval(timer)
      closing.signal.removeEventListener('abort', drop)
      drop()
      if (connected) onDisconnect()
      connected = false
    }
  }

  async function followForever(): Promise<void> {
    while (!closing.signal.aborted) {
      await follow().catch((error) => closing.signal.aborted || onError(error))
      await sleep(timing.retryAfter, undefined, { signal: closing.signal }).catch(() => {})
    }
  }
  const following = followForever()

  return {
    get connected() {
      return connected
    },
    async close() {
      closing.abort()
      await following
    },
  }
}

/** A connection of its own, for what a pool has no use for. */
const openAlone = (url: string) =>
  new Connection({
    connectionString: url,
    keepAlive: true,
    connectionTimeoutMillis: 2_000,
    query_timeout: 4_000,
    application_name: 'sallyport',
  })

const silent = 'what is sent by NOTIFY does not arrive where it is LISTENed for'

/** Why a connection is given up on which no proof arrives. */
function explain(proved: boolean, unsent: unknown): string {
  if (unsent) return `nothing could be sent to the connection that listens (${(unsent as Error).message})`
  if (proved) return 'the connection that listens has fallen silent'
  return `${silent}; ${howToKeepSessions}`
}

/** Milliseconds for a message to arrive that was sent. */
const arrival = 4_000

/**
 * Waits until what is sent by NOTIFY arrives on a connection of an address: it does where a connection stays with the
 * client that LISTENs, and the address leads to the database of those who send.
 *
 * @param notify as others send
 * @throws ConfigurationError if it does not within so many seconds, saying what to correct
 */
export function waitForSessions(url: string, seconds: number, notify: Notify): Promise<void> {
  return retry(seconds, async () => {
    const listening = openAlone(url)
    const own = `sallyport_${randomBytes(8).toString('hex')}`
    let timer: NodeJS.Timeout | undefined
    try {
      await listening.connect().catch((cause) => {
        throw new ConfigurationError(
          `the database does not answer for what listens (${cause.message}); correct DATABASE_DIRECT_URL, or DATABASE_URL where that is not set`,
          { cause },
        )
      })
      await listening.query(`LISTEN ${own}`)
      const heard = new Promise<void>((resolve, reject) => {
        listening.once('notification', () => resolve())
        timer = setTimeout(reject, arrival, new ConfigurationError(`${silent}; ${howToKeepSessions}`))
      })
      await Promise.all([heard, notify(own, '')])
    } finally {
      clearTimeout(timer)
      void listening.end()
    }
  })
}
