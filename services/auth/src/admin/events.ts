import { Readable } from 'node:stream'
import type { Application } from '@sallyport/chassis'
import type { Database, EventChainEntry, SecurityEvent } from '@sallyport/database'
import Type, { type Static } from 'typebox'
import { commitmentsOf } from '../events/chain.ts'
import { Act } from '../events/security-events.ts'
import { type AdminGuards, cursorDescription, Id, Limit, pageOf, unknownUser } from './fields.ts'

const Text = Type.Union([Type.String(), Type.Null()])

const Commitment = Type.Union([
  Type.Object({ salt: Type.String() }),
  Type.Object({ digest: Type.String() }, { description: 'of what was erased' }),
])

const EventView = Type.Object({
  id: Type.String(),
  at: Type.String(),
  event: Type.String(),
  user: Text,
  session: Text,
  ip: Text,
  reason: Text,
  client: Type.Union([Type.String(), Type.Null()], { description: 'a service account' }),
  act: Type.Union([Act, Type.Null()], { description: 'who acted for the user' }),
  position: Type.Union([Type.Integer(), Type.Null()], { description: 'in the chain; null for a second or two' }),
  hash: Type.Union([Type.String(), Type.Null()], { description: 'of the chain up to here' }),
  commitments: Type.Object(
    { ip: Type.Optional(Commitment), words: Type.Optional(Commitment) },
    { description: 'what `ip`, and the words of a reason that can be erased, are in the hash with' },
  ),
})

const Page = {
  limit: Type.Optional(Limit),
  cursor: Type.Optional(Type.String({ pattern: '^\\d{1,18}$', description: cursorDescription })),
}

const Events = Type.Object({ events: Type.Array(EventView), nextCursor: Text })

const lines = 'application/x-ndjson'

const listSchema = {
  operationId: 'listEvents',
  tags: ['administration'],
  summary: 'Security events, the newest first, page by page or all of them',
  description: `With \`Accept: ${lines}\` every one that matches comes, as a line of JSON each.`,
  querystring: Type.Object({
    user: Type.Optional(Type.String({ format: 'uuid', description: 'also of a user who was erased' })),
    client: Type.Optional(Type.String({ format: 'uuid', description: 'a service account, also one that is gone' })),
    event: Type.Optional(Type.String({ pattern: '^[a-z_]{1,64}$', examples: ['login_failed'] })),
    from: Type.Optional(Type.String({ format: 'date-time' })),
    to: Type.Optional(Type.String({ format: 'date-time', description: 'those before it' })),
    ...Page,
  }),
  response: {
    200: {
      description: 'A page, and where the next begins; or all of them',
      content: { 'application/json': { schema: Events }, [lines]: { schema: EventView } },
    },
  },
}

const listOfUserSchema = {
  operationId: 'listEventsOfUser',
  tags: ['administration'],
  summary: 'The security events of a user, the newest first, page by page',
  params: Id,
  querystring: Type.Object(Page),
  response: { 200: { ...Events, description: 'A page, and where the next begins' } },
  problems: { 404: ['USER_NOT_FOUND'] },
}

/** How many events are read at once for a stream. */
const batch = 1_000

