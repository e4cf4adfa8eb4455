import { Counter, Gauge } from 'prom-client'
import type { Passwords } from './passwords.ts'
import type { Revocations } from './revocations.ts'

/** Every value of the label is there from the start, so that a first event is a rise and not a new series. */
function count<Label extends string>(name: string, help: string, label: Label, values: string[]): Counter<Label> {
  const counter = new Counter({ name, help, labelNames: [label] })
  for (const value of values) counter.labels(value).inc(0)
  return counter
}

const loginOutcomes: Record<number, string> = { 200: 'succeeded', 401: 'failed', 429: 'throttled', 503: 'unavailable' }

const logins = count('sallyport_logins_total', 'Logins by outcome', 'outcome', [
  ...Object.values(loginOutcomes),
  'refused',
])

/** Counts a login that was answered, by the status of its answer. */
export function countLogin(status: number): void {
  logins.inc({ outcome: loginOutcomes[status] ?? 'refused' })
}

export const refreshes = count('sallyport_refreshes_total', 'Refreshes by outcome', 'outcome', [
  'rotated',
  'fast_forwarded',
  'repeated',
  'reused',
  'ended',
  'expired',
  'invalid',
  'missing',
  'unavailable',
])

/** One too many is counted where the database then fails to commit. */
export const sessionsEnded = count('sallyport_sessions_ended_total', 'Sessions ended, by reason', 'reason', [
  'logout',
  'logout_all',
  'password_changed',
  'disabled',
  'revoked_by_admin',
  'reuse',
])

/** Shows how many passwords are being hashed, and how many wait for their turn. */
export function showPasswordHashes(passwords: Pick<Passwords, 'running' | 'waiting'>): void {
  new Gauge({
    name: 'sallyport_password_hashes',
    help: 'Passwords being hashed, and waiting for it',
    labelNames: ['state'],
    collect() {
      this.set({ state: 'running' }, passwords.running)
      this.set({ state: 'waiting' }, passwords.waiting)
    },
  })
}

/** Shows how many gateways are told of ended sessions. */
export function showRevocationSubscribers(revocations: Pick<Revocations, 'subscribers'>): void {
  new Gauge({
    name: 'sallyport_revocation_subscribers',
    help: 'Gateways that are told of ended sessions',
    collect() {
      this.set(revocations.subscribers)
    },
  })
}
