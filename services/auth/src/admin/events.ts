import { Readable } from 'node:stream'
import type { Application } from '@sallyport/chassis'
import type { Database, SecurityEvent } from '@sallyport/database'
import Type, { type Static } from 'typebox'
import { type AdminGuards, cursorDescription, Id, Limit, pageOf, unknownUser } from './fields.ts'

const Text = Type.Union([Type.String(), Type.Null()])

const EventView = Type.Object({
  id: Type.String(),
  at: Type.String(),
  event: Type.String(),
  user: Text,
  session: Text,
  ip: Text,
  reason: Text,
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
    return { events: rows.map(view), nextCursor }
  }

  /** Reads on when what it read is sent, and holds no connection meanwhile. Who stops receiving ends it. */
  async function* linesOf(filter: Filter, cursor?: string): AsyncGenerator<string> {
    let last = await placeOf(cursor)
    do {
      const found = await find(filter, batch, last)
      yield found.map((event) => `${JSON.stringify(view(event))}\n`).join('')
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

  /** Those that match, the newest first, after one of them. By their time first, as the indexes have them. */
  function find({ user, event, from, to }: Filter, take: number, last: Place | undefined): Promise<SecurityEvent[]> {
    return database.securityEvent.findMany({
      where: {
        ...(user !== undefined && { userId: user }),
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
  event?: string | undefined
  from?: string | undefined
  to?: string | undefined
}

type Place = Pick<SecurityEvent, 'at' | 'id'>

/** Whether a request says that it takes a media type, by its name. */
const accepts = (accept: string | undefined, type: string) =>
  (accept ?? '').split(',').some((range) => range.split(';')[0]?.trim().toLowerCase() === type)

function view({ id, at, event, userId, sessionId, ip, reason }: SecurityEvent): Static<typeof EventView> {
  return { id: String(id), at: at.toISOString(), event, user: userId, session: sessionId, ip, reason }
}
