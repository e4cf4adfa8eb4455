import '@sallyport/chassis/node-version'
import { createLogger, runProcess } from '@sallyport/chassis'
import { createDatabase, isOutage, waitForDatabase } from '@sallyport/database'
import { buildApp } from './app.ts'
import { readConfig } from './config.ts'

await runProcess('appointments', async (environment) => {
  const config = readConfig(environment)
  const logger = createLogger('appointments', config.logLevel)
  const database = createDatabase(config.databaseUrl, {
    connections: config.databaseConnections,
    pooled: config.databasePooled,
    onError: (err) => logger.warn({ event: 'database_connection_lost', err }),
  })
  await waitForDatabase(database, config.databaseWait)
  const app = buildApp({ config, database, isOutage, logger })
  app.addHook('onClose', () => database.$disconnect())
  return { app, config, logger, ready: () => waitForDatabase(database, 0) }
})
