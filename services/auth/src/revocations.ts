import { type Logger, Problem } from '@sallyport/chassis'
import { type Database, listen } from '@sallyport/database'
import type { Config } from './config.ts'
import { revocationChannel } from './sessions.ts'

/**
 * What gateways are told. `at` is when it happened and `until` when the last access token it concerns will have
 * expired, in seconds since 1970.
 *
 * For changed roles the event says which roles the person has now, and not from when on older tokens are stale: a
 * token is stale if it says something else. No clock and no order of commits can then let one slip through.
 */
export type Revocation = { at: number } & ({ session: string; reason: string } | { user: string; roles: string[] })

export interface Revocations {
  /**
   * Calls `send` with every revocation that can still concern a token, then once with `current`, then with each as it
   * happens. `end` is called when this process can no longer tell.
   *
   * @returns how to stop
   * @throws 503 while this process does not hear of revocations itself
   */
  subscribe(send: (event: 'revoked' | 'current', data: object) => void, end: () => void): Promise<() => void>
  close(): Promise<void>
}

interface Subscriber {
  send: (revocation: Revocation) => void
  end: () => void
}

/** Hears of revocations by every auth process through Postgres, and passes them on to the gateways. */
export function openRevocations(config: Config, database: Database, logger: Logger): Revocations {
  const subscribers = new Set<Subscriber>()
  const endAll = () => {
    for (const { end } of subscribers) end()
    subscribers.clear()
  }
  const listener = listen(config.databaseUrl, revocationChannel, {
    onMessage: (message) => {
      const revocation: Revocation = JSON.parse(message)
      for (const { send } of subscribers) send(revocation)
    },
    // Whoever listens to us must not take silence for quiet. What is missed meanwhile is in the database, and a new
    // subscription begins by reading it.
    onDisconnect: endAll,
    onError: (err) => logger.warn({ event: 'revocation_channel_lost', err }),
  })

  return {
    async subscribe(send, end) {
      if (!listener.connected)
        throw new Problem(503, 'UNAVAILABLE', 'Service unavailable', { headers: { 'retry-after': '1' } })
      const lifetime = config.accessToken.seconds
      const pass = (revocation: Revocation) =>
        send('revoked', { ...revocation, until: Math.ceil(revocation.at + lifetime) })

      const early: Revocation[] = []
      const subscriber: Subscriber = { send: (revocation) => early.push(revocation), end }
      subscribers.add(subscriber)
      try {
        for (const revocation of await readRevocations(database, lifetime)) pass(revocation)
      } catch (error) {
        subscribers.delete(subscriber)
        throw error
      }
      for (const revocation of early) pass(revocation)
      subscriber.send = pass
      send('current', {})
      return () => subscribers.delete(subscriber)
    },

    async close() {
      endAll()
      await listener.close()
    },
  }
}

/** Everything that can still concern an access token of this lifetime, in seconds. */
async function readRevocations(database: Database, lifetime: number): Promise<Revocation[]> {
  const since = new Date(Date.now() - lifetime * 1000)
  const [sessions, users] = await Promise.all([
    database.session.findMany({
      where: { revokedAt: { gte: since } },
      select: { id: true, revokedReason: true, revokedAt: true },
    }),
    database.user.findMany({
      where: { rolesChangedAt: { gte: since } },
      select: { id: true, roles: true, rolesChangedAt: true },
    }),
  ])
  return [
    ...sessions.map(({ id, revokedReason, revokedAt }) => ({
      session: id,
      reason: revokedReason as string,
      at: (revokedAt as Date).getTime() / 1000,
    })),
    ...users.map(({ id, roles, rolesChangedAt }) => ({
      user: id,
      roles,
      at: (rolesChangedAt as Date).getTime() / 1000,
    })),
  ]
}
