import { randomUUID } from 'node:crypto'
import { type Application, Problem } from '@sallyport/chassis'
import type { Database, Prisma } from '@sallyport/database'
import type { FastifyRequest } from 'fastify'
import Type from 'typebox'
import { Name } from '../accounts/fields.ts'
import { type AdminGuards, Id } from '../admin/fields.ts'
import { record, type SecurityEvent } from '../events/security-events.ts'
import type { FactorKey } from '../factors/factor-key.ts'
import type { Outbound } from '../outbound.ts'
import { testType } from './event-types.ts'
import { Events, Secret, SecretView, Url, unknownWebhook, viewSecret, viewWebhook, WebhookView } from './fields.ts'
import { addSecret, openSecrets } from './secrets.ts'
import type { Sender } from './send.ts'

interface Dependencies extends AdminGuards {
  database: Database
  factorKey: FactorKey
  outbound: Outbound
  sender: Sender
}

/** Whatever happens is written for each of them. */
const mostWebhooks = 20

/** Milliseconds for the receiver of a test, which somebody waits for. */
const testTimeout = 5_000

const shared = { tags: ['webhooks'] }

const listSchema = {
  ...shared,
  operationId: 'listWebhooks',
  summary: 'The webhooks',
  response: { 200: Type.Object({ webhooks: Type.Array(WebhookView) }, { description: `At most ${mostWebhooks}` }) },
}

const createSchema = {
  ...shared,
  operationId: 'createWebhook',
  summary: 'Make a webhook',
  description:
    'It is notified of what happens from now on. Its address is over https, on port 443 or one from 1024, and none inside, unless WEBHOOK_ORIGINS has its origin.',
  body: Type.Object({ name: Name, url: Url, events: Events }),
  response: {
    201: Type.Object({ ...WebhookView.properties, secret: Secret }, { description: 'The webhook, and its secret' }),
  },
  problems: { 400: ['WEBHOOK_URL_INVALID'], 401: ['STEP_UP_REQUIRED'], 409: ['WEBHOOK_LIMIT'] },
}

const detailsSchema = {
  ...shared,
  operationId: 'getWebhook',
  summary: 'A webhook, and how many deliveries it has',
  params: Id,
  response: {
    200: Type.Object(
      {
        ...WebhookView.properties,
        secrets: Type.Array(SecretView),
        waiting: Type.Integer({ description: 'deliveries that are still to be made' }),
        dead: Type.Integer({ description: 'deliveries that were given up in the last 30 days' }),
      },
      { description: 'The webhook' },
    ),
  },
  problems: { 404: ['WEBHOOK_NOT_FOUND'] },
}

const changeSchema = {
  ...shared,
  operationId: 'changeWebhook',
  summary: 'Change a webhook, or enable or disable it',
  description: 'While it is disabled nothing is queued for it; what is queued already waits.',
  params: Id,
  body: Type.Object(
    {
      name: Type.Optional(Name),
      url: Type.Optional(Url),
      events: Type.Optional(Events),
      enabled: Type.Optional(Type.Boolean()),
    },
    { minProperties: 1 },
  ),
  response: { 200: { ...WebhookView, description: 'The webhook' } },
  problems: { 400: ['WEBHOOK_URL_INVALID'], 401: ['STEP_UP_REQUIRED'], 404: ['WEBHOOK_NOT_FOUND'] },
}

const deleteSchema = {
  ...shared,
  operationId: 'deleteWebhook',
  summary: 'Delete a webhook, with what is queued for it',
  params: Id,
  response: { 200: Type.Object({ message: Type.String() }, { description: 'It is deleted' }) },
  problems: { 401: ['STEP_UP_REQUIRED'], 404: ['WEBHOOK_NOT_FOUND'] },
}

const secretSchema = {
  ...shared,
  operationId: 'makeWebhookSecret',
  summary: 'Make a new secret for a webhook',
  description: 'The one before it signs too, for 24 hours.',
  params: Id,
  response: { 201: Type.Object({ secret: Secret }, { description: 'The new one' }) },
  problems: { 401: ['STEP_UP_REQUIRED'], 404: ['WEBHOOK_NOT_FOUND'] },
}

const testSchema = {
  ...shared,
  operationId: 'testWebhook',
  summary: `Send a ${testType} event now`,
  description: 'Once, also to a webhook that is disabled. Its receiver has five seconds.',
  params: Id,
  response: {
    200: Type.Object(
      {
        delivered: Type.Boolean(),
        status: Type.Union([Type.Integer(), Type.Null()]),
        error: Type.Union([Type.String(), Type.Null()]),
        durationMs: Type.Integer(),
      },
      { description: 'What the receiver responded' },
    ),
  },
  problems: { 401: ['STEP_UP_REQUIRED'], 404: ['WEBHOOK_NOT_FOUND'] },
}

