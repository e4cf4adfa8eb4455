import cookie from '@fastify/cookie'
import rateLimit from '@fastify/rate-limit'
import { createApplication, type Logger, Problem } from '@sallyport/chassis'
import type { Database } from '@sallyport/database'
import { requireIdentity, requireRole, requireUuids } from '@sallyport/identity'
import type { Config } from './config.ts'
import { startHousekeeping } from './housekeeping.ts'
import { showRevocationSubscribers } from './metrics.ts'
import { type Passwords, passwordFormats } from './passwords.ts'
import { openRevocations } from './revocations.ts'
import { keySetRoute } from './routes/key-set.ts'
import { loginRoute } from './routes/login.ts'
import { logoutRoutes } from './routes/logout.ts'
import { meRoute } from './routes/me.ts'
import { passwordRoute } from './routes/password.ts'
import { peopleRoutes } from './routes/people.ts'
import { refreshRoute } from './routes/refresh.ts'
import { revocationsRoute } from './routes/revocations.ts'
import { sessionRoutes } from './routes/sessions.ts'
import { userRoutes } from './routes/users.ts'
import type { Tokens } from './tokens.ts'

interface Parts {
  config: Config
  database: Database
  /** For logins and changed passwords alone: however many wait there, a refresh waits for none of them. */
  loginDatabase: Database
  isOutage: (error: unknown) => boolean
  logger: Logger
  passwords: Passwords
  tokens: Tokens
}

/** The auth service: who people are, and which sessions they have. */
export async function buildApp({ config, database, loginDatabase, isOutage, logger, passwords, tokens }: Parts) {
  const app = createApplication({ ...config, logger, isOutage, bodyLimit: 16 * 1024, formats: passwordFormats })
  await app.register(cookie)
  await app.register(rateLimit, {
    global: false,
    errorResponseBuilder: () => new Problem(429, 'RATE_LIMITED', 'Too many requests'),
  })
  const revocations = openRevocations(config, database, logger)
  showRevocationSubscribers(revocations)
  const stopHousekeeping = startHousekeeping(database, logger)
  app.addHook('preClose', async () => {
    stopHousekeeping()
    await revocations.close()
  })

  const signedIn = requireUuids(requireIdentity(config.trust))
  const admin = requireUuids(requireRole(['admin'], config.trust))
  const mayLookUp = requireUuids(requireRole(config.directoryRoles, config.trust))

  if (config.docs) {
    const { serveDocs } = await import('./openapi.ts')
    await serveDocs(app, { signedIn, withRole: [admin, mayLookUp] }, config.gatewayOrigin)
  }

  loginRoute(app, { config, database: loginDatabase, passwords, tokens })
  refreshRoute(app, { config, database, tokens })
  logoutRoutes(app, { config, database, tokens, signedIn })
  meRoute(app, { database, signedIn })
  passwordRoute(app, { config, database: loginDatabase, passwords, signedIn })
  sessionRoutes(app, { database, signedIn })
  userRoutes(app, { database, admin })
  peopleRoutes(app, { database, signedIn, mayLookUp })
  keySetRoute(app, { tokens })
  revocationsRoute(app, { config, revocations })
  return app
}
