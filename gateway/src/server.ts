import { createLogger, runProcess } from '@sallyport/chassis'
import { Gauge } from 'prom-client'
import { buildApp } from './app.ts'
import { readConfig } from './config.ts'

await runProcess('gateway', async (environment) => {
  const config = readConfig(environment)
  const logger = createLogger('gateway', config.logLevel)
  const { app, keySet, revocations, routes, upstreams, sharedCounts } = await buildApp(config, environment, logger)
  new Gauge({
    name: 'sallyport_revocation_view_age_seconds',
    help: 'How long ago the view of ended sessions was last known to be current',
    collect() {
      this.set(revocations.age())
    },
  })
  new Gauge({
    name: 'sallyport_upstream_up',
    help: 'Whether requests are sent to an upstream (1), or it failed too often (0)',
    labelNames: ['upstream'],
    collect() {
      this.reset()
      for (const { origin, isUp } of upstreams.all) this.set({ upstream: origin }, Number(isUp))
    },
  })
  if (sharedCounts)
    new Gauge({
      name: 'sallyport_rate_limit_shared',
      help: 'Whether requests are counted together with the other gateways (1), or here alone (0)',
      collect() {
        this.set(Number(sharedCounts.isThere))
      },
    })
  return { app, config, logger, ready: keySet.ready, onHangup: routes.reload }
})
