import { type Application, storable } from '@sallyport/chassis'
import type { Database, User } from '@sallyport/database'
import { partsOf } from '@sallyport/identity'
import Type from 'typebox'
import { Locale, Name } from '../accounts/fields.ts'
import { record, type SecurityEvent } from '../events/security-events.ts'
import { changeUser } from './change-user.ts'
import { type AdminGuards, cursorDescription, Id, Limit, lastAdmin, pageOf, Roles, unknownUser } from './fields.ts'
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
    const { rows, nextCursor } = pageOf(found, size)
    return { users: rows.map(viewUser), nextCursor }
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

/** Prisma makes a pattern of LIKE of what is to be contained, and leaves in it what means something there. */
const literally = (text: string) => text.replace(/[\\%_]/g, '\\$&')

function eventsOf(before: User, after: User): SecurityEvent['event'][] {
  const [wasDisabled, isDisabled] = [before.disabledAt !== null, after.disabledAt !== null]
  const happened: Partial<Record<SecurityEvent['event'], boolean>> = {
    user_renamed: before.name !== after.name,
    locale_changed: before.locale !== after.locale,
    roles_changed: before.roles.join() !== after.roles.join(),
    user_disabled: !wasDisabled && isDisabled,
    user_enabled: wasDisabled && !isDisabled,
    deletion_undone: before.deleteAfter !== null && after.deleteAfter === null,
  }
  return (Object.keys(happened) as SecurityEvent['event'][]).filter((event) => happened[event])
}
