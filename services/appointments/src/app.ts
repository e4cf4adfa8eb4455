import { createApplication, type Logger } from '@sallyport/chassis'
import type { Database } from '@sallyport/database'
import { requireIdentity, requireRole, requireUuids } from '@sallyport/identity'
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
  const signedIn = requireUuids(requireIdentity(config.trust))
  const doctorOrAdmin = requireUuids(requireRole(['doctor', 'admin'], config.trust))

  doctorRoutes(app, { database, doctorOrAdmin })
  patientRoute(app, { database, signedIn })
  whoamiRoute(app, { signedIn })
  return app
}
