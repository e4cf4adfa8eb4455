import { createHash, randomBytes, randomInt, randomUUID } from 'node:crypto'
import { Problem } from '@sallyport/chassis'
import type { Database, Prisma } from '@sallyport/database'
import Type, { type Static } from 'typebox'
import type { DerivedKeys } from '../tokens/derived-keys.ts'
import { lockName } from './lock-user.ts'

/** What the reader of a mail may do, once. */
export const purposes = ['registration', 'invitation', 'password_reset', 'email_change', 'email_revert'] as const
export type Purpose = (typeof purposes)[number]

/** How long a ticket is valid, in seconds. */
export const validFor = {
  registration: 86_400,
  invitation: 604_800,
  password_reset: 3_600,
  email_change: 86_400,
  email_revert: 604_800,
} as const satisfies Record<Purpose, number>

/** How long its code is, and how many wrong ones may come: it is for mail on another device, and short (ASVS V6.5.5). */
export const codeValidFor = 600
const codeDigits = 8
const mostTries = 5

/** How many tickets for one purpose, and one subject or mailbox, are issued in an hour to whoever asks. */
const mostInAnHour = 5

/** Of 256 random bits, in base64url. */
const secretPattern = '^[A-Za-z0-9_-]{43}$'

/** How a person shows that they have the mail: the ticket of its link, or its code with the id that the request for it got. */
export const Proof = Type.Object({
  ticket: Type.Optional(
    Type.String({ maxLength: 200, description: 'what is behind `#ticket=` in the link of the mail' }),
  ),
  ticketId: Type.Optional(Type.String({ format: 'uuid', description: 'with `code`, in place of `ticket`' })),
  code: Type.Optional(Type.String({ maxLength: 200, description: 'the 8 digits of the mail' })),
})
type Proof = Static<typeof Proof>

export interface Ticket {
  id: string
  purpose: Purpose
  subject: string
  email: string
  userId: string | null
  roles: string[]
  invitedBy: string | null
  locale: string | null
  createdAt: Date
  expiresAt: Date
}

export interface NewTicket {
  /** If the one who asked has it already. */
  id?: string
  purpose: Purpose
  subject: string
  email: string
  userId?: string | null
  roles?: string[]
  invitedBy?: string | null
  /** A language tag, of the person. */
  locale?: string | null
  /** Seconds, if not as long as its purpose has it. */
  seconds?: number
}

/** What goes into the mail, and nowhere else. */
export interface TicketSecrets {
  ticket: string
  code: string
}

interface IssuedTicket {
  id: string
  expiresAt: Date
  /** Sealed TicketSecrets, for the queue of mails. */
  secrets: string
}

const sealed = (keys: DerivedKeys, secrets: TicketSecrets) => keys.seal(JSON.stringify(secrets))

const hashOf = (secret: string) => createHash('sha256').update(secret).digest()

/** A code is bound to its ticket, and few enough are possible to try them all: so the hash has a key. */
const codeHashes = (keys: DerivedKeys, id: string, code: string) => keys.digests('codes', `${id} ${code}`)

function createSecrets(): TicketSecrets {
  const code = String(randomInt(10 ** codeDigits)).padStart(codeDigits, '0')
  return { ticket: randomBytes(32).toString('base64url'), code }
}

/**
 * Whether a ticket may be issued that somebody asked for who need not be anybody: neither its subject nor the mailbox that
 * it would go to has had enough of them within the hour, and this one is not there already (work from the queue may be
 * done twice). It keeps others with the same purpose and subject waiting to the end of the transaction.
 */
export async function mayIssue(
  transaction: Prisma.TransactionClient,
  { id, purpose, subject, email }: { id: string; purpose: Purpose; subject: string; email: string },
): Promise<boolean> {
  await lockName(transaction, subjectOf({ purpose, subject }))
  const since = new Date(Date.now() - 3_600_000)
  const recent = await transaction.ticket.findMany({
    where: { purpose, OR: [{ subject }, { email }], createdAt: { gt: since } },
    select: { id: true },
  })
  return recent.length < mostInAnHour && !recent.some((ticket) => ticket.id === id)
}

/** What is locked while a ticket is issued: there is one open for it at most. */
const subjectOf = ({ purpose, subject }: Pick<Ticket, 'purpose' | 'subject'>) => `${purpose} ${subject}`

