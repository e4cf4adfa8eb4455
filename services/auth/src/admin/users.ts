import { type Application, storable } from '@sallyport/chassis'
import type { Database } from '@sallyport/database'
import Type from 'typebox'
import { Locale, Name } from '../accounts/fields.ts'
import { record } from '../events/security-events.ts'
import { changeUser, eventsOf } from './change-user.ts'
import { type AdminGuards, cursorDescription, Id, Limit, lastAdmin, Roles, unknownUser } from './fields.ts'
import { listUsers } from './list-users.ts'
import { UserView, viewUser } from './user-view.ts'

const listSchema = {
  operationId: 'listUsers',
  tags: ['administration'],
  summary: 'The users, page by page',
  querystring: Type.Object({
    email: Type.Optional(
      Type.String({ maxLength: 254, pattern: storable, description: 'a part of the e-mail address' }),
    ),
    limit: Type.Optional(Limit),
    cursor: Type.Optional(Type.String({ format: 'uuid', description: cursorDescription })),
  }),
  response: {
    200: Type.Object(
      { users: Type.Array(UserView), nextCursor: Type.Union([Type.String(), Type.Null()]) },
      { description: 'A page, and where the next begins' },
    ),
  },
}

const changeSchema = {
  operationId: 'changeUser',
  tags: ['administration'],
  summary: 'Change a user, disable or enable them',
  description: 'To enable a user whose deletion an admin asked for undoes that too.',
  params: Id,
  body: Type.Object(
    {
      name: Type.Optional(Name),
      locale: Type.Optional(Type.Union([Locale, Type.Null()])),
      roles: Type.Optional(Roles),
      disabled: Type.Optional(Type.Boolean()),
    },
    { minProperties: 1 },
  ),
  response: { 200: { ...UserView, description: 'The user as changed' } },
  problems: { 401: ['STEP_UP_REQUIRED'], 404: ['USER_NOT_FOUND'], 409: ['LAST_ADMIN'] },
}

/** The users, and how they are changed. */
export function userRoutes(app: Application, { database, admin, fully }: { database: Database } & AdminGuards): void {
  app.get('/api/admin/users', { schema: listSchema, preHandler: admin }, async (request) => {
    const { limit, ...filter } = request.query
    const { users, nextCursor } = await listUsers(database, filter, Number(limit ?? 20))
    return { users: users.map(viewUser), nextCursor }
  })

  app.patch('/api/admin/users/:id', { schema: changeSchema, preHandler: [admin, fully] }, async (request) => {
    const { id } = request.params
    const outcome = await changeUser(database, id, request.body)
    if (outcome.kind === 'unknown') throw unknownUser()
    if (outcome.kind === 'last_admin') throw lastAdmin()
    for (const event of eventsOf(outcome.before, outcome.after)) {
      const reason = `by ${request.identity.userId}`
      await record(database, request.log, { event, user: id, ip: request.ip, reason })
    }
    return viewUser(outcome.after)
  })
}
