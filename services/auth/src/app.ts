import cookie from '@fastify/cookie'
import rateLimit from '@fastify/rate-limit'
import { createApplication, type Logger, Problem } from '@sallyport/chassis'
import type { Database } from '@sallyport/database'
import { requireIdentity, requireRole, requireUuids } from '@sallyport/identity'
import { meRoute } from './accounts/me.ts'
import { directoryRoutes } from './admin/directory.ts'
import { userRoutes } from './admin/users.ts'
import type { Config } from './config.ts'
import { changePasswordRoute } from './passwords/change.ts'
import type { Passwords } from './passwords/passwords.ts'
import { passwordFormats } from './passwords/policy.ts'
import { startHousekeeping } from './sessions/housekeeping.ts'
import { loginRoute } from './sessions/login.ts'
import { logoutRoutes } from './sessions/logout.ts'
import { ownSessionRoutes } from './sessions/own-sessions.ts'
import { refreshRoute } from './sessions/refresh.ts'
import { revocationStreamRoute } from './sessions/revocation-stream.ts'
import { openRevocations } from './sessions/revocations.ts'
import { createAccessTokens } from './tokens/access.ts'
import { jwksRoute } from './tokens/jwks.ts'
import type { KeySet } from './tokens/key-set.ts'
import { registerRefreshTokens } from './tokens/refresh.ts'

interface Dependencies {
  config: Config
  database: Database
  /** For logins and changed passwords alone: however many wait there, a refresh waits for none of them. */
  loginDatabase: Database
  isOutage: (error: unknown) => boolean
  logger: Logger
  passwords: Passwords
  /** The keys of the moment. */
  keys: { readonly current: KeySet }
}

/** The auth service: its users, and which sessions they have. */
export async function buildApp({ config, database, loginDatabase, isOutage, logger, passwords, keys }: Dependencies) {
  const app = createApplication({ ...config, logger, isOutage, bodyLimit: 16 * 1024, formats: passwordFormats })
  await app.register(cookie)
  const accessTokens = createAccessTokens(config.accessToken, keys)
  const refreshTokens = await registerRefreshTokens(app, config, keys)
  await app.register(rateLimit, {
    global: false,
    errorResponseBuilder: () => new Problem(429, 'RATE_LIMITED', 'Too many requests'),
  })
  const revocations = openRevocations(config, database, logger)
  const stopHousekeeping = startHousekeeping(database, logger)
  // Imported when there is mail to send: it takes a start as long as Fastify does.
  const stopMail =
    config.mail && (await (await import('./mail/worker.ts')).startMailWorker(config.databaseUrl, config.mail, logger))
  app.addHook('preClose', async () => {
    stopHousekeeping()
    await Promise.all([revocations.close(), stopMail?.()])
  })

  const signedIn = requireUuids(requireIdentity(config.trust))
  const admin = requireUuids(requireRole(['admin'], config.trust))
  const mayLookUp = requireUuids(requireRole(config.directoryRoles, config.trust))

  if (config.docs) {
    const { serveDocs } = await import('./openapi/serve.ts')
    await serveDocs(app, { signedIn, withRole: [admin, mayLookUp] }, config.gatewayOrigin)
  }

  loginRoute(app, { config, database: loginDatabase, passwords, accessTokens, refreshTokens })
  refreshRoute(app, { config, database, accessTokens, refreshTokens })
  logoutRoutes(app, { config, database, refreshTokens, signedIn })
  meRoute(app, { database, signedIn })
  changePasswordRoute(app, { config, database: loginDatabase, passwords, signedIn })
  ownSessionRoutes(app, { database, signedIn })
  userRoutes(app, { database, admin })
  directoryRoutes(app, { database, signedIn, mayLookUp })
  jwksRoute(app, { keys })
  revocationStreamRoute(app, { config, revocations })
  return app
}
