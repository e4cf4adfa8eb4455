import { generateKeyPairSync, randomBytes } from 'node:crypto'
import { createLogger } from '@sallyport/chassis'
import { createDatabase, isOutage } from '@sallyport/database'
import { buildApp } from '../app.ts'
import { readConfig } from '../config.ts'
import { createPasswords } from '../passwords/passwords.ts'
import { createKeySet } from '../tokens/key-set.ts'

// The app as it runs in development, with keys of the moment. Nothing listens, and there is no database to query.
const { privateKey } = generateKeyPairSync('ec', { namedCurve: 'P-256' })
const config = readConfig({
  NODE_ENV: 'development',
  DATABASE_URL: 'postgresql://nobody@127.0.0.1:1/none',
  JWT_ISSUER: 'https://app.example.com',
  JWT_AUDIENCE: 'https://api.example.com',
  JWT_PRIVATE_KEY: privateKey.export({ type: 'pkcs8', format: 'pem' }).toString(),
  JWT_REFRESH_SECRET: randomBytes(48).toString('base64'),
  FACTOR_KEY: randomBytes(48).toString('base64'),
})
const logger = createLogger('auth', 'silent')
const database = createDatabase(config.databaseUrl, { connections: 1, onError: logger.error.bind(logger) })
const passwords = await createPasswords()
const app = await buildApp({
  config,
  database,
  loginDatabase: database,
  isOutage,
  logger,
  passwords,
  keys: { current: createKeySet(config) },
})
await app.ready()
process.stdout.write(`${JSON.stringify(app.swagger(), null, 2)}\n`)
await app.close()
await passwords.close()
