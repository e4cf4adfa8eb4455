import { Counter, Gauge } from 'prom-client'

/** Every value of the label is there from the start, so that a first event is a rise and not a new series. */
function count<Label extends string>(name: string, help: string, label: Label, values: string[]): Counter<Label> {
  const counter = new Counter({ name, help, labelNames: [label] })
  for (const value of values) counter.labels(value).inc(0)
  return counter
}

const loginOutcomes: Record<number, string> = { 200: 'succeeded', 401: 'failed', 429: 'throttled', 503: 'unavailable' }

const logins = count('sallyport_logins_total', 'Logins by outcome', 'outcome', [
  ...Object.values(loginOutcomes),
  'second_factor_asked',
  'refused',
])

/** Counts a login by the status of its response; `asked` is one that a second factor is to follow. */
export function countLogin(status: number | 'asked'): void {
  logins.inc({ outcome: status === 'asked' ? 'second_factor_asked' : (loginOutcomes[status] ?? 'refused') })
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
  'impersonation_ended',
])

export const revocationSubscribers = new Gauge({
  name: 'sallyport_revocation_subscribers',
  help: 'Gateways that read the revocation stream',
})
