import type { Database } from '@sallyport/database'
import type { FastifyReply, FastifyRequest } from 'fastify'
import Type, { type Static } from 'typebox'
import type { Config } from '../config.ts'
import type { Notify } from '../mail/queue.ts'
import type { AccessTokens } from '../tokens/access.ts'
import type { RefreshTokens } from '../tokens/refresh.ts'
import { circumstancesOf } from './device.ts'
import { endSessionOfCookie } from './end-by-cookie.ts'
import type { KnownDevices } from './known-devices.ts'
import { openSession } from './open.ts'
import type { Method } from './session.ts'

interface Dependencies {
  config: Config
  database: Database
  accessTokens: AccessTokens
  refreshTokens: RefreshTokens
  devices: KnownDevices
  notify: Notify
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
 * (ASVS V7.2.4), and sets its cookie. The device is known to them from then on; if it was not, they are told by mail,
 * unless they have never signed in before.
 *
 * @param user with the hash that the password was checked against, or was just set to, or that they have
 * @param amr how they proved it
 * @returns undefined if the user was disabled or the password changed meanwhile
 */
export type SignIn = (
  request: FastifyRequest,
  reply: FastifyReply,
  user: { id: string; passwordHash: string; passwordVersion: number; deletion?: string | null },
  amr: Method[],
) => Promise<SignedIn | undefined>

export function createSignIn(dependencies: Dependencies): SignIn {
  const { config, database, accessTokens, refreshTokens, devices, notify } = dependencies
  return async (request, reply, user, amr) => {
    const device = devices.find(request, user)
    const userAgent = request.headers['user-agent']?.slice(0, 512)
    const { id: userId, passwordHash, deletion } = user
    const by = { userId, passwordHash, amr, userAgent, ip: request.ip, device, deletion }
    const session = await openSession(database, by, config.session)
    if (!session) return undefined
    request.log.warn({ event: 'login_succeeded', user: user.id, session: session.id, ip: request.ip })
    await endSessionOfCookie(request, { database, refreshTokens })
    await refreshTokens.set(reply, session)
    devices.remember(request, reply, user)
    const { id, name, email, roles } = session.user
    const { locale } = session
    if (device === undefined && !session.isFirst)
      await notify(database, { template: 'new_device', to: email, name, locale, ...circumstancesOf(request) })
    return { accessToken: accessTokens.sign(session), role: roles[0] as string, roles, user: { id, name, email } }
  }
}
