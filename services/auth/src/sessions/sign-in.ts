import type { Database } from '@sallyport/database'
import type { FastifyReply, FastifyRequest } from 'fastify'
import Type, { type Static } from 'typebox'
import type { Config } from '../config.ts'
import type { AccessTokens } from '../tokens/access.ts'
import type { RefreshTokens } from '../tokens/refresh.ts'
import { endSessionOfCookie } from './end-by-cookie.ts'
import { openSession } from './open.ts'

interface Dependencies {
  config: Config
  database: Database
  accessTokens: AccessTokens
  refreshTokens: RefreshTokens
}

export const SignedIn = Type.Object(
  {
    accessToken: Type.String(),
    role: Type.String(),
    roles: Type.Array(Type.String()),
    user: Type.Object({ id: Type.String(), name: Type.String(), email: Type.String() }),
  },
  { description: 'An access token, and the refresh cookie' },
)
type SignedIn = Static<typeof SignedIn>

/**
 * Signs in a user who has just proved who they are: opens a session in the place of the one that the browser had
 * (ASVS V7.2.4), and sets its cookie.
 *
 * @param user with the hash that the password was checked against, or was just set to
 * @returns undefined if the user was disabled or the password changed meanwhile
 */
export type SignIn = (
  request: FastifyRequest,
  reply: FastifyReply,
  user: { id: string; passwordHash: string },
) => Promise<SignedIn | undefined>

export function createSignIn({ config, database, accessTokens, refreshTokens }: Dependencies): SignIn {
  return async (request, reply, { id: userId, passwordHash }) => {
    const userAgent = request.headers['user-agent']?.slice(0, 512)
    const session = await openSession(database, { userId, passwordHash, userAgent, ip: request.ip }, config.session)
    if (!session) return undefined
    request.log.warn({ event: 'login_succeeded', user: userId, session: session.id, ip: request.ip })
    await endSessionOfCookie(request, { database, refreshTokens })
    await refreshTokens.set(reply, session)
    const { id, name, email, roles } = session.user
    return { accessToken: accessTokens.sign(session), role: roles[0] as string, roles, user: { id, name, email } }
  }
}
