import { createLogger, runProcess } from '@sallyport/chassis'
import { createDatabase, isOutage, waitForDatabase } from '@sallyport/database'
import { buildApp } from './app.ts'
import { readConfig } from './config.ts'
import { openTokens } from './live-tokens.ts'

await runProcess('auth', async (environment) => {
  const config = readConfig(environment)
  const logger = createLogger('auth', config.logLevel)
  const database = createDatabase(config.databaseUrl, {
    connections: config.databaseConnections,
    onError: (err) => logger.warn({ event: 'database_connection_lost', err }),
  })
  await waitForDatabase(database, config.databaseWait)
  const tokens = await openTokens(() => readConfig(environment), logger)
  const app = await buildApp({ config, database, isOutage, logger, tokens })
  app.addHook('preClose', async () => tokens.close())
  app.addHook('onClose', () => database.$disconnect())
  return { app, config, logger, ready: () => waitForDatabase(database, 0), onHangup: tokens.reload }
})
