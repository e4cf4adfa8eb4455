import { type EventStream, type Logger, Problem } from '@sallyport/chassis'
import { type Database, listen, type Statement } from '@sallyport/database'
import type { Revocation, RevocationEvents } from '@sallyport/identity'
import Type from 'typebox'
import Value from 'typebox/value'
import { longestImpersonation } from '../admin/impersonate.ts'
import type { Config } from '../config.ts'
import { revocationSubscribers } from './metrics.ts'

/** The channel of Postgres on which triggers announce what ends tokens; the message is a JSON Revocation, or who was erased. */
const channel = 'sallyport_revocations'

const announcement = Type.Union([
  Type.Object({ erased: Type.String() }),
  Type.Object({ session: Type.String(), reason: Type.String() }),
  Type.Object({
    user: Type.String(),
    roles: Type.Array(Type.String()),
    scopes: Type.Optional(Type.Array(Type.String())),
    audiences: Type.Optional(Type.Array(Type.String())),
  }),
])

type Stream = Pick<EventStream<RevocationEvents>, 'send' | 'end'>

export interface Revocations {
  /** Whether this process receives revocations itself. */
  readonly isListening: boolean
  /**
   * Sends the events to a gateway, as `RevocationEvents` has them, until this process no longer receives revocations
   * itself: then it ends the stream.
   *
   * @returns how to stop
   * @throws 503 while this process does not receive revocations itself
   */
  subscribe(stream: Stream): Promise<() => void>
  close(): Promise<void>
}

interface Subscriber {
  revoked: (revocation: Revocation) => void
  erased: (user: string) => void
  alive: (at: number) => void
  end: () => void
}

/**
 * By how many seconds clocks may differ in all: that of the auth process that signed a token may be ahead, that of the
 * gateway that reads it behind, and that of the database may step meanwhile, by five minutes each.
 */
const clocksApart = 900

/** As what ends sessions announces it. */
export const notify: Statement = { name: 'notify', text: 'SELECT pg_notify($1, $2)' }

/** Receives the revocations of every auth process through Postgres, and passes them on to the gateways. */
export function openRevocations(config: Config, database: Database, logger: Logger): Revocations {
  const memory = Math.max(config.accessToken.seconds, longestImpersonation) + clocksApart
  const subscribers = new Set<Subscriber>()
  const leave = (subscriber: Subscriber) => {
    if (subscribers.delete(subscriber)) revocationSubscribers.dec()
  }
  const endAll = () => {
    for (const subscriber of subscribers) {
      subscriber.end()
      leave(subscriber)
    }
  }
  const listener = listen(config.databaseDirectUrl, channel, {
    onMessage: (message) => {
      const parsed = Value.Parse(announcement, JSON.parse(message))
      for (const subscriber of subscribers) {
        if ('erased' in parsed) subscriber.erased(parsed.erased)
        else subscriber.revoked(parsed)
      }
    },
    onProof: (sentAt) => {
      for (const { alive } of subscribers) alive(sentAt / 1000)
    },
    // A gateway must not take silence for quiet. What is missed meanwhile is in the database, and a new
    // subscription begins by reading it.
    onDisconnect: endAll,
    onError: (err) => logger.warn({ event: 'revocation_channel_lost', err }),
    // As sessions are ended: what is proved is the way that revocations take.
    notify: (...values) => database.run(notify, values),
  })

  return {
    get isListening() {
      return listener.connected
    },
    async subscribe({ send, end }) {
      if (!listener.connected)
        throw new Problem(503, 'UNAVAILABLE', 'Service unavailable', { headers: { 'retry-after': '1' } })
      const pass = (revocation: Revocation, age = 0) => {
        const holds = memory - age
        send('revoked', { ...revocation, holds, until: Math.ceil(Date.now() / 1000 + holds) })
      }
      const early: Revocation[] = []
      const erased = (user: string) => send('erased', { user })
      const subscriber: Subscriber = { revoked: (revocation) => early.push(revocation), erased, alive: () => {}, end }
      subscribers.add(subscriber)
      revocationSubscribers.inc()
      const at = performance.now() / 1000
      try {
        for (const { revocation, age } of await readRevocations(database, memory)) pass(revocation, age)
        for (const { user } of await database.run<{ user: string }>(recentlyErased, [])) erased(user)
      } catch (error) {
        leave(subscriber)
        throw error
      }
      for (const revocation of early) pass(revocation)
      send('current', { at })
      subscriber.revoked = pass
      subscriber.alive = (at) => send('alive', { at })
      return () => leave(subscriber)
    },

    async close() {
      endAll()
      await listener.close()
    },
  }
}

const recent: Statement = {
  name: 'recent_revocations',
  text: `
    WITH ended AS (
      SELECT id, coalesce(revoked_reason, 'revoked_by_admin') AS reason, revoked_at AS at
      FROM auth.sessions WHERE revoked_at > now() - $1::float8 * interval '1 second'
    UNION ALL
      SELECT session_id, reason, at
      FROM auth.security_events WHERE event = 'session_deleted' AND at > now() - $1::float8 * interval '1 second'
    UNION ALL
      SELECT id, reason, at FROM auth.revocations WHERE at > now() - $1::float8 * interval '1 second'
    )
    SELECT json_build_object('session', id, 'reason', reason) AS revocation,
           extract(epoch FROM now() - at)::float8 AS age
    FROM ended
    UNION ALL
    SELECT json_build_object('user', id, 'roles', roles), extract(epoch FROM now() - roles_changed_at)::float8
    FROM auth.users WHERE roles_changed_at > now() - $1::float8 * interval '1 second'
    UNION ALL
    SELECT json_build_object('user', 'client:' || id, 'roles', roles, 'scopes', scopes, 'audiences', audiences),
           extract(epoch FROM now() - changed_at)::float8
    FROM auth.clients WHERE changed_at > now() - $1::float8 * interval '1 second'`,
}

/** Within a day, for services that were not connected. */
const recentlyErased: Statement = {
  name: 'recently_erased',
  text: `
    SELECT user_id AS user FROM auth.security_events
    WHERE event = 'user_erased' AND at > now() - interval '1 day' ORDER BY id`,
}

/** What happened within so many seconds, by the database's clock, and how many seconds ago. */
function readRevocations(database: Database, seconds: number): Promise<{ revocation: Revocation; age: number }[]> {
  return database.run(recent, [seconds])
}
