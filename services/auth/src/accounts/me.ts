import { type Application, Problem } from '@sallyport/chassis'
import type { Database } from '@sallyport/database'
import type { Guard } from '@sallyport/identity'
import Type from 'typebox'

const schema = {
  operationId: 'me',
  tags: ['account'],
  summary: 'Who I am',
  response: {
    200: Type.Object(
      {
        id: Type.String(),
        name: Type.String(),
        email: Type.String(),
        role: Type.String(),
        roles: Type.Array(Type.String()),
      },
      { description: 'As the database has it now' },
    ),
  },
  problems: { 404: ['USER_NOT_FOUND'] },
}

export function meRoute(app: Application, { database, signedIn }: { database: Database; signedIn: Guard }): void {
  app.get('/api/auth/me', { schema, preHandler: signedIn }, async (request) => {
    const user = await database.user.findUnique({ where: { id: request.identity.userId } })
    if (!user) throw new Problem(404, 'USER_NOT_FOUND', 'There is no such user')
    const { id, name, email, roles } = user
    return { id, name, email, role: roles[0] as string, roles }
  })
}
