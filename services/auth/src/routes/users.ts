import { type Application, problemSchema, storable } from '@sallyport/chassis'
import type { Database, User } from '@sallyport/database'
import type { Guard } from '@sallyport/identity'
import Type from 'typebox'

const UserView = Type.Object({
  id: Type.String(),
  name: Type.String(),
  email: Type.String(),
  role: Type.String(),
  roles: Type.Array(Type.String()),
  disabled: Type.Boolean(),
  createdAt: Type.String(),
})

const schema = {
  summary: 'The users, page by page',
  querystring: Type.Object({
    email: Type.Optional(
      Type.String({ maxLength: 254, pattern: storable, description: 'a part of the e-mail address' }),
    ),
    limit: Type.Optional(Type.String({ pattern: '^([1-9]\\d?|100)$', description: '1 to 100; 20 if not given' })),
    cursor: Type.Optional(Type.String({ format: 'uuid', description: '`nextCursor` of the page before' })),
  }),
  response: {
    200: Type.Object({ users: Type.Array(UserView), nextCursor: Type.Union([Type.String(), Type.Null()]) }),
    '4xx': problemSchema,
  },
}

/** User administration. */
export function userRoutes(app: Application, { database, admin }: { database: Database; admin: Guard }): void {
  app.get('/api/admin/users', { schema, preHandler: admin }, async (request) => {
    const { email, limit = '20', cursor } = request.query
    const size = Number(limit)
    const found = await database.user.findMany({
      where: {
        ...(email === undefined ? {} : { email: { contains: email.toLowerCase() } }),
        ...(cursor === undefined ? {} : { id: { gt: cursor } }),
      },
      orderBy: { id: 'asc' },
      take: size + 1,
    })
    const users = found.slice(0, size)
    return {
      users: users.map(({ id, name, email, roles, disabledAt, createdAt }) => ({
        id,
        name,
        email,
        role: roles[0] as string,
        roles,
        disabled: disabledAt !== null,
        createdAt: createdAt.toISOString(),
      })),
      nextCursor: found.length > size ? (users[size - 1] as User).id : null,
    }
  })
}