/** Issues a ticket, in the place of an open one for the same purpose and subject. */
export async function issueTicket(
  transaction: Prisma.TransactionClient,
  keys: DerivedKeys,
  given: NewTicket,
): Promise<IssuedTicket> {
  const { id = randomUUID(), seconds = validFor[given.purpose], ...ticket } = given
  const secrets = createSecrets()
  const expiresAt = new Date(Date.now() + seconds * 1000)
  await lockName(transaction, subjectOf(ticket))
  await endTickets(transaction, { purpose: ticket.purpose, subject: ticket.subject })
  await transaction.ticket.create({ data: { id, expiresAt, ...ticket, ...storedSecrets(keys, id, secrets) } })
  return { secrets: sealed(keys, secrets), id, expiresAt }
}

/** Gives a ticket another secret, and its whole time again, so that it can be sent once more. */
export async function reissueTicket(
  transaction: Prisma.TransactionClient,
  keys: DerivedKeys,
  { id, purpose }: Pick<Ticket, 'id' | 'purpose'>,
): Promise<IssuedTicket> {
  const secrets = createSecrets()
  const expiresAt = new Date(Date.now() + validFor[purpose] * 1000)
  await transaction.ticket.update({ where: { id }, data: { expiresAt, tries: 0, ...storedSecrets(keys, id, secrets) } })
  return { secrets: sealed(keys, secrets), id, expiresAt }
}

function storedSecrets(keys: DerivedKeys, id: string, { ticket, code }: TicketSecrets) {
  const [codeHash] = codeHashes(keys, id, code)
  const codeExpiresAt = new Date(Date.now() + codeValidFor * 1000)
  return { secretHash: new Uint8Array(hashOf(ticket)), codeHash: new Uint8Array(codeHash), codeExpiresAt }
}

/** Makes open tickets invalid. @returns how many */
export async function endTickets(
  transaction: Prisma.TransactionClient,
  which: { id?: string; purpose?: Purpose; subject?: string; email?: string; userId?: string },
): Promise<number> {
  const data = { usedAt: new Date(), withdrawn: true }
  const { count } = await transaction.ticket.updateMany({ where: { ...which, usedAt: null }, data })
  return count
}

/**
 * Finds the open ticket that a proof is of. It changes nothing but the count of wrong codes: what uses the ticket up is
 * `useTicket`, in the transaction of what it is for. A ticket that was used, expired, was replaced, was never issued or
 * is for something else is rejected alike; so is a fifth wrong code, and every code after it.
 *
 * @throws 400 TICKET_INVALID
 */
export async function findTicket(
  database: Database,
  keys: DerivedKeys,
  { ticket, ticketId, code }: Proof,
  purposes: readonly Purpose[],
): Promise<Ticket> {
  const byLink = async () => {
    if (ticketId !== undefined || code !== undefined || !new RegExp(secretPattern).test(ticket as string)) return null
    return database.ticket.findUnique({ where: { secretHash: new Uint8Array(hashOf(ticket as string)), ...open() } })
  }
  const byCode = async () => {
    if (ticketId === undefined || code === undefined) return null
    const right = await tryCode(database, ticketId, codeHashes(keys, ticketId, code))
    return right ? database.ticket.findUnique({ where: { id: ticketId, ...open() } }) : null
  }
  const found = ticket === undefined ? await byCode() : await byLink()
  if (!found || !purposes.includes(found.purpose as Purpose)) throw ticketInvalid()
  return found as Ticket
}

const open = () => ({ usedAt: null, expiresAt: { gt: new Date() } })

/**
 * One statement, so that no two tries count as one. A right one costs none: what came with it may have been wrong. Times
 * are by the clock that set them, ours, of which the database's may differ by as long as a code is valid.
 */
async function tryCode(database: Database, id: string, hashes: Buffer[]): Promise<boolean> {
  const now = new Date()
  const [tried] = await database.$queryRaw<{ right: boolean }[]>`
    UPDATE auth.tickets SET tries = tries + CASE WHEN code_hash = ANY(${hashes}) THEN 0 ELSE 1 END
    WHERE id = ${id}::uuid AND tries < ${mostTries} AND code_expires_at > ${now} AND used_at IS NULL AND expires_at > ${now}
    RETURNING code_hash = ANY(${hashes}) AS right`
  return tried?.right === true
}

/**
 * Uses a ticket up, at the beginning of the transaction that does what it is for.
 *
 * @throws 400 TICKET_INVALID if it was used meanwhile
 */
export async function useTicket(transaction: Prisma.TransactionClient, id: string): Promise<void> {
  const { count } = await transaction.ticket.updateMany({ where: { id, ...open() }, data: { usedAt: new Date() } })
  if (count === 0) throw ticketInvalid()
}

export const ticketInvalid = () =>
  new Problem(400, 'TICKET_INVALID', 'The link or the code is not valid', {
    detail: 'It was used before, has expired, or a newer one was sent. Ask for a new one.',
  })
