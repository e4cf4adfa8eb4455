import { goneAfter } from '../replicas/replicas.ts'

/** What somebody who looks at a system is told of a part of it, and what they can do. */
export interface Verdict {
  judgement: 'ok' | 'warning' | 'failure'
  advice: string | null
}

/** A row of auth.replicas, with how many seconds ago it was written. */
export interface ReplicaRow {
  id: string
  kind: string
  version: string
  startedAt: Date
  seenAt: Date
  age: number
  state: {
    clockSkewMs: number
    /** Of auth. */
    activeKey?: string
    signingKeys?: string[]
    listening?: boolean
    /** Of a gateway. */
    streamAge?: number | null
    keys?: string[]
    routesDigest?: string
  }
}

const ok: Verdict = { judgement: 'ok', advice: null }
const warning = (advice: string): Verdict => ({ judgement: 'warning', advice })
const failure = (advice: string): Verdict => ({ judgement: 'failure', advice })

const severity = { ok: 0, warning: 1, failure: 2 }

/** The first of the worst. */
export const worstOf = (verdicts: Verdict[]): Verdict =>
  verdicts.reduce((worst, each) => (severity[each.judgement] > severity[worst.judgement] ? each : worst), ok)

export const isGone = ({ age }: ReplicaRow) => age > goneAfter

/** What a process says in its first seconds, it says before it has connected to others. */
const isNew = ({ startedAt, seenAt }: ReplicaRow) => seenAt.getTime() - startedAt.getTime() < 5_000

/** Milliseconds by which a clock may be off: services take no assertion that is from more than five seconds ahead. */
const skew = { warning: 3_000, failure: 5_000 }

/** Seconds for which a process that went without a goodbye is worth a warning. */
const goneLately = 3_600

/** @param all the others, of both kinds */
export function judgeReplica(replica: ReplicaRow, all: ReplicaRow[]): Verdict {
  const { kind, state } = replica
  const running = all.filter((each) => each.kind === kind && !isGone(each))
  if (isGone(replica)) {
    if (running.length === 0) return failure(`No process of ${kind} says that it runs. Start one, and read its log.`)
    if (replica.age > goneLately) return ok
    const reaches = kind === 'auth' ? 'the database' : 'auth at REPLICAS_URL'
    return warning(
      `It went without a goodbye. If it was replaced there is nothing to do; if it should run, read its log, and see whether it reaches ${reaches}.`,
    )
  }
  const off = Math.abs(state.clockSkewMs)
  const clock = `Its clock is ${(off / 1000).toFixed(1)} s ${state.clockSkewMs > 0 ? 'ahead of' : 'behind'} the database's.`
  const newest = running.reduce((one, other) => (other.startedAt > one.startedAt ? other : one))
  return worstOf([
    off > skew.failure ? failure(`${clock} Set it by NTP: beyond 5 s services refuse what a gateway forwards.`) : ok,
    kind === 'auth' && state.listening === false && !isNew(replica)
      ? failure('It does not hear from the database that sessions end. See whether a pooler without LISTEN is between.')
      : ok,
    off > skew.warning ? warning(`${clock} Set it by NTP.`) : ok,
    newest.version !== replica.version
      ? warning(`Another process of ${kind} runs ${newest.version}. That is as it should be while an update goes on.`)
      : ok,
    newest.state.routesDigest !== state.routesDigest
      ? warning('Its route file is another than that of the gateway that started last. Give all of them the same.')
      : ok,
  ])
}

/** Seconds, as the alert RevocationViewOld has them. */
const oldView = 15

/** How well gateways know which sessions have ended. */
export function judgeRevocations(replicas: ReplicaRow[]) {
  const gateways = replicas.filter((each) => each.kind === 'gateway' && !isGone(each))
  const ages = gateways.flatMap(({ state }) => (typeof state.streamAge === 'number' ? [state.streamAge] : []))
  const oldestSeconds = ages.length > 0 ? Math.max(...ages) : null
  const withoutStream = gateways.length - ages.length
  const verdict = worstOf([
    oldestSeconds !== null && oldestSeconds > oldView
      ? failure(
          'A gateway may take tokens of sessions that have ended. See whether it reaches auth, and auth the database (RevocationViewOld).',
        )
      : ok,
    withoutStream > 0
      ? warning('A gateway follows no stream: there a token is good until it expires. Set REVOCATIONS_URL.')
      : ok,
    gateways.length === 0
      ? warning('No gateway says that it runs, so nothing is known of it here. Set REPLICAS_URL on each.')
      : ok,
  ])
  return { ...verdict, gateways: gateways.length, withoutStream, oldestSeconds }
}

