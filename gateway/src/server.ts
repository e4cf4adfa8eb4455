import { createLogger, runProcess } from '@sallyport/chassis'
import { Gauge } from 'prom-client'
import { buildApp } from './app.ts'
import { readConfig } from './config.ts'

await runProcess('gateway', async (environment) => {
  const config = readConfig(environment)
  const logger = createLogger('gateway', config.logLevel)
  const { app, keySet, revocations, routes } = await buildApp(config, environment, logger)
  new Gauge({
    name: 'sallyport_revocation_view_age_seconds',
    help: 'How long ago the view of ended sessions was last known to be current',
    collect() {
      this.set(revocations.age())
    },
  })
  return { app, config, logger, ready: keySet.ready, onHangup: routes.reload }
})
