import '@sallyport/chassis/node-version'
import { fileURLToPath } from 'node:url'
import { createLogger, runProcess } from '@sallyport/chassis'
import { buildApp } from './app.ts'
import { readConfig } from './config.ts'
import { readPage } from './page.ts'

await runProcess('web', async (environment) => {
  const config = readConfig(environment)
  const logger = createLogger('web', config.logLevel)
  const page = readPage(fileURLToPath(new URL('../page', import.meta.url)), config)
  return { app: buildApp({ config, page, logger }), config, logger, ready: async () => {} }
})
