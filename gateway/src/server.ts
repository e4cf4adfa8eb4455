import '@sallyport/chassis/node-version'
import { createLogger, runProcess } from '@sallyport/chassis'
import { buildApp } from './app.ts'
import { readConfig } from './config.ts'
import { showState } from './metrics.ts'

await runProcess('gateway', async (environment) => {
  const config = readConfig(environment)
  const logger = createLogger('gateway', config.logLevel)
  const { app, issuers, routes, onClosing, ...dependencies } = await buildApp(config, environment, logger)
  showState(dependencies)
  return { app, config, logger, ready: () => issuers.ready(), onHangup: routes.reload, onClosing }
})
