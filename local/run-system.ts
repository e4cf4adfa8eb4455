import { once } from 'node:events'
import { existsSync, openSync, rmSync, writeFileSync, writeSync } from 'node:fs'
import { join } from 'node:path'
import { ConfigurationError, origins, readSettings, text } from '@sallyport/chassis'
import { demoPassword, demoUsers } from '@sallyport/database'
import { prepareOwnDatabase } from './database.ts'
import { openFolder, watchFolder } from './folder.ts'
import { keepSecrets } from './keep-secrets.ts'
import { lockFolder } from './lock.ts'
import { startMailbox } from './mailbox.ts'
import { choosePorts, type Ports } from './ports.ts'
import { endLeftover, startPostgres } from './postgres.ts'
import { endProcesses, type programs, routesFile, type StartedProcess, spawnProcess } from './system.ts'

/** Milliseconds in which whatever a killed start left behind ends by itself. */
const leftoversTimeout = 10_000

/**
 * Everything on one machine: database, services, gateway, web app. What was started is ended in the opposite order,
 * whenever and by whatever it is stopped.
 *
 * @param stop ends all of it when it is aborted, and is aborted when it cannot go on
 * @param say gets what the user should read
 * @throws what it was stopped for, or what kept it from starting
 */
export async function runSystem(
  environment: NodeJS.ProcessEnv,
  stop: AbortController,
  say: (text: string) => void,
): Promise<never> {
  const stopped = once(stop.signal, 'abort').then((): never => {
    throw stop.signal.reason
  })
  const endings: (() => unknown)[] = []
  try {
    await start(environment, stop, { stopped, endings, say })
    return await stopped
  } finally {
    for (const end of endings.reverse()) await end()
  }
}

interface Run {
  /** Rejects when all is to end. */
  stopped: Promise<never>
  /** What is to be done then, the last first. */
  endings: (() => unknown)[]
  say: (text: string) => void
}

async function start(environment: NodeJS.ProcessEnv, stop: AbortController, { stopped, endings, say }: Run) {
  const settings = readSettings(environment, {
    DATA_DIR: text({ default: '.data', desc: 'the folder for the database and the secrets (.data if not set)' }),
    CORS_ORIGINS: origins({
      default: [],
      desc: 'further origins allowed to send cross-origin requests, such as http://localhost:3000',
    }),
  })
  refuseToDeploy(environment)
  const folder = openFolder(settings.DATA_DIR)
  await lockFolder(folder)
  const fail = (why: string) => stop.abort(new ConfigurationError(why))
  endings.push(watchFolder(folder, () => fail(`${folder} was taken away, so all of it has ended`)))

  const mark = join(folder, 'running')
  const wasKilled = existsSync(mark)
  writeFileSync(mark, '')
  endings.push(() => rmSync(mark, { force: true }))
  await Promise.race([endLeftover(folder), stopped])
  const ports = await Promise.race([choosePorts(environment, wasKilled ? leftoversTimeout : 0), stopped])
  const secrets = keepSecrets(join(folder, 'secrets'))

  const postgres = await startPostgres({ folder, port: ports.postgres, signal: stop.signal })
  endings.push(postgres.stop)
  postgres.ended.then(() => fail(`PostgreSQL has ended; see ${postgres.logFile}`))
  const databases = await Promise.race([prepareOwnDatabase(postgres.url), stopped])

  const mailbox = await startMailbox(ports.mailbox)
  endings.push(mailbox.close)

  const log = join(folder, 'sallyport.log')
  rmSync(log, { force: true })
  // Once, so that a folder that is taken away meanwhile is no fault of its own.
  const logFile = openSync(log, 'a')
  const processes: StartedProcess[] = []
  endings.push(() => endProcesses(processes.splice(0)))
  const common = settingsOf(environment, { folder, ports, secrets, origins: settings.CORS_ORIGINS })
  const run = async (name: keyof typeof programs, more: NodeJS.ProcessEnv) => {
    const started = spawnProcess(name, { ...common, ...more }, (line) => writeSync(logFile, `${line}\n`))
    processes.push(started)
    await Promise.race([started.listening, stopped])
    started.ended.then(([code, signal]) => {
      // Not when we have ended it.
      if (processes.includes(started)) say(`${name} ended with ${signal ?? `code ${code}`}; see ${log}\n`)
    })
  }
  const services = ['auth', 'appointments', 'notifications'] as const
  await Promise.all(services.map((name) => run(name, { DATABASE_URL: databases[name] })))
  // Nothing but the browser is in front of these two, so they believe no X-Forwarded-For.
  const outermost = { TRUSTED_PROXIES: environment.TRUSTED_PROXIES }
  await Promise.all([run('gateway', outermost), run('web', outermost)])
  say(greeting(folder, ports, log))
}