/** Where others are notified of what happens, for admins. */
export function webhookRoutes(app: Application, dependencies: Dependencies): void {
  const { database, factorKey, outbound, sender, admin, fully } = dependencies
  const preHandler = [admin, fully]

  app.get('/api/admin/webhooks', { schema: listSchema, preHandler: admin }, async () => {
    const webhooks = await database.webhook.findMany({ orderBy: { id: 'asc' } })
    return { webhooks: webhooks.map(viewWebhook) }
  })

  app.post('/api/admin/webhooks', { schema: createSchema, preHandler }, async (request, reply) => {
    const { name, url, events } = request.body
    requireAllowed(outbound, url)
    const { webhook, secret } = await database.$transaction(async (transaction) => {
      // One after the other, so that they are counted.
      await transaction.$executeRaw`SELECT pg_advisory_xact_lock(hashtext('sallyport webhooks'))`
      if ((await transaction.webhook.count()) >= mostWebhooks)
        throw new Problem(409, 'WEBHOOK_LIMIT', 'There are too many webhooks', { detail: 'Delete one first.' })
      const webhook = await transaction.webhook.create({ data: { name, url, events } })
      return { webhook, secret: await addSecret(transaction, factorKey, webhook.id) }
    })
    await recordFor(request, webhook.id, 'webhook_created')
    return reply.code(201).send({ ...viewWebhook(webhook), secret })
  })

  app.get('/api/admin/webhooks/:id', { schema: detailsSchema, preHandler: admin }, async ({ params: { id } }) => {
    const include = { secrets: { where: isAlive(), orderBy: { createdAt: 'desc' } } } as const
    const webhook = await database.webhook.findUnique({ where: { id }, include })
    if (!webhook) throw unknownWebhook()
    const countOf = (state: string) => database.webhookDelivery.count({ where: { webhookId: id, state } })
    const [waiting, dead] = await Promise.all([countOf('pending'), countOf('dead')])
    return { ...viewWebhook(webhook), secrets: webhook.secrets.map(viewSecret), waiting, dead }
  })

  app.patch('/api/admin/webhooks/:id', { schema: changeSchema, preHandler }, async (request) => {
    const { id } = request.params
    const { url, enabled } = request.body
    if (url !== undefined) requireAllowed(outbound, url)
    // Whoever enables it gives it three days again, and whoever disables it knows why.
    const fresh = enabled === undefined ? {} : { disabledReason: null, failingSince: null, resumesAt: null }
    const data = { ...request.body, ...fresh }
    const [changed] = await database.webhook.updateManyAndReturn({ where: { id }, data })
    if (!changed) throw unknownWebhook()
    await recordFor(request, id, 'webhook_changed', Object.keys(request.body).join())
    return viewWebhook(changed)
  })

  app.delete('/api/admin/webhooks/:id', { schema: deleteSchema, preHandler }, async (request) => {
    const { id } = request.params
    // First, so that nobody who changes something waits while its deliveries are deleted, which may be many.
    await database.webhook.updateMany({ where: { id }, data: { enabled: false } })
    const { count } = await database.webhook.deleteMany({ where: { id } })
    if (count === 0) throw unknownWebhook()
    await recordFor(request, id, 'webhook_deleted')
    return { message: 'The webhook is deleted' }
  })

  app.post('/api/admin/webhooks/:id/secrets', { schema: secretSchema, preHandler }, async (request, reply) => {
    const { id } = request.params
    const secret = await database.$transaction(async (transaction) => {
      await lockWebhook(transaction, id)
      return addSecret(transaction, factorKey, id)
    })
    await recordFor(request, id, 'webhook_secret_made')
    return reply.code(201).send({ secret })
  })

  app.post('/api/admin/webhooks/:id/test', { schema: testSchema, preHandler }, async ({ params: { id } }) => {
    const include = { secrets: { where: isAlive(), orderBy: { createdAt: 'desc' } } } as const
    const webhook = await database.webhook.findUnique({ where: { id }, include })
    if (!webhook) throw unknownWebhook()
    const sealed = webhook.secrets.map(({ secret }) => secret)
    const target = { url: webhook.url, secrets: openSecrets(factorKey, id, sealed) }
    const begun = performance.now()
    const message = { id: randomUUID(), type: testType, at: new Date(), data: { webhook: id } }
    const { status, error } = await sender.send(target, message, testTimeout)
    return { delivered: error === null, status, error, durationMs: Math.round(performance.now() - begun) }
  })

  function recordFor(
    { log, ip, identity }: FastifyRequest,
    webhook: string,
    event: SecurityEvent['event'],
    what = '',
  ): Promise<void> {
    return record(database, log, { event, ip, reason: `${what} ${webhook} by ${identity.userId}`.trim() })
  }
}

/** Of secrets. */
const isAlive = () => ({ OR: [{ expiresAt: null }, { expiresAt: { gt: new Date() } }] })

/** @throws 404 WEBHOOK_NOT_FOUND */
async function lockWebhook(transaction: Prisma.TransactionClient, id: string): Promise<void> {
  const [found] = await transaction.$queryRaw<object[]>`
    SELECT id FROM auth.webhooks WHERE id = ${id}::uuid FOR NO KEY UPDATE`
  if (!found) throw unknownWebhook()
}

/** Below 1024 are services that are no receiver of webhooks, whatever they make of one. @throws 400 WEBHOOK_URL_INVALID */
function requireAllowed(outbound: Outbound, url: string): void {
  const { port } = URL.canParse(url) ? new URL(url) : { port: '' }
  if (outbound.allows(url) && (port === '' || Number(port) >= 1_024)) return
  throw new Problem(400, 'WEBHOOK_URL_INVALID', 'Nothing is sent to this address', {
    detail:
      'An address is over https, on port 443 or one from 1024, and without a password. WEBHOOK_ORIGINS of the auth service can allow others inside.',
  })
}
