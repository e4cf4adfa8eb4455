import { type Application, Problem } from '@sallyport/chassis'
import { type Database, isUniqueViolation } from '@sallyport/database'
import Type from 'typebox'
import { type AdminGuards, Id } from '../admin/fields.ts'
import { record } from '../events/security-events.ts'
import { Audience, ExchangeView, Roles, requireFitting, Scopes, viewExchange } from './fields.ts'
import { lockClient } from './lock-client.ts'

const shared = { tags: ['service accounts'] }

/** How many a service account has at most. */
const mostExchanges = 50

const addSchema = {
  ...shared,
  operationId: 'addExchange',
  summary: 'Let a service account act for its callers at one audience',
  description:
    'It may then exchange (RFC 8693) what the gateway says of a caller of its own service, the audience `from`, for a token for `audience`, with no other roles and scopes of theirs than these.',
  params: Id,
  body: Type.Object({ from: Audience, audience: Audience, roles: Roles, scopes: Scopes }),
  response: { 201: { ...ExchangeView, description: 'What it may exchange' } },
  problems: {
    401: ['STEP_UP_REQUIRED'],
    404: ['CLIENT_NOT_FOUND'],
    409: ['EXCHANGE_EXISTS', 'EXCHANGE_LIMIT'],
  },
}

const removeSchema = {
  ...shared,
  operationId: 'removeExchange',
  summary: 'No longer let a service account act for its callers at an audience',
  description: 'Tokens that it got so are refused from then on.',
  params: Type.Object({ ...Id.properties, exchangeId: Type.String({ format: 'uuid' }) }),
  response: { 200: Type.Object({ message: Type.String() }, { description: 'It may no longer' }) },
  problems: { 401: ['STEP_UP_REQUIRED'], 404: ['EXCHANGE_NOT_FOUND'] },
}

/** Where service accounts may act for their callers, for admins. */
export function exchangeRoutes(
  app: Application,
  { database, admin, fully }: { database: Database } & AdminGuards,
): void {
  const preHandler = [admin, fully]

  app.post('/api/admin/clients/:id/exchanges', { schema: addSchema, preHandler }, async (request, reply) => {
    const { params, body, log, ip, identity } = request
    const exchange = await addExchange(database, params.id, body)
    const reason = `${exchange.from} to ${exchange.audience} by ${identity.userId}`
    await record(database, log, { event: 'exchange_added', client: params.id, session: exchange.id, ip, reason })
    return reply.code(201).send(viewExchange(exchange))
  })

  app.delete(
    '/api/admin/clients/:id/exchanges/:exchangeId',
    { schema: removeSchema, preHandler },
    async ({ params: { id: client, exchangeId }, log, ip, identity }) => {
      const { count } = await database.clientExchange.deleteMany({ where: { id: exchangeId, clientId: client } })
      if (count === 0) throw new Problem(404, 'EXCHANGE_NOT_FOUND', 'There is no such exchange')
      const reason = `by ${identity.userId}`
      await record(database, log, { event: 'exchange_removed', client, session: exchangeId, ip, reason })
      return { message: 'The service account no longer acts for its callers there' }
    },
  )
}

/** @throws 404 CLIENT_NOT_FOUND, 409 EXCHANGE_EXISTS, EXCHANGE_LIMIT */
export async function addExchange(
  database: Database,
  clientId: string,
  exchange: { from: string; audience: string; roles: string[]; scopes: string[] },
) {
  requireFitting(exchange.scopes)
  return database.$transaction(async (transaction) => {
    await lockClient(transaction, clientId)
    if ((await transaction.clientExchange.count({ where: { clientId } })) >= mostExchanges)
      throw new Problem(409, 'EXCHANGE_LIMIT', 'The service account has too many exchanges')
    return transaction.clientExchange.create({ data: { clientId, ...exchange } }).catch((error) => {
      if (isUniqueViolation(error))
        throw new Problem(409, 'EXCHANGE_EXISTS', 'There is one from there to that audience: remove it to replace it')
      throw error
    })
  })
}
