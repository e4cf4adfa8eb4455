import type { Application } from '@sallyport/chassis'
import type { Database } from '@sallyport/database'
import type { FastifyRequest } from 'fastify'
import Type from 'typebox'
import { Name } from '../accounts/fields.ts'
import { type AdminGuards, cursorDescription, Id, Limit, pageOf } from '../admin/fields.ts'
import type { Config } from '../config.ts'
import { record, type SecurityEvent } from '../events/security-events.ts'
import {
  Audiences,
  ClientView,
  CredentialView,
  ExchangeView,
  Roles,
  requireFitting,
  Scopes,
  unknownClient,
  viewClient,
  viewCredential,
  viewExchange,
} from './fields.ts'

interface Dependencies extends AdminGuards {
  config: Config
  database: Database
}

const shared = { tags: ['service accounts'] }

const listSchema = {
  ...shared,
  operationId: 'listClients',
  summary: 'The service accounts, page by page',
  querystring: Type.Object({
    limit: Type.Optional(Limit),
    cursor: Type.Optional(Type.String({ format: 'uuid', description: cursorDescription })),
  }),
  response: {
    200: Type.Object(
      { clients: Type.Array(ClientView), nextCursor: Type.Union([Type.String(), Type.Null()]) },
      { description: 'A page, and where the next begins' },
    ),
  },
}

const createSchema = {
  ...shared,
  operationId: 'createClient',
  summary: 'Make a service account',
  description:
    'It can do nothing before it has a credential. Its tokens are for the API as a whole, unless `audiences` says for what.',
  body: Type.Object({
    name: Name,
    roles: Type.Optional(Roles),
    scopes: Type.Optional(Scopes),
    audiences: Type.Optional(Audiences),
  }),
  response: { 201: { ...ClientView, description: 'The service account' } },
  problems: { 401: ['STEP_UP_REQUIRED'] },
}

const detailsSchema = {
  ...shared,
  operationId: 'getClient',
  summary: 'A service account, its credentials, and where it may act for its callers',
  params: Id,
  response: {
    200: Type.Object(
      {
        ...ClientView.properties,
        credentials: Type.Array(CredentialView),
        exchanges: Type.Array(ExchangeView),
      },
      { description: 'The service account' },
    ),
  },
  problems: { 404: ['CLIENT_NOT_FOUND'] },
}

const changeSchema = {
  ...shared,
  operationId: 'changeClient',
  summary: 'Change a service account',
  description: 'Tokens that say other roles, or more scopes or audiences, are refused from then on.',
  params: Id,
  body: Type.Object(
    {
      name: Type.Optional(Name),
      roles: Type.Optional(Roles),
      scopes: Type.Optional(Scopes),
      audiences: Type.Optional(Type.Array(Audiences.items, { ...Audiences, minItems: 1 })),
    },
    { minProperties: 1 },
  ),
  response: { 200: { ...ClientView, description: 'The service account as changed' } },
  problems: { 401: ['STEP_UP_REQUIRED'], 404: ['CLIENT_NOT_FOUND'] },
}

const deleteSchema = {
  ...shared,
  operationId: 'deleteClient',
  summary: 'Delete a service account',
  description: 'Its tokens are refused from then on, and those by which it acts for others.',
  params: Id,
  response: { 200: Type.Object({ message: Type.String() }, { description: 'It is gone' }) },
  problems: { 401: ['STEP_UP_REQUIRED'], 404: ['CLIENT_NOT_FOUND'] },
}

/** Service accounts, for admins. */
export function clientRoutes(app: Application, { config, database, admin, fully }: Dependencies): void {
  const preHandler = [admin, fully]
  const credentials = { select: { lastUsedAt: true } }

  app.get('/api/admin/clients', { schema: listSchema, preHandler: admin }, async ({ query }) => {
    const { limit = '20', cursor } = query
    const size = Number(limit)
    const found = await database.client.findMany({
      ...(cursor !== undefined && { where: { id: { gt: cursor } } }),
      include: { credentials },
      orderBy: { id: 'asc' },
      take: size + 1,
    })
    const { rows, nextCursor } = pageOf(found, size)
    return { clients: rows.map((client) => viewClient(client, client.credentials)), nextCursor }
  })

  app.post('/api/admin/clients', { schema: createSchema, preHandler }, async (request, reply) => {
    const { name, roles = [], scopes = [], audiences = [] } = request.body
    requireFitting(scopes, audiences)
    const data = { name, roles, scopes, audiences: audiences.length > 0 ? audiences : [config.accessToken.audience] }
    const client = await database.client.create({ data })
    await recordFor(request, client.id, 'client_created')
    return reply.code(201).send(viewClient(client, []))
  })

  app.get('/api/admin/clients/:id', { schema: detailsSchema, preHandler: admin }, async ({ params: { id } }) => {
    const orderBy = { createdAt: 'asc' } as const
    const include = { credentials: { orderBy }, exchanges: { orderBy } }
    const client = await database.client.findUnique({ where: { id }, include })
    if (!client) throw unknownClient()
    return {
      ...viewClient(client, client.credentials),
      credentials: client.credentials.map(viewCredential),
      exchanges: client.exchanges.map(viewExchange),
    }
  })

  app.patch('/api/admin/clients/:id', { schema: changeSchema, preHandler }, async (request) => {
    const { id } = request.params
    requireFitting(request.body.scopes, request.body.audiences)
    const [changed] = await database.client.updateManyAndReturn({ where: { id }, data: request.body })
    if (!changed) throw unknownClient()
    await recordFor(request, id, 'client_changed', Object.keys(request.body).join())
    return viewClient(changed, await database.clientCredential.findMany({ where: { clientId: id }, ...credentials }))
  })

  app.delete('/api/admin/clients/:id', { schema: deleteSchema, preHandler }, async (request) => {
    const { id } = request.params
    const { count } = await database.client.deleteMany({ where: { id } })
    if (count === 0) throw unknownClient()
    await recordFor(request, id, 'client_deleted')
    return { message: 'The service account is deleted' }
  })

  function recordFor(
    { log, ip, identity }: FastifyRequest,
    client: string,
    event: SecurityEvent['event'],
    what = '',
  ): Promise<void> {
    return record(database, log, { event, client, ip, reason: `${what} by ${identity.userId}`.trim() })
  }
}
