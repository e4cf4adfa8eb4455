import cookie from '@fastify/cookie'
import rateLimit from '@fastify/rate-limit'
import { createApplication, type Logger, ownCallers, Problem } from '@sallyport/chassis'
import { countTogether, type RateLimitStore } from '@sallyport/chassis/rate-limit'
import type { Database } from '@sallyport/database'
import { requireIdentity, requireRole } from '@sallyport/identity/fastify'
import { createAskForMail } from './accounts/ask-for-mail.ts'
import { changeEmailRoutes } from './accounts/change-email.ts'
import { checkTicketRoute } from './accounts/check-ticket.ts'
import { accountFormats } from './accounts/fields.ts'
import { meRoutes } from './accounts/me.ts'
import { registerRoutes } from './accounts/register.ts'
import { createUserRoute } from './admin/create-user.ts'
import { directoryRoutes } from './admin/directory.ts'
import { eventRoutes } from './admin/events.ts'
import { createMayImpersonate, impersonationRoutes } from './admin/impersonate.ts'
import { invitationRoutes } from './admin/invitations.ts'
import { oneUserRoutes } from './admin/user.ts'
import { userRoutes } from './admin/users.ts'
import { startBackground } from './background.ts'
import { apiKeyRoute } from './clients/api-keys.ts'
import { clientRoutes } from './clients/clients.ts'
import { credentialRoutes } from './clients/credentials.ts'
import { exchangeRoutes } from './clients/exchanges.ts'
import { metadataRoute } from './clients/metadata.ts'
import { oauthRoutes } from './clients/oauth.ts'
import { createRemoteJwks } from './clients/remote-jwks.ts'
import type { Config } from './config.ts'
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
import { healthRoute } from './health/health.ts'
import { createNotify } from './mail/queue.ts'
import { createOutbound } from './outbound.ts'
import { changePasswordRoute } from './passwords/change.ts'
import type { Passwords } from './passwords/passwords.ts'
import { passwordFormats } from './passwords/policy.ts'
import { resetRoutes } from './passwords/reset.ts'
import { createThrottle } from './passwords/throttle.ts'
import { reportRoutes } from './replicas/reports.ts'
import { refuseActors } from './sessions/acting.ts'
import { createKnownDevices } from './sessions/known-devices.ts'
import { loginRoute } from './sessions/login.ts'
import { logoutRoutes } from './sessions/logout.ts'
import { ownSessionRoutes } from './sessions/own-sessions.ts'
import { requireRecentSignIn } from './sessions/recent-sign-in.ts'
import { refreshRoute } from './sessions/refresh.ts'
import { revocationStreamRoute } from './sessions/revocation-stream.ts'
import { openRevocations } from './sessions/revocations.ts'
import { shedLogins } from './sessions/shed-logins.ts'
import { createSignIn } from './sessions/sign-in.ts'
import { createAccessTokens } from './tokens/access.ts'
import { createDerivedKeys } from './tokens/derived-keys.ts'
import { jwksRoute } from './tokens/jwks.ts'
import type { KeySet } from './tokens/key-set.ts'
import { registerRefreshTokens } from './tokens/refresh.ts'
import { deliveryRoutes } from './webhooks/deliveries.ts'
import { createSender } from './webhooks/send.ts'
import { webhookRoutes } from './webhooks/webhooks.ts'

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
  const outbound = createOutbound(config.webhookOrigins, 'WEBHOOK_ORIGINS')
  const sender = createSender(outbound)
  const secrets = { keys, derivedKeys, factorKey }
  const stopBackground = await startBackground({ config, database, logger, passwords, revocations, sender, ...secrets })
  app.addHook('preClose', async () => {
    await Promise.all([revocations.close(), stopBackground()])
  })
  app.addHook('onClose', async () => rateLimitStore?.close())

  const actedFor = ownCallers(requireIdentity(config.trust))
  const signedIn = refuseActors(actedFor)
  const admin = refuseActors(ownCallers(requireRole(['admin'], config.trust)))
  const mayImpersonate = createMayImpersonate(config)
  const mayLookUp = ownCallers(requireRole(config.directoryRoles, config.trust))

  if (config.docs) {
    const { serveDocs } = await import('./openapi/serve.ts')
    const guards = {
      signedIn: [actedFor, signedIn],
      withRole: [admin, mayImpersonate, mayLookUp],
      own: [signedIn, admin, mayImpersonate],
    }
    await serveDocs(app, guards, config.gatewayOrigin)
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
  const remoteJwks = createRemoteJwks(config.clientJwksOrigins)
  const askForMail = createAskForMail(app, config, database)
  /** For what hashes passwords. */
  const hashing = {
    ...{ config, database: loginDatabase, passwords, throttle, keys: derivedKeys },
    ...{ devices, secondFactor, signIn, askForMail, notify },
  }
  /** For what admins do. */
  const administration = { config, database, keys: derivedKeys, notify, admin, fully }

  loginRoute(app, hashing)
  shedLogins(app, passwords, config.production)
  refreshRoute(app, { config, database, accessTokens, refreshTokens })
  logoutRoutes(app, { config, database, refreshTokens, signedIn, recently })
  factorLoginRoutes(app, hashing)
  stepUpRoutes(app, { ...hashing, accessTokens, checkCode, signedIn })
  registerRoutes(app, hashing)
  resetRoutes(app, hashing)
  checkTicketRoute(app, hashing)
  meRoutes(app, { config, database, refreshTokens, notify, signedIn, actedFor, fully })
  changePasswordRoute(app, { ...hashing, signedIn, fully })
  changeEmailRoutes(app, { config, database, keys: derivedKeys, notify, askForMail, signedIn, fully })
  ownSessionRoutes(app, { database, signedIn, actedFor, recently })
  factorRoutes(app, { config, database, changeFactors, signedIn, fully })
  totpRoutes(app, { config, database, factorKey, changeFactors, signedIn, fully })
  passkeyRoutes(app, { config, database, changeFactors, signedIn, fully })
  userRoutes(app, administration)
  createUserRoute(app, administration)
  oneUserRoutes(app, administration)
  invitationRoutes(app, administration)
  eventRoutes(app, administration)
  healthRoute(app, { ...administration, keys })
  directoryRoutes(app, { database, signedIn: actedFor, mayLookUp })
  impersonationRoutes(app, { config, database, accessTokens, notify, mayImpersonate, actedFor, fully })
  clientRoutes(app, administration)
  credentialRoutes(app, { ...administration, remoteJwks })
  exchangeRoutes(app, administration)
  webhookRoutes(app, { ...administration, factorKey, outbound, sender })
  deliveryRoutes(app, administration)
  await oauthRoutes(app, { config, database, accessTokens, keys, remoteJwks, isOutage })
  metadataRoute(app, { config })
  apiKeyRoute(app, { config, database, accessTokens })
  jwksRoute(app, { keys })
  revocationStreamRoute(app, { config, revocations })
  reportRoutes(app, { config, database })
  return app
}
