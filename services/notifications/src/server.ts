import '@sallyport/chassis/node-version'
import { createLogger, runProcess } from '@sallyport/chassis'
import { buildApp } from './app.ts'
import { readConfig } from './config.ts'

await runProcess('notifications', async (environment) => {
  const config = readConfig(environment)
  const logger = createLogger('notifications', config.logLevel)
  const { app, ready } = await buildApp({ config, logger })
  return { app, config, logger, ready }
})
