import { appendFileSync, mkdirSync, rmSync } from 'node:fs'
import { join, resolve } from 'node:path'
import { ConfigurationError, databaseAddress, port, readSettings, text } from '@sallyport/chassis'
import { demoPassword, demoUsers } from '@sallyport/database'
import closeWithGrace from 'close-with-grace'
import { type DatabaseUrls, prepareDatabase, prepareOwnDatabase } from './database.ts'
import { startPostgres } from './postgres.ts'
import { keepSecrets } from './secrets.ts'
import { endProcesses, type RunningProcess, routesFile, startProcess } from './system.ts'

/** What is to be ended, the last first. */
const endings: (() => Promise<void>)[] = []

async function endAll(): Promise<void> {
  for (const end of endings.splice(0).reverse()) await end()
}

/** Everything on one machine: database, services, gateway, web app. */
async function start(environment: NodeJS.ProcessEnv): Promise<string> {
  const settings = readSettings(environment, {
    DATA_DIR: text({ default: '.data', desc: 'the folder for the database and the secrets (.data if not set)' }),
    DATABASE_URL: databaseAddress({ default: undefined, desc: 'postgresql://user:password@host:5432/database' }),
    EMBEDDED_PG_PORT: port({ default: 5433, desc: 'the port for the built-in PostgreSQL (5433 if not set)' }),
    GATEWAY_PORT: port({ default: 5000, desc: 'a port number (5000 if not set)' }),
    AUTH_PORT: port({ default: 5001, desc: 'a port number (5001 if not set)' }),
    APPOINTMENTS_PORT: port({ default: 5002, desc: 'a port number (5002 if not set)' }),
    NOTIFICATIONS_PORT: port({ default: 5003, desc: 'a port number (5003 if not set)' }),
    WEB_PORT: port({ default: 5173, desc: 'a port number (5173 if not set)' }),
  })
  const folder = resolve(settings.DATA_DIR)
  mkdirSync(folder, { recursive: true, mode: 0o700 })

  const databases = await openDatabase(settings.DATABASE_URL, folder, settings.EMBEDDED_PG_PORT)

  const gateway = `http://localhost:${settings.GATEWAY_PORT}`
  const web = `http://localhost:${settings.WEB_PORT}`
  const local = (number: number) => `http://127.0.0.1:${number}`
  const auth = local(settings.AUTH_PORT)
  const { JWT_PRIVATE_KEY: _key, JWT_REFRESH_SECRET: _secret, ...secrets } = keepSecrets(join(folder, 'secrets'))
  const shared = {
    TRUSTED_PROXIES: '127.0.0.1',
    CORS_ORIGINS: [web, gateway, local(settings.WEB_PORT), local(settings.GATEWAY_PORT)].join(),
    JWT_ISSUER: gateway,
    JWT_AUDIENCE: gateway,
    DIRECTORY_ROLES: 'admin,doctor',
    GATEWAY_ORIGIN: gateway,
    JWKS_URL: `${auth}/.well-known/jwks.json`,
    REVOCATIONS_URL: `${auth}/internal/revocations`,
    GATEWAY_ROUTES: routesFile,
    AUTH_URL: auth,
    APPOINTMENTS_URL: local(settings.APPOINTMENTS_PORT),
    NOTIFICATIONS_URL: local(settings.NOTIFICATIONS_PORT),
    // By file, so that `npm run keys` moves them while the system runs.
    JWT_PRIVATE_KEY_FILE: join(folder, 'secrets/jwt-private-key.pem'),
    JWT_REFRESH_SECRET_FILE: join(folder, 'secrets/jwt-refresh-secret'),
    ...withoutMounted(secrets, environment),
    ...environment,
  }
  const log = join(folder, 'sallyport.log')
  rmSync(log, { force: true })
  const running: RunningProcess[] = []
  endings.push(() => endProcesses(running))
  const run = async (name: RunningProcess['name'], more: object = {}) => {
    const started = await startProcess(name, { ...shared, ...more }, (line) => appendFileSync(log, `${line}\n`))
    running.push(started)
    started.ended.then(([code]) => process.emitWarning(`${name} ended with code ${code}; see ${log}`))
  }
  const services = ['auth', 'appointments', 'notifications'] as const
  await Promise.all(services.map((name) => run(name, { DATABASE_URL: databases[name] })))
  // Nothing but the browser is in front of these two, so they believe no X-Forwarded-For.
  const outermost = { TRUSTED_PROXIES: environment.TRUSTED_PROXIES }
  await Promise.all([run('gateway', outermost), run('web', outermost)])

  return `
Sallyport is running. Ctrl-C stops it; the data stays in ${folder}.

  Open           ${web}

  Gateway        ${gateway}
  Auth           ${auth}
  Appointments   ${shared.APPOINTMENTS_URL}
  Notifications  ${shared.NOTIFICATIONS_URL}
  Log            ${log}

  Sign in as     ${demoUsers.map(({ email }) => email).join(', ')}
  Password       ${demoPassword}

  Try            curl -s ${gateway}/api/auth/login -H 'content-type: application/json' \\
                   -d '{"email":"doctor@example.com","password":"${demoPassword}"}'
`
}

/** A secret that a file holds (NAME_FILE) is not ours to make up. */
function withoutMounted(secrets: Record<string, string>, environment: NodeJS.ProcessEnv): Record<string, string> {
  return Object.fromEntries(Object.entries(secrets).filter(([name]) => !environment[`${name}_FILE`]))
}

/** The database of whoever starts us, as it is; or else our own. */
async function openDatabase(url: string | undefined, folder: string, port: number): Promise<DatabaseUrls> {
  if (url) {
    await prepareDatabase(url)
    return { auth: url, appointments: url, notifications: url }
  }
  const postgres = await startPostgres({ folder, port })
  endings.push(postgres.stop)
  return prepareOwnDatabase(postgres.url)
}

function report(error: Error): void {
  process.stderr.write(`${error instanceof ConfigurationError ? error.message : error.stack}\n`)
}

closeWithGrace({ delay: 10_000 }, async ({ err }) => {
  if (err) report(err)
  await endAll()
})
try {
  process.stdout.write(await start(process.env))
} catch (error) {
  await endAll()
  report(error as Error)
  process.exit(1)
}
