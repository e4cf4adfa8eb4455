import type { Application } from '@sallyport/chassis'
import type { Database } from '@sallyport/database'
import { rolePattern, uuidPattern } from '@sallyport/identity'
import type { Guard } from '@sallyport/identity/fastify'
import Type from 'typebox'

interface Dependencies {
  database: Database
  signedIn: Guard
  /** Lets through callers who may look up users whose ids they do not have. */
  mayLookUp: Guard
}

const uuid = uuidPattern.slice(1, -1)
const response = {
  200: Type.Object(
    { people: Type.Array(Type.Object({ id: Type.String(), name: Type.String() })) },
    { description: 'Ids and names' },
  ),
}

/** Names, and nothing else, for services that know users by their ids alone. */
export function directoryRoutes(app: Application, { database, signedIn, mayLookUp }: Dependencies): void {
  app.get(
    '/api/auth/people',
    {
      schema: {
        operationId: 'listPeople',
        tags: ['directory'],
        summary: 'The names of users',
        querystring: Type.Object({
          ids: Type.String({ pattern: `^${uuid}(,${uuid}){0,99}$`, description: '1 to 100 ids, with commas between' }),
        }),
        response,
      },
      preHandler: signedIn,
    },
    async ({ query }) => ({
      people: await database.user.findMany({
        where: { id: { in: query.ids.split(',') } },
        select: { id: true, name: true },
      }),
    }),
  )

  app.get(
    '/api/auth/directory',
    {
      schema: {
        operationId: 'listPeopleByRole',
        tags: ['directory'],
        summary: 'The users who have a role',
        querystring: Type.Object({ role: Type.String({ pattern: rolePattern }) }),
        response,
      },
      preHandler: mayLookUp,
    },
    async ({ query }) => ({
      people: await database.user.findMany({
        where: { roles: { has: query.role }, disabledAt: null },
        select: { id: true, name: true },
        orderBy: [{ name: 'asc' }, { id: 'asc' }],
        take: 500,
      }),
    }),
  )
}
