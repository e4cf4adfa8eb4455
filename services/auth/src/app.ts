import cookie from '@fastify/cookie'
import rateLimit from '@fastify/rate-limit'
import { createApplication, type Logger, Problem } from '@sallyport/chassis'
import { countTogether, type RateLimitStore } from '@sallyport/chassis/rate-limit'
import type { Database } from '@sallyport/database'
import { requireIdentity, requireRole, requireUuids } from '@sallyport/identity'
import { createAskForMail } from './accounts/ask-for-mail.ts'
import { changeEmailRoutes, emailChangeTask, startEmailChange } from './accounts/change-email.ts'
import { checkTicketRoute } from './accounts/check-ticket.ts'
import { accountFormats } from './accounts/fields.ts'
import { meRoutes } from './accounts/me.ts'
import { registerRoutes, registrationTask, startRegistration } from './accounts/register.ts'
import { createUserRoute } from './admin/create-user.ts'
import { directoryRoutes } from './admin/directory.ts'
import { eventRoutes } from './admin/events.ts'
import { invitationRoutes } from './admin/invitations.ts'
import { oneUserRoutes } from './admin/user.ts'
import { userRoutes } from './admin/users.ts'
import type { Config, MailConfig } from './config.ts'
import { createChallengeTokens } from './factors/challenges.ts'
import { createChangeFactors } from './factors/change.ts'
import { createCheckCode } from './factors/codes.ts'
import { passkeyRoutes } from './factors/enrol-passkey.ts'
import { totpRoutes } from './factors/enrol-totp.ts'
import { createFactorKey } from './factors/factor-key.ts'
import { factorRoutes } from './factors/factors.ts'
import { factorLoginRoutes } from './factors/login.ts'
import { createSecondFactor } from './factors/second-factor.ts'
import { stepUpRoutes } from './factors/step-up.ts'
import { createNotify } from './mail/queue.ts'
import type { Tasks } from './mail/worker.ts'
import { changePasswordRoute } from './passwords/change.ts'
import { manyFailuresTask, tellOfFailures } from './passwords/many-failures.ts'
import type { Passwords } from './passwords/passwords.ts'
import { passwordFormats } from './passwords/policy.ts'
import { passwordResetTask, resetRoutes, startPasswordReset } from './passwords/reset.ts'
import { createThrottle } from './passwords/throttle.ts'
import { startHousekeeping } from './sessions/housekeeping.ts'
import { createKnownDevices } from './sessions/known-devices.ts'
import { loginRoute } from './sessions/login.ts'
import { logoutRoutes } from './sessions/logout.ts'
import { ownSessionRoutes } from './sessions/own-sessions.ts'
import { requireRecentSignIn } from './sessions/recent-sign-in.ts'
import { refreshRoute } from './sessions/refresh.ts'
import { revocationStreamRoute } from './sessions/revocation-stream.ts'
import { openRevocations } from './sessions/revocations.ts'
import { createSignIn } from './sessions/sign-in.ts'
import { createAccessTokens } from './tokens/access.ts'
import { createDerivedKeys } from './tokens/derived-keys.ts'
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
  /** With which the limits per client count for every process together. */
  rateLimitStore?: RateLimitStore | undefined
}

