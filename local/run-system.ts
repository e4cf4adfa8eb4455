import { once } from 'node:events'
import { existsSync, openSync, rmSync, writeFileSync, writeSync } from 'node:fs'
import { join } from 'node:path'
import { ConfigurationError, origins, readSettings, text } from '@sallyport/chassis'
import { type DatabaseUrls, prepareOwnDatabase } from './database.ts'
import { makeFirstUser } from './first-user.ts'
import { openFolder, watchFolder } from './folder.ts'
import { greet } from './greeting.ts'
import { keepSecrets } from './keep-secrets.ts'
import { lockFolder } from './lock.ts'
import { startMailbox } from './mailbox.ts'
import { choosePorts } from './ports.ts'
import { endLeftover, startPostgres } from './postgres.ts'
import type { Project, ProjectUsers, Settings } from './project.ts'
import { endProcesses, type StartedProcess, spawnProcess } from './system.ts'
import { local, named, settingsOf, unlessSet } from './system-settings.ts'

/** Milliseconds in which whatever a killed start left behind ends by itself. */
const leftoversTimeout = 10_000

/** What runs, once it does. */
export interface RunningSystem {
  /** What browsers open. */
  page: string
  gateway: string
  /** Where mail arrives; undefined, as what follows, where no auth service runs. */
  mailbox: string | undefined
  /** As the auth service has it. */
  databaseUrl: string | undefined
  users: ProjectUsers
}

/**
 * Everything on one machine: database, services, gateway. What was started is ended in the opposite order, whenever and
 * by whatever it is stopped.
 *
 * @param stop ends all of it when it is aborted, and is aborted when it cannot go on
 * @param say gets what the user should read
 * @throws what it was stopped for, or what kept it from starting
 */
