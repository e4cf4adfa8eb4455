import { createApplication, type Logger, ownCallers } from '@sallyport/chassis'
import type { Database } from '@sallyport/database'
import { requireCaller, requireIdentity, requireRole, requireScope } from '@sallyport/identity/fastify'
import type { Config } from './config.ts'
import { doctorRoutes } from './doctor.ts'
import { patientRoute } from './patient.ts'
import { whoamiRoute } from './whoami.ts'

interface Parts {
  config: Config
  database: Database
  isOutage: (error: unknown) => boolean
  logger: Logger
}

/** The sample service: it knows callers by their identity headers alone. */
export function buildApp({ config, database, isOutage, logger }: Parts) {
  const app = createApplication({ ...config, logger, isOutage, bodyLimit: 64 * 1024 })
  const signedIn = ownCallers(requireIdentity(config.trust))
  const anyCaller = ownCallers(requireCaller(['user', 'client'], config.trust))
  const doctorOrAdmin = ownCallers(requireRole(['doctor', 'admin'], config.trust))
  // They limit service accounts, also one that acts for somebody, and nobody's own token.
  const mayRead = requireScope(['appointments:read'], config.trust)
  const mayWrite = requireScope(['appointments:write'], config.trust)

  doctorRoutes(app, { database, reader: [doctorOrAdmin, mayRead], writer: [doctorOrAdmin, mayWrite] })
  patientRoute(app, { database, reader: [anyCaller, mayRead] })
  whoamiRoute(app, { signedIn })
  return app
}