/** The auth service: its users, and which sessions they have. */
export async function buildApp(dependencies: Dependencies) {
  const { config, database, loginDatabase, isOutage, logger, passwords, keys, rateLimitStore } = dependencies
  const app = createApplication({
    ...config,
    logger,
    isOutage,
    bodyLimit: 16 * 1024,
    formats: { ...passwordFormats, ...accountFormats },
  })
  await app.register(cookie)
  const accessTokens = createAccessTokens(config.accessToken, keys)
  const refreshTokens = await registerRefreshTokens(app, config, keys)
  await app.register(rateLimit, {
    global: false,
    ...(rateLimitStore && { store: countTogether(rateLimitStore, 'sallyport:auth:') }),
    errorResponseBuilder: () => new Problem(429, 'RATE_LIMITED', 'Too many requests'),
  })
  const revocations = openRevocations(config, database, logger)
  const derivedKeys = createDerivedKeys(keys)
  const factorKey = createFactorKey(keys)
  const stopHousekeeping = startHousekeeping(database, logger, factorKey, config)
  const stopMail = config.mail && (await startMail(config.mail))
  app.addHook('preClose', async () => {
    await Promise.all([stopHousekeeping(), revocations.close(), stopMail?.()])
  })
  app.addHook('onClose', async () => rateLimitStore?.close())

  const signedIn = requireUuids(requireIdentity(config.trust))
  const admin = requireUuids(requireRole(['admin'], config.trust))
  const mayLookUp = requireUuids(requireRole(config.directoryRoles, config.trust))

  if (config.docs) {
    const { serveDocs } = await import('./openapi/serve.ts')
    await serveDocs(app, { signedIn, withRole: [admin, mayLookUp] }, config.gatewayOrigin)
  }

  const { recently, fully } = requireRecentSignIn(database)
  const notify = createNotify(config.mail)
  const devices = createKnownDevices(config, derivedKeys)
  const throttle = createThrottle({ config, database: loginDatabase, passwords })
  const checkCode = createCheckCode({ database: loginDatabase, factorKey, notify })
  const challengeTokens = createChallengeTokens(derivedKeys)
  const secondFactor = createSecondFactor({ config, database: loginDatabase, challengeTokens, checkCode })
  const changeFactors = createChangeFactors({ database, notify })
  const signIn = createSignIn({ config, database: loginDatabase, accessTokens, refreshTokens, devices, notify })
  const askForMail = createAskForMail(app, config, database)
  /** For what hashes passwords. */
  const hashing = {
    ...{ config, database: loginDatabase, passwords, throttle, keys: derivedKeys },
    ...{ devices, secondFactor, signIn, askForMail, notify },
  }
  /** For what admins do. */
  const administration = { config, database, keys: derivedKeys, notify, admin, fully }

  loginRoute(app, hashing)
  refreshRoute(app, { config, database, accessTokens, refreshTokens })
  logoutRoutes(app, { config, database, refreshTokens, signedIn, recently })
  factorLoginRoutes(app, hashing)
  stepUpRoutes(app, { ...hashing, accessTokens, checkCode, signedIn })
  registerRoutes(app, hashing)
  resetRoutes(app, hashing)
  checkTicketRoute(app, hashing)
  meRoutes(app, { config, database, refreshTokens, notify, signedIn, fully })
  changePasswordRoute(app, { ...hashing, signedIn, fully })
  changeEmailRoutes(app, { config, database, keys: derivedKeys, notify, askForMail, signedIn, fully })
  ownSessionRoutes(app, { database, signedIn, recently })
  factorRoutes(app, { config, database, changeFactors, signedIn, fully })
  totpRoutes(app, { config, database, factorKey, changeFactors, signedIn, fully })
  passkeyRoutes(app, { config, database, changeFactors, signedIn, fully })
  userRoutes(app, administration)
  createUserRoute(app, administration)
  oneUserRoutes(app, administration)
  invitationRoutes(app, administration)
  eventRoutes(app, administration)
  directoryRoutes(app, { database, signedIn, mayLookUp })
  jwksRoute(app, { keys })
  revocationStreamRoute(app, { config, revocations })
  return app

  /** Imported when there is mail to send: it takes a start as long as Fastify does. */
  async function startMail(mail: MailConfig) {
    const { startMailWorker } = await import('./mail/worker.ts')
    const dependencies = { config, database, keys: derivedKeys }
    const tasks = {
      [registrationTask]: (payload) => startRegistration(payload, dependencies),
      [passwordResetTask]: (payload) => startPasswordReset(payload, dependencies),
      [emailChangeTask]: (payload) => startEmailChange(payload, dependencies),
      [manyFailuresTask]: (payload) => tellOfFailures(payload, dependencies),
    } satisfies Tasks
    return startMailWorker({ databaseUrl: config.databaseUrl, mail, keys: derivedKeys, logger, tasks })
  }
}
