import { type Application, Problem, storable } from '@sallyport/chassis'
import type { Database, User } from '@sallyport/database'
import { type Guard, mostRoles, partsOf, rolePattern } from '@sallyport/identity'
import Type, { type Static } from 'typebox'
import { record, type SecurityEvent } from '../events/security-events.ts'
import { endAllSessions } from '../sessions/end.ts'
import { changeUser } from './change-user.ts'

const UserView = Type.Object({
  id: Type.String(),
  name: Type.String(),
  email: Type.String(),
  role: Type.String(),
  roles: Type.Array(Type.String()),
  disabled: Type.Boolean(),
  createdAt: Type.String(),
})

const Id = Type.Object({ id: Type.String({ format: 'uuid' }) })

const listSchema = {
  operationId: 'listUsers',
  tags: ['administration'],
  summary: 'The users, page by page',
  querystring: Type.Object({
    email: Type.Optional(
      Type.String({ maxLength: 254, pattern: storable, description: 'a part of the e-mail address' }),
    ),
    limit: Type.Optional(Type.String({ pattern: '^([1-9]\\d?|100)$', description: '1 to 100; 20 if not given' })),
    cursor: Type.Optional(Type.String({ format: 'uuid', description: '`nextCursor` of the page before' })),
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
  summary: "Change a user's roles, disable or enable them",
  params: Id,
  body: Type.Object(
    {
      roles: Type.Optional(
        Type.Array(Type.String({ pattern: rolePattern }), { minItems: 1, maxItems: mostRoles, uniqueItems: true }),
      ),
      disabled: Type.Optional(Type.Boolean()),
    },
    { minProperties: 1 },
  ),
  response: { 200: { ...UserView, description: 'The user as changed' } },
  problems: { 404: ['USER_NOT_FOUND'], 409: ['LAST_ADMIN'] },
}

const endSchema = {
  operationId: 'endSessionsOfUser',
  tags: ['administration'],
  summary: 'End every session of a user',
  params: Id,
  response: { 200: Type.Object({ message: Type.String() }, { description: 'How many have ended' }) },
  problems: { 404: ['USER_NOT_FOUND'] },
}

const unknownUser = () => new Problem(404, 'USER_NOT_FOUND', 'There is no such user')

/** User administration. */
export function userRoutes(app: Application, { database, admin }: { database: Database; admin: Guard }): void {
  app.get('/api/admin/users', { schema: listSchema, preHandler: admin }, async (request) => {
    const { email, limit = '20', cursor } = request.query
    const size = Number(limit)
    const found = await database.user.findMany({
      where: {
        ...(email === undefined
          ? {}
          : { OR: partsOf(email).map((part) => ({ email: { contains: literally(part) } })) }),
        ...(cursor === undefined ? {} : { id: { gt: cursor } }),
      },
      orderBy: { id: 'asc' },
      take: size + 1,
    })
    const users = found.slice(0, size)
    return { users: users.map(view), nextCursor: found.length > size ? (users[size - 1] as User).id : null }
  })

  app.patch('/api/admin/users/:id', { schema: changeSchema, preHandler: admin }, async (request) => {
    const outcome = await changeUser(database, request.params.id, request.body)
    if (outcome.kind === 'unknown') throw unknownUser()
    if (outcome.kind === 'last_admin')
      throw new Problem(409, 'LAST_ADMIN', 'This is the last admin', {
        detail: 'Make somebody else an admin first, or nobody could.',
      })
    for (const happened of eventsOf(outcome.before, outcome.after))
      await record(database, request.log, {
        ...happened,
        user: request.params.id,
        ip: request.ip,
        reason: `by ${request.identity.userId}`,
      })
    return view(outcome.after)
  })

  app.delete('/api/admin/users/:id/sessions', { schema: endSchema, preHandler: admin }, async (request) => {
    const { id } = request.params
    if (!(await database.user.findUnique({ where: { id }, select: { id: true } }))) throw unknownUser()
    const count = await endAllSessions(database, id, 'revoked_by_admin')
    await record(database, request.log, {
      event: 'sessions_ended',
      user: id,
      ip: request.ip,
      reason: `revoked_by_admin ${request.identity.userId}`,
    })
    return { message: `${count} sessions have ended` }
  })
}

/** Prisma makes a pattern of LIKE of what is to be contained, and leaves in it what means something there. */
const literally = (text: string) => text.replace(/[\\%_]/g, '\\$&')

function eventsOf(before: User, after: User): Pick<SecurityEvent, 'event'>[] {
  const wasDisabled = before.disabledAt !== null
  const isDisabled = after.disabledAt !== null
  return [
    ...(before.roles.join() === after.roles.join() ? [] : [{ event: 'roles_changed' } as const]),
    ...(wasDisabled === isDisabled ? [] : [{ event: isDisabled ? 'user_disabled' : 'user_enabled' } as const]),
  ]
}

function view({ id, name, email, roles, disabledAt, createdAt }: User): Static<typeof UserView> {
  return {
    id,
    name,
    email,
    role: roles[0] as string,
    roles,
    disabled: disabledAt !== null,
    createdAt: createdAt.toISOString(),
  }
}
