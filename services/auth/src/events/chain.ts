import { createHash } from 'node:crypto'

/** What a field that can be erased is hashed with or, once it is erased, was hashed to; in hexadecimal. */
export type Commitment = { salt: string } | { digest: string }

/** A security event and its place in the chain: a line of the audit log, and of what admins and `sallyport events` read. */
export interface ChainedEvent {
  id: string
  at: string
  event: string
  user: string | null
  session: string | null
  ip: string | null
  reason: string | null
  client: string | null
  act: unknown
  position: number
  /** In hexadecimal, as all hashes here. */
  hash: string
  commitments: { ip?: Commitment; words?: Commitment }
}

interface Stored {
  salt: string | null
  digest: string | null
}

/** As a line shows them. */
export function commitmentsOf({ ip, words }: { ip: Stored; words: Stored }): ChainedEvent['commitments'] {
  const [ofIp, ofWords] = [commitmentOf(ip), commitmentOf(words)]
  return { ...(ofIp && { ip: ofIp }), ...(ofWords && { words: ofWords }) }
}

function commitmentOf({ salt, digest }: Stored): Commitment | undefined {
  if (salt !== null) return { salt }
  return digest === null ? undefined : { digest }
}

/** Up to where a chain goes, and the hash of all of it. */
export interface Head {
  position: number
  hash: string
}

/** Before the first event there is this. */
export const genesis: Head = { position: 0, hash: '0'.repeat(64) }

export const writeHead = ({ position, hash }: Head): string => `${position}:${hash}`

/** @returns undefined for what is none */
export function readHead(text: string): Head | undefined {
  const [, position, hash] = /^(\d{1,15}):([0-9a-f]{64})$/.exec(text) ?? []
  return position !== undefined && hash !== undefined ? { position: Number(position), hash } : undefined
}

/** How long the end of a reason is that stays when the words before it are erased: `by ` and an id. */
const keptLength = 39

/** The words of a reason, which are erased with the person, and what stays. Characters are counted as Postgres does. */
export function splitReason({ event, reason }: Pick<ChainedEvent, 'event' | 'reason'>) {
  const characters = event === 'impersonation_started' && reason !== null ? Array.from(reason) : []
  if (characters.length <= keptLength) return { words: null, kept: reason }
  return { words: characters.slice(0, -keptLength).join(''), kept: characters.slice(-keptLength).join('') }
}

/**
 * The hash of an entry: SHA-256 of the hash before it and the event, as auth.seal_security_events makes it (the migration
 * event_chain). What can be erased is in it by its commitment.
 */
export function hashOf(previous: string, happened: ChainedEvent): string {
  const { position, id, at, event, user, session, client, act, ip, commitments } = happened
  const { words, kept } = splitReason(happened)
  const digests = [digestOf(commitments.ip, ip), digestOf(commitments.words, words)]
  const values = [event, user, session, client].map((value) => JSON.stringify(value))
  const more = [kept, ...digests].map((value) => JSON.stringify(value))
  const canonical = `[${[position, id, JSON.stringify(at), ...values, jsonbText(act), ...more].join(', ')}]`
  return createHash('sha256').update(previous, 'hex').update(canonical).digest('hex')
}

/** What was erased can have no value any more. */
function digestOf(commitment: Commitment | undefined, value: string | null): string | null {
  if (!commitment) return value === null ? null : 'a value without a commitment'
  if ('digest' in commitment) return value === null ? commitment.digest : 'a value that was erased'
  if (value === null) return 'a commitment without a value'
  return createHash('sha256').update(commitment.salt, 'hex').update(value).digest('hex')
}

/** JSON as Postgres writes a value of jsonb: the shorter keys first, then by their bytes. */
function jsonbText(value: unknown): string {
  if (typeof value !== 'object' || value === null) return JSON.stringify(value)
  if (Array.isArray(value)) return `[${value.map(jsonbText).join(', ')}]`
  const keys = Object.keys(value).map((key) => Buffer.from(key))
  keys.sort((one, other) => one.length - other.length || Buffer.compare(one, other))
  const of = value as Record<string, unknown>
  return `{${keys.map((key) => `${JSON.stringify(key.toString())}: ${jsonbText(of[key.toString()])}`).join(', ')}}`
}
