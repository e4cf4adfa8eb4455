import { type Application, Problem } from '@sallyport/chassis'
import type { Database, Statement } from '@sallyport/database'
import type { Guard } from '@sallyport/identity'
import Type from 'typebox'
import type { Config } from '../config.ts'
import { record } from '../events/security-events.ts'
import { bucketOfSession, clearFailures, type Throttle, waitAfterFailures } from '../passwords/throttle.ts'
import type { AccessTokens } from '../tokens/access.ts'
import { type LiveSession, type SessionRow, toLiveSession } from './session.ts'

interface Dependencies {
  config: Config
  database: Database
  throttle: Throttle
  accessTokens: AccessTokens
  signedIn: Guard
}

const schema = {
  operationId: 'stepUp',
  tags: ['session'],
  summary: 'Prove once more who I am',
  body: Type.Object({ password: Type.String({ minLength: 1, format: 'password' }) }),
  response: {
    200: Type.Object(
      { accessToken: Type.String(), role: Type.String(), roles: Type.Array(Type.String()) },
      { description: 'A new access token of the same session' },
    ),
  },
  problems: { 403: ['PASSWORD_WRONG'], 503: ['LOGIN_BUSY'] },
}

/** The same session goes on, with a newer proof of who its user is. */
export function stepUpRoute(
  app: Application,
  { config, database, throttle, accessTokens, signedIn }: Dependencies,
): void {
  app.post(
    '/api/auth/step-up',
    {
      schema,
      preHandler: signedIn,
      config: { rateLimit: config.loginRateLimit },
    },
    async (request) =>
      throttle.admit(request.identity.sessionId, async () => {
        const { userId: user, sessionId: session } = request.identity
        const stored = await database.user.findUnique({ where: { id: user }, select: { passwordHash: true } })
        const bucket = bucketOfSession(request.identity)
        const verdict = await throttle.verify(request, bucket, stored?.passwordHash, request.body.password)
        const matches = verdict === 'right' || verdict === 'outdated'
        const proved = matches && (await confirmSession(database, request.identity, stored?.passwordHash as string))
        if (!proved) {
          const reason = verdict === 'throttled' ? verdict : 'wrong password'
          await record(database, request.log, { event: 'step_up_failed', user, session, ip: request.ip, reason })
          throw new Problem(403, 'PASSWORD_WRONG', 'The password is not right', { detail: waitAfterFailures })
        }
        await clearFailures(database, bucket)
        await record(database, request.log, { event: 'step_up_succeeded', user, session, ip: request.ip })
        const { roles } = proved.user
        return { accessToken: accessTokens.sign(proved), role: roles[0] as string, roles }
      }),
  )
}

const confirm: Statement = {
  name: 'confirm_session',
  text: `
    UPDATE auth.sessions s SET authenticated_at = now() FROM auth.users u
    WHERE s.id = $1 AND s.user_id = $2 AND u.id = s.user_id AND u.password_hash = $3 AND u.disabled_at IS NULL
      AND s.revoked_at IS NULL AND s.expires_at > now()
    RETURNING s.generation, floor(extract(epoch FROM s.rotated_at))::float8 AS rotated_at,
      floor(extract(epoch FROM s.expires_at))::float8 AS expires_at, u.email, u.name, u.roles`,
}

/** @returns undefined if the session has ended meanwhile, or the password has changed */
async function confirmSession(
  database: Database,
  { sessionId: id, userId }: { sessionId: string; userId: string },
  passwordHash: string,
): Promise<LiveSession | undefined> {
  const [row] = await database.run<SessionRow & { generation: number }>(confirm, [id, userId, passwordHash])
  return row && toLiveSession({ id, userId, generation: row.generation }, row)
}