export async function runSystem(
  project: Project,
  environment: NodeJS.ProcessEnv,
  stop: AbortController,
  say: (text: string) => void,
  onRunning: (system: RunningSystem) => void = () => {},
): Promise<never> {
  const stopped = once(stop.signal, 'abort').then((): never => {
    throw stop.signal.reason
  })
  // What fails before may be all that anybody waits for.
  stopped.catch(() => {})
  const endings: (() => unknown)[] = []
  const set = { ...environment, ...unlessSet(environment, project.settings ?? {}) }
  try {
    onRunning(await start(project, set, stop, { stopped, endings, say }))
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

async function start(
  project: Project,
  environment: NodeJS.ProcessEnv,
  stop: AbortController,
  { stopped, endings, say }: Run,
): Promise<RunningSystem> {
  const settings = readSettings(environment, {
    DATA_DIR: text({ default: '.data', desc: 'the folder for the database and the secrets (.data if not set)' }),
    CORS_ORIGINS: origins({
      default: [],
      desc: 'further origins allowed to send cross-origin requests, such as http://localhost:3000',
    }),
    DATABASE_URL: text({ default: undefined, desc: 'the database, in the place of one of its own' }),
  })
  refuseToDeploy(project, environment)
  const folder = openFolder(settings.DATA_DIR)
  await lockFolder(folder)
  const fail = (why: string) => stop.abort(new ConfigurationError(why))
  endings.push(watchFolder(folder, () => fail(`${folder} was taken away, so all of it has ended`)))

  const mark = join(folder, 'running')
  const wasKilled = existsSync(mark)
  writeFileSync(mark, '')
  endings.push(() => rmSync(mark, { force: true }))
  await Promise.race([endLeftover(folder), stopped])
  const ports = await Promise.race([
    choosePorts(environment, defaultPortsOf(project), wasKilled ? leftoversTimeout : 0),
    stopped,
  ])
  const secretsFolder = join(folder, 'secrets')
  const secrets = keepSecrets(secretsFolder)

  const log = join(folder, 'sallyport.log')
  rmSync(log, { force: true })
  // Once, so that a folder that is taken away meanwhile is no fault of its own.
  const logFile = openSync(log, 'a')
  const page = named(ports.of[project.page ?? 'gateway'] as number)
  const common = settingsOf(project, environment, { folder, ports, secrets, page, origins: settings.CORS_ORIGINS })

  let users: ProjectUsers = { emails: [], password: '' }
  let databases: DatabaseUrls | undefined
  let prepared: Record<string, Settings> = {}
  if (project.signIn === 'auth') {
    databases = await openDatabase()
    const mailbox = await startMailbox(ports.mailbox)
    endings.push(mailbox.close)
    const { JWT_AUDIENCE: audience } = readSettings(common, { JWT_AUDIENCE: text({ desc: 'who tokens are for' }) })
    const gateway = local(ports.of.gateway as number)
    const system = { databases, secrets: secretsFolder, audience, gateway }
    prepared = (await Promise.race([project.prepare?.(system), stopped])) ?? {}
  }

  const processes: StartedProcess[] = []
  endings.push(() => endProcesses(processes.splice(0)))
  const run = async (name: string, more: Settings, program?: string) => {
    const started = spawnProcess(name, { ...common, ...more }, (line) => writeSync(logFile, `${line}\n`), program)
    processes.push(started)
    await Promise.race([started.listening, stopped])
    started.ended.then(([code, signal]) => {
      // Not when we have ended it.
      if (processes.includes(started)) say(`${name} ended with ${signal ?? `code ${code}`}; see ${log}\n`)
    })
  }
  await Promise.all([
    databases && run('auth', { DATABASE_URL: databases.auth }),
    ...Object.entries(project.services).map(([name, { program, settings }]) =>
      run(name, unlessSet(environment, { ...settings, ...prepared[name] }), program),
    ),
  ])
  // Nothing but the browser is in front of it, so it believes no X-Forwarded-For.
  await run('gateway', { TRUSTED_PROXIES: environment.TRUSTED_PROXIES })
  const running = {
    page: common.APP_ORIGIN ?? page,
    gateway: named(ports.of.gateway as number),
    mailbox: databases && named(ports.mailbox.page),
    databaseUrl: databases?.auth,
    users,
  }
  say(greet(project, running, { folder, log, ports, ownsDatabase: settings.DATABASE_URL === undefined }))
  return running

  /** That of DATABASE_URL as it is, or one of its own with its first users. */
  async function openDatabase(): Promise<DatabaseUrls> {
    const { DATABASE_URL: given } = settings
    if (given !== undefined) return { auth: given, appointments: given, notifications: given }
    const postgres = await startPostgres({ folder, port: ports.postgres, signal: stop.signal })
    endings.push(postgres.stop)
    postgres.ended.then(() => fail(`PostgreSQL has ended; see ${postgres.logFile}`))
    const preparing = prepareOwnDatabase(postgres.url, async (database) => {
      users = await (project.fill?.(database) ?? makeFirstUser(database, secretsFolder))
    })
    return await Promise.race([preparing, stopped])
  }
}

function defaultPortsOf({ signIn, services }: Project): Record<string, number> {
  const ofServices = Object.entries(services).map(([name, { port }]) => [name, port])
  return { gateway: 5000, ...(signIn === 'auth' && { auth: 5001 }), ...Object.fromEntries(ofServices) }
}

/** What runs here is for one machine: mail goes to its mailbox, and the users that it makes have a password that it says. */
function refuseToDeploy({ isDemo, production }: Project, environment: NodeJS.ProcessEnv): void {
  const { NODE_ENV, DATABASE_URL } = readSettings(environment, {
    NODE_ENV: text({ default: undefined, desc: 'development' }),
    DATABASE_URL: text({ default: undefined, desc: 'nothing' }),
  })
  const complaints = [
    NODE_ENV === 'production' && `NODE_ENV is production, which \`npm start\` is not for: ${production}`,
    isDemo &&
      DATABASE_URL &&
      `DATABASE_URL is set, and \`npm start\` has a database of its own: ${production}, or unset it`,
  ].filter((complaint) => typeof complaint === 'string' && complaint !== '')
  if (complaints.length > 0) throw new ConfigurationError(complaints.join('\n'))
}