/** Security events, for admins. */
export function eventRoutes(app: Application, { database, admin }: { database: Database } & AdminGuards): void {
  app.get(
    '/api/admin/events',
    // A HEAD would read all that a GET sends.
    { schema: listSchema, preHandler: admin, exposeHeadRoute: false },
    async ({ query, headers }, reply) => {
      reply.header('vary', 'Accept')
      const { limit, cursor, ...filter } = query
      if (!accepts(headers.accept, lines)) return pageOfEvents(filter, limit, cursor)
      // What a route sends as a stream has no schema of its own.
      return reply.type(lines).send(Readable.from(linesOf(filter, cursor)) as never)
    },
  )

  app.get(
    '/api/admin/users/:id/events',
    { schema: listOfUserSchema, preHandler: admin },
    async ({ params: { id: user }, query: { limit, cursor } }) => {
      if ((await database.user.count({ where: { id: user } })) === 0) throw unknownUser()
      return pageOfEvents({ user }, limit, cursor)
    },
  )

  async function pageOfEvents(filter: Filter, limit = '20', cursor?: string): Promise<Static<typeof Events>> {
    const size = Number(limit)
    const { rows, nextCursor } = pageOf(await find(filter, size + 1, await placeOf(cursor)), size)
    return { events: await view(rows), nextCursor }
  }

  /** Reads on when what it read is sent, and holds no connection meanwhile. Who stops receiving ends it. */
  async function* linesOf(filter: Filter, cursor?: string): AsyncGenerator<string> {
    let last = await placeOf(cursor)
    do {
      const found = await find(filter, batch, last)
      const events = await view(found)
      yield events.map((event) => `${JSON.stringify(event)}\n`).join('')
      last = found[batch - 1]
    } while (last)
  }

  /** Where a page goes on. After an event that is forgotten by now there is nothing, as older ones are too. */
  async function placeOf(cursor: string | undefined): Promise<Place | undefined> {
    if (cursor === undefined) return undefined
    const id = BigInt(cursor)
    const event = await database.securityEvent.findUnique({ where: { id }, select: { at: true } })
    return { id, at: event?.at ?? new Date(0) }
  }

  async function view(events: SecurityEvent[]): Promise<Static<typeof EventView>[]> {
    const ids = events.map(({ id }) => id)
    const entries = await database.eventChainEntry.findMany({ where: { eventId: { in: ids } } })
    const byEvent = new Map(entries.map((entry) => [entry.eventId, entry]))
    return events.map((happened) => ({ ...viewEvent(happened), ...placeInChain(byEvent.get(happened.id)) }))
  }

  /** Those that match, the newest first, after one of them. By their time first, as the indexes have them. */
  function find(
    { user, client, event, from, to }: Filter,
    take: number,
    last: Place | undefined,
  ): Promise<SecurityEvent[]> {
    return database.securityEvent.findMany({
      where: {
        ...(user !== undefined && { userId: user }),
        ...(client !== undefined && { clientId: client }),
        ...(event !== undefined && { event }),
        AND: [
          { at: { ...(from && { gte: new Date(from) }), ...(to && { lt: new Date(to) }) } },
          last ? { at: { lte: last.at }, OR: [{ at: { lt: last.at } }, { id: { lt: last.id } }] } : {},
        ],
      },
      orderBy: [{ at: 'desc' }, { id: 'desc' }],
      take,
    })
  }
}

interface Filter {
  user?: string | undefined
  client?: string | undefined
  event?: string | undefined
  from?: string | undefined
  to?: string | undefined
}

type Place = Pick<SecurityEvent, 'at' | 'id'>

/** Whether a request says that it takes a media type, by its name. */
const accepts = (accept: string | undefined, type: string) =>
  (accept ?? '').split(',').some((range) => range.split(';')[0]?.trim().toLowerCase() === type)

export function viewEvent(happened: SecurityEvent) {
  const { id, at, event, userId: user, sessionId: session, ip, reason, clientId: client, act } = happened
  return {
    ...{ id: String(id), at: at.toISOString(), event, user, session, ip, reason, client },
    act: act as Static<typeof Act> | null,
  }
}

const hex = (bytes: Uint8Array | null) => bytes && Buffer.from(bytes).toString('hex')

function placeInChain(entry: EventChainEntry | undefined) {
  if (!entry) return { position: null, hash: null, commitments: {} }
  const { position, hash, ipSalt, ipDigest, wordsSalt, wordsDigest } = entry
  const ip = { salt: hex(ipSalt), digest: hex(ipDigest) }
  const words = { salt: hex(wordsSalt), digest: hex(wordsDigest) }
  return { position: Number(position), hash: hex(hash), commitments: commitmentsOf({ ip, words }) }
}