/**
 * Whether gateways have the keys that access tokens are signed with.
 *
 * @param own of this process, the active one first
 */
export function judgeKeys(own: string[], replicas: ReplicaRow[]) {
  const running = replicas.filter((each) => !isGone(each))
  const states = running.filter(({ kind }) => kind === 'auth').map(({ state }) => state)
  const active = [...new Set([own[0] as string, ...states.flatMap(({ activeKey }) => activeKey ?? [])])]
  const published = [...new Set([...own, ...states.flatMap(({ signingKeys }) => signingKeys ?? [])])]
  const gatewaysWithout = running
    .filter((each) => each.kind === 'gateway' && !isNew(each))
    .map(({ id, state: { keys = [] } }) => ({ id, missing: published.filter((kid) => !keys.includes(kid)) }))
    .filter(({ missing }) => missing.length > 0)
  const verdict = worstOf([
    gatewaysWithout.some(({ missing }) => missing.some((kid) => active.includes(kid)))
      ? failure(
          'A gateway lacks a key that signs now, and refuses the tokens. It fetches keys again when it sees one: if this stays for a minute, see whether it reaches JWKS_URL, and restart it.',
        )
      : ok,
    gatewaysWithout.length > 0
      ? warning(
          'A gateway lacks a key that does not sign yet. It fetches keys within five minutes: wait before you switch.',
        )
      : ok,
    active.length > 1
      ? warning(
          'Processes of auth sign with different keys. While keys are replaced that is so for a moment; if it stays, restart auth.',
        )
      : ok,
  ])
  return { ...verdict, active: own[0] as string, published, gatewaysWithout }
}

export interface QueueRow {
  waiting: number
  failing: number
  dead: number
  /** Given up within a day. */
  deadLately: number
  oldestSeconds: number
}

/** Seconds, as the alert MailDelayed has them. */
const longWait = 900

export function judgeQueue({ deadLately, oldestSeconds }: QueueRow, hasMail: boolean): Verdict {
  return worstOf([
    oldestSeconds > longWait
      ? warning(
          hasMail
            ? 'Something has waited for more than 15 minutes. See below whether mail can be sent (MailDelayed).'
            : 'Something waits, and this system sends no mail. Set SMTP_URL.',
        )
      : ok,
    deadLately > 0
      ? warning(
          `${deadLately} given up within a day. What they were is below: an address that is refused, or a server that was away (MailGivenUp).`,
        )
      : ok,
  ])
}

/** What the processes of auth know of the mails they sent, since they began. */
export interface MailFacts {
  configured: boolean
  lastSentAt: string | null
  lastFailure: { at: string; reason: string; code: string } | null
}

const failed: Record<string, string> = {
  unreachable:
    'The mail server could not be reached. See whether it runs and SMTP_URL leads there; mails wait meanwhile.',
  refused:
    'The mail server refused a mail for good. If it refuses them all, see whether MAIL_FROM and the password of SMTP_URL are right.',
}

export function judgeMail({ configured, lastSentAt, lastFailure }: MailFacts): Verdict {
  if (!configured || !lastFailure || (lastSentAt !== null && lastSentAt > lastFailure.at)) return ok
  return warning(failed[lastFailure.reason] ?? 'A mail could not be sent, and is tried again. auth logs mail_failed.')
}

export interface DatabaseFacts {
  connections: number
  maxConnections: number
  clockSkewMs: number
}

/** The share of connections that may be open. */
const most = { warning: 0.8, failure: 0.95 }

export function judgeDatabase({ connections, maxConnections, clockSkewMs }: DatabaseFacts): Verdict {
  const share = connections / maxConnections
  const full = `${connections} of ${maxConnections} connections are open. End those nobody needs, lower DATABASE_CONNECTIONS, or raise max_connections.`
  return worstOf([
    share > most.failure ? failure(full) : ok,
    Math.abs(clockSkewMs) > skew.failure
      ? failure("Its clock and auth's differ by more than 5 s. Set both by NTP.")
      : ok,
    share > most.warning ? warning(full) : ok,
  ])
}
