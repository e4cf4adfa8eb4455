import { hostname } from 'node:os'
import type { ChainedEvent } from './chain.ts'

/** Facility 13 of RFC 5424 section 6.2.1: log audit. */
const facility = 13

const [warning, notice, informational] = [4, 5, 6]

/** What somebody tried and may not do, or what looks like an attack. */
const suspicious =
  /_(failed|refused|reused|stopped|failures|regressed)$|^(session_deleted|recovery_code_used|impersonation_started)$/

/** What happens all day. */
const usual = /^(login_succeeded|session_ended|sessions_ended|step_up_succeeded|token_exchanged|token_revoked)$/

function severityOf(event: string): number {
  if (suspicious.test(event)) return warning
  return usual.test(event) ? informational : notice
}

/** The number that RFC 5612 keeps for examples: we have none of our own. */
const structuredId = 'sallyport@32473'

/**
 * A line of the audit log as a message of RFC 5424, without a frame. MSG is the line itself. Whatever is in the event, the
 * message is one message and has these fields: names are cut to what the RFC lets them be, values are escaped, and JSON
 * has no control character.
 */
export function toSyslog(happened: ChainedEvent, host = hostname()): string {
  const { at, event, position, hash, user, session, client, ip } = happened
  const header = [
    `<${facility * 8 + severityOf(event)}>1`,
    at,
    name(host, 255),
    'sallyport',
    '-',
    name(event, 32),
  ].join(' ')
  const parameters = Object.entries({ position: String(position), hash, user, session, client, ip })
    .filter((entry): entry is [string, string] => entry[1] !== null)
    .map(([key, value]) => ` ${key}="${escapeValue(value)}"`)
  return `${header} [${structuredId}${parameters.join('')}] \uFEFF${JSON.stringify(happened)}`
}

/** Printable ASCII without a space, or nil. */
const name = (text: string, most: number) => text.replace(/[^!-~]/g, '?').slice(0, most) || '-'

/** Section 6.3.3. Control characters would be allowed, and would break a line where messages are lines of a file. */
const escapeValue = (value: string) => value.replace(/\p{Cc}/gu, '?').replace(/["\\\]]/g, '\\$&')

/** The frame of RFC 5425 section 4.3, and of RFC 6587 section 3.4.1: the length in bytes, so that no byte can end it. */
export function frame(message: string): Buffer {
  const bytes = Buffer.from(message)
  return Buffer.concat([Buffer.from(`${bytes.length} `), bytes])
}
