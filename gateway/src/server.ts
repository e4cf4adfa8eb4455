import '@sallyport/chassis/node-version'
import cluster from 'node:cluster'
import { createLogger, runProcess } from '@sallyport/chassis'
import { readConfig } from './config.ts'

await runProcess('gateway', async (environment) => {
  const config = readConfig(environment)
  const { SALLYPORT_WORKER: worker } = environment
  const logger = createLogger('gateway', config.logLevel).child(cluster.isWorker ? { worker: Number(worker) } : {})
  if (cluster.isPrimary && config.workers > 1) {
    const { openPrimary } = await import('./workers/primary.ts')
    return openPrimary(config, logger)
  }
  const [{ buildApp }, { showState }] = await Promise.all([import('./app.ts'), import('./metrics.ts')])
  const together = cluster.isWorker ? (await import('./workers/ask-primary.ts')).askPrimary() : undefined
  const { app, issuers, routes, onClosing, ...dependencies } = await buildApp(config, environment, logger, together)
  showState(dependencies)
  return { app, config, logger, ready: () => issuers.ready(), onHangup: routes.reload, onClosing }
})