/** The users that we make have a password that is published. */
function refuseToDeploy(environment: NodeJS.ProcessEnv): void {
  const { NODE_ENV, DATABASE_URL } = readSettings(environment, {
    NODE_ENV: text({ default: undefined, desc: 'development' }),
    DATABASE_URL: text({ default: undefined, desc: 'nothing' }),
  })
  const instead =
    'it makes users whose password is published. Run `npm run migrate` and then each process (docs/operations.md, "One process each")'
  const complaints = [
    NODE_ENV === 'production' && `NODE_ENV is production, which \`npm start\` is not for: ${instead}`,
    DATABASE_URL && `DATABASE_URL is set, and \`npm start\` has a database of its own: ${instead}, or unset it`,
  ].filter((complaint) => typeof complaint === 'string')
  if (complaints.length > 0) throw new ConfigurationError(complaints.join('\n'))
}

interface SettingsSources {
  folder: string
  ports: Ports
  secrets: Record<string, string>
  /** Origins allowed to send cross-origin requests, beside our own. */
  origins: string[]
}

const local = (port: number) => `http://127.0.0.1:${port}`
const named = (port: number) => `http://localhost:${port}`

/** The settings of all processes. What is set from outside wins, but for ports and origins, which are complete here. */
function settingsOf(
  environment: NodeJS.ProcessEnv,
  { folder, ports, secrets, origins }: SettingsSources,
): NodeJS.ProcessEnv {
  const { gateway, auth, appointments, notifications, web } = ports.of
  const { JWT_PRIVATE_KEY: _key, JWT_REFRESH_SECRET: _secret, ...others } = secrets
  const defaults = {
    TRUSTED_PROXIES: '127.0.0.1',
    JWT_ISSUER: named(gateway),
    JWT_AUDIENCE: named(gateway),
    DIRECTORY_ROLES: 'admin,doctor',
    GATEWAY_ORIGIN: named(gateway),
    JWKS_URL: `${local(auth)}/.well-known/jwks.json`,
    REVOCATIONS_URL: `${local(auth)}/internal/revocations`,
    GATEWAY_ROUTES: routesFile,
    AUTH_URL: local(auth),
    APPOINTMENTS_URL: local(appointments),
    NOTIFICATIONS_URL: local(notifications),
    SMTP_URL: `smtp://127.0.0.1:${ports.mailbox.smtp}`,
    MAIL_FROM: 'Sallyport <no-reply@sallyport.localhost>',
    APP_ORIGIN: named(web),
    REGISTRATION: 'open',
    REGISTRATION_ROLES: 'patient',
    // By file, so that `npm run keys` moves them while the system runs.
    JWT_PRIVATE_KEY_FILE: join(folder, 'secrets/jwt-private-key.pem'),
    JWT_REFRESH_SECRET_FILE: join(folder, 'secrets/jwt-refresh-secret'),
    ...others,
  }
  const complete = {
    ...ports.settings,
    MANAGEMENT_PORT: undefined,
    CORS_ORIGINS: [...[web, gateway, auth].flatMap((port) => [named(port), local(port)]), ...origins].join(),
  }
  return {
    ...environment,
    ...Object.fromEntries(Object.entries(defaults).filter(([name]) => !isSet(environment, name))),
    ...Object.fromEntries(Object.keys(complete).map((name) => [`${name}_FILE`, undefined])),
    ...complete,
  }
}

/** By its value or by a file that holds it. */
function isSet(environment: NodeJS.ProcessEnv, name: string): boolean {
  const setting = name.replace(/_FILE$/, '')
  return Boolean(environment[setting] || environment[`${setting}_FILE`])
}

const greeting = (folder: string, { postgres, mailbox, of }: Ports, log: string) => `
Sallyport is running. Ctrl-C stops it; the data stays in ${folder}.

  Open           ${named(of.web)}
  Mailbox        ${named(mailbox.page)}

  Gateway        ${named(of.gateway)}
  Auth           ${local(of.auth)}
  Appointments   ${local(of.appointments)}
  Notifications  ${local(of.notifications)}
  Database       export DATABASE_URL="postgresql://postgres:$(cat '${join(folder, 'postgres-password')}')@127.0.0.1:${postgres}/sallyport"
  Log            ${log}

  Sign in as     ${demoUsers.map(({ email }) => email).join(', ')}
  Password       ${demoPassword}

  Try            curl -s ${named(of.gateway)}/api/auth/login -H 'content-type: application/json' \\
                   -d '{"email":"doctor@example.com","password":"${demoPassword}"}'
`
