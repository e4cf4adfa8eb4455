import '@sallyport/chassis/node-version'
import { createLogger, runProcess } from '@sallyport/chassis'
import { openRateLimitStore, showRateLimitStore } from '@sallyport/chassis/rate-limit'
import { createDatabase, isOutage, waitForDatabase, waitForSessions } from '@sallyport/database'
import { buildApp } from './app.ts'
import { readConfig } from './config.ts'
import { openBreached } from './passwords/breached.ts'
import { showPasswordHashes } from './passwords/metrics.ts'
import { createPasswords } from './passwords/passwords.ts'
import { notify } from './sessions/revocations.ts'
import { openKeySet } from './tokens/key-set.ts'

await runProcess('auth', async (environment) => {
  const config = readConfig(environment)
  const logger = createLogger('auth', config.logLevel)
  const breached = await openBreached(config.breachedPasswords)
  const onError = (err: Error) => logger.warn({ event: 'database_connection_lost', err })
  const { forLogins, others } = config.databaseConnections
  const reaching = { onError, pooled: config.databasePooled }
  const database = createDatabase(config.databaseUrl, { ...reaching, connections: others })
  const loginDatabase = createDatabase(config.databaseUrl, { ...reaching, connections: forLogins })
  const reachDatabase = async () => {
    await waitForDatabase(database, config.databaseWait)
    await waitForSessions(config.databaseDirectUrl, config.databaseWait, (...values) => database.run(notify, values))
  }
  // The process that hashes starts on a core of its own meanwhile.
  const [passwords] = await Promise.all([createPasswords(breached), reachDatabase()])
  const keys = openKeySet(() => readConfig(environment), logger)
  showPasswordHashes(passwords)
  const dependencies = { config, database, loginDatabase, isOutage, logger, passwords, keys }
  const rateLimitStore = config.redisUrl === undefined ? undefined : await openRateLimitStore(config.redisUrl, logger)
  if (rateLimitStore) showRateLimitStore(rateLimitStore)
  const app = await buildApp({ ...dependencies, rateLimitStore })
  app.addHook('preClose', async () => keys.close())
  app.addHook('onClose', async () => {
    await Promise.all([database.$disconnect(), loginDatabase.$disconnect(), passwords.close()])
  })
  return { app, config, logger, ready: () => waitForDatabase(database, 0), onHangup: keys.reload }
})
