import { type Application, Problem } from '@sallyport/chassis'
import type { Database, Prisma } from '@sallyport/database'
import Type, { type Static } from 'typebox'
import { type AdminGuards, cursorDescription, Id, Limit, pageOf } from '../admin/fields.ts'
import { unknownWebhook } from './fields.ts'

/** The most deliveries that are replayed at once. */
const mostReplayed = 10_000

const shared = { tags: ['webhooks'] }

const NullableText = Type.Union([Type.String(), Type.Null()])
const State = Type.String({ enum: ['pending', 'delivered', 'dead'] })

const DeliveryView = Type.Object({
  id: Type.String(),
  event: Type.String({ description: 'the `webhook-id`' }),
  type: Type.String(),
  subject: Type.Union([Type.String(), Type.Null()], { description: 'the user or the service account it is about' }),
  at: Type.String({ description: 'when it happened' }),
  state: State,
  attempts: Type.Integer({ description: 'how many have failed' }),
  nextAt: Type.Union([Type.String(), Type.Null()], { description: 'when it is tried again' }),
  settledAt: NullableText,
  status: Type.Union([Type.Integer(), Type.Null()], { description: 'of the last response' }),
  error: NullableText,
})

const listSchema = {
  ...shared,
  operationId: 'listDeliveries',
  summary: 'The deliveries of a webhook in the last 30 days, the newest first, page by page',
  params: Id,
  querystring: Type.Object({
    state: Type.Optional(State),
    limit: Type.Optional(Limit),
    cursor: Type.Optional(Type.String({ pattern: '^\\d{1,18}$', description: cursorDescription })),
  }),
  response: {
    200: Type.Object(
      { deliveries: Type.Array(DeliveryView), nextCursor: NullableText },
      { description: 'A page, and where the next begins' },
    ),
  },
  problems: { 404: ['WEBHOOK_NOT_FOUND'] },
}

const replaySchema = {
  ...shared,
  operationId: 'replayDelivery',
  summary: 'Send what was delivered or given up once more, with the same `webhook-id`',
  params: Type.Object({ ...Id.properties, deliveryId: Type.String({ pattern: '^\\d{1,18}$' }) }),
  response: { 200: Type.Object({ replayed: Type.Integer() }, { description: 'It is queued' }) },
  problems: { 401: ['STEP_UP_REQUIRED'], 404: ['DELIVERY_NOT_FOUND'], 409: ['DELIVERY_PENDING'] },
}

const replaySpanSchema = {
  ...shared,
  operationId: 'replayDeliveries',
  summary: 'Send once more what happened in a span of time',
  description: `At most ${mostReplayed} deliveries, in the order in which they were made. What is still to be sent is sent anyway.`,
  params: Id,
  body: Type.Object({
    from: Type.String({ format: 'date-time' }),
    to: Type.String({ format: 'date-time', description: 'before it' }),
    state: Type.Optional(Type.String({ enum: ['delivered', 'dead'], description: 'these alone; both if not given' })),
  }),
  response: { 200: Type.Object({ replayed: Type.Integer() }, { description: 'They are queued' }) },
  problems: { 401: ['STEP_UP_REQUIRED'], 404: ['WEBHOOK_NOT_FOUND'], 409: ['REPLAY_LIMIT'] },
}

/** What was sent to webhooks, what could not be, and how it is sent once more. For admins. */
export function deliveryRoutes(
  app: Application,
  { database, admin, fully }: { database: Database } & AdminGuards,
): void {
  const preHandler = [admin, fully]

  app.get(
    '/api/admin/webhooks/:id/deliveries',
    { schema: listSchema, preHandler: admin },
    async ({ params: { id: webhookId }, query: { state, limit = '20', cursor } }) => {
      await requireWebhook(webhookId)
      const size = Number(limit)
      const found = await database.webhookDelivery.findMany({
        where: {
          webhookId,
          ...(state !== undefined && { state }),
          ...(cursor !== undefined && { id: { lt: BigInt(cursor) } }),
        },
        include: { event: true },
        orderBy: { id: 'desc' },
        take: size + 1,
      })
      const { rows, nextCursor } = pageOf(found, size)
      return { deliveries: rows.map(view), nextCursor }
    },
  )

  app.post(
    '/api/admin/webhooks/:id/deliveries/:deliveryId/replay',
    { schema: replaySchema, preHandler },
    async ({ params: { id: webhookId, deliveryId } }) => {
      const where = { id: BigInt(deliveryId), webhookId }
      const replayed = await replay(where)
      if (replayed > 0) return { replayed }
      if ((await database.webhookDelivery.count({ where })) === 0)
        throw new Problem(404, 'DELIVERY_NOT_FOUND', 'There is no such delivery')
      throw new Problem(409, 'DELIVERY_PENDING', 'It is still to be delivered')
    },
  )

  app.post(
    '/api/admin/webhooks/:id/replay',
    { schema: replaySpanSchema, preHandler },
    async ({ params: { id: webhookId }, body: { from, to, state } }) => {
      await requireWebhook(webhookId)
      const at = { gte: new Date(from), lt: new Date(to) }
      const where = { webhookId, event: { at }, ...(state !== undefined && { state }) }
      const ids = await database.webhookDelivery.findMany({
        where: { ...where, state: state ?? { not: 'pending' } },
        select: { id: true },
        take: mostReplayed + 1,
      })
      if (ids.length > mostReplayed)
        throw new Problem(409, 'REPLAY_LIMIT', 'There are too many deliveries in this span', {
          detail: `At most ${mostReplayed} are replayed at once: take a shorter one.`,
        })
      return { replayed: await replay({ id: { in: ids.map(({ id }) => id) } }) }
    },
  )

  async function requireWebhook(id: string): Promise<void> {
    if ((await database.webhook.count({ where: { id } })) === 0) throw unknownWebhook()
  }

  /** As if it were queued now, before what is queued of the same person already. @returns how many */
  async function replay(where: Prisma.WebhookDeliveryWhereInput): Promise<number> {
    const now = new Date()
    const { count } = await database.webhookDelivery.updateMany({
      where: { ...where, state: where.state ?? { not: 'pending' } },
      data: { state: 'pending', attempts: 0, queuedAt: now, nextAt: now, settledAt: null, status: null, error: null },
    })
    return count
  }
}

type Found = Prisma.WebhookDeliveryGetPayload<{ include: { event: true } }>

function view({ event, ...delivery }: Found): Static<typeof DeliveryView> {
  const { id, subject, state, attempts, nextAt, settledAt, status, error } = delivery
  return {
    ...{ id: String(id), event: event.id, type: event.type, subject, at: event.at.toISOString() },
    ...{ state: state as Static<typeof State>, attempts, status, error },
    nextAt: state === 'pending' ? nextAt.toISOString() : null,
    settledAt: settledAt?.toISOString() ?? null,
  }
}
