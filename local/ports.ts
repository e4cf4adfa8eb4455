import { once } from 'node:events'
import { createServer } from 'node:net'
import { setTimeout as sleep } from 'node:timers/promises'
import { ConfigurationError, port, readSettings } from '@sallyport/chassis'
import { freePort } from './system.ts'

export interface Ports {
  postgres: number
  /** Where the mailbox takes mail, and where it shows it. */
  mailbox: { smtp: number; page: number }
  of: Record<string, number>
  /** What each process listens on, also for health and metrics, as settings for all of them. */
  settings: Record<string, string>
}

/** A port that something is to listen on, by the variable that sets it. */
interface Listener {
  variable: string
  host: string
  port: number
}

const portOf = (name: string) => `${name.toUpperCase()}_PORT`
const managementPortOf = (name: string) => `${name.toUpperCase()}_MANAGEMENT_PORT`

/**
 * The ports of a whole system on this machine; of database and mailbox, if it has an auth service. 0 asks for a free one.
 *
 * @param defaults the port of each process unless it is set
 * @param timeout how long to wait for ports that are taken, in milliseconds
 * @throws ConfigurationError with a line for each port that cannot be had, and the variable that helps
 */
export async function choosePorts(
  environment: NodeJS.ProcessEnv,
  defaults: Record<string, number>,
  timeout = 0,
): Promise<Ports> {
  const names = Object.keys(defaults)
  const free = port({ default: undefined, desc: 'a port number' })
  const settings = readSettings(environment, {
    EMBEDDED_PG_PORT: free,
    MAILBOX_SMTP_PORT: free,
    MAILBOX_PORT: free,
    MANAGEMENT_PORT: free,
    ...Object.fromEntries(names.flatMap((name) => [portOf(name), managementPortOf(name)]).map((name) => [name, free])),
  }) as unknown as Record<string, number | undefined>
  if (settings.MANAGEMENT_PORT)
    throw new ConfigurationError(
      `MANAGEMENT_PORT is for one process, and here are ${names.length}; set ${names.map(managementPortOf).join(', ')}`,
    )

  const host = environment.HOST || '127.0.0.1'
  const taken = new Set<number>()
  const chosen = async (wanted: number) => {
    let port = wanted
    // One that is free now may be one that was chosen a moment ago.
    while (port === 0 || (wanted === 0 && taken.has(port))) port = await freePort()
    taken.add(port)
    return port
  }
  const postgres = await chosen(settings.EMBEDDED_PG_PORT ?? 5433)
  const mailbox = {
    smtp: await chosen(settings.MAILBOX_SMTP_PORT ?? 1025),
    page: await chosen(settings.MAILBOX_PORT ?? 8025),
  }
  const ofProcesses: Listener[] = []
  const of = { ...defaults }
  for (const [name, usual] of Object.entries(defaults)) {
    const wanted = settings[portOf(name)] ?? usual
    of[name] = await chosen(wanted)
    const isAnyFree = wanted === 0 || settings.MANAGEMENT_PORT !== undefined
    const management = settings[managementPortOf(name)] ?? (isAnyFree ? 0 : wanted + 1000)
    ofProcesses.push({ variable: portOf(name), host, port: of[name] })
    ofProcesses.push({ variable: managementPortOf(name), host, port: management })
  }
  const only = (isNeeded: boolean, ...listeners: Listener[]) => (isNeeded ? listeners : [])
  const hasAuth = 'auth' in defaults
  const listeners = [
    ...only(hasAuth && !environment.DATABASE_URL, {
      variable: 'EMBEDDED_PG_PORT',
      host: '127.0.0.1',
      port: postgres,
    }),
    ...ofProcesses,
    ...only(
      hasAuth,
      { variable: 'MAILBOX_SMTP_PORT', host: '127.0.0.1', port: mailbox.smtp },
      { variable: 'MAILBOX_PORT', host: '127.0.0.1', port: mailbox.page },
    ),
  ]
  const deadline = Date.now() + timeout
  for (;;) {
    const complaints = await complain(listeners)
    if (complaints.length === 0) break
    if (Date.now() > deadline) throw new ConfigurationError(complaints.join('\n'))
    await sleep(50)
  }
  return {
    postgres,
    mailbox,
    of,
    settings: Object.fromEntries(ofProcesses.map(({ variable, port }) => [variable, `${port}`])),
  }
}

/** A line for each port that two want, or that nothing can listen on. */
async function complain(listeners: Listener[]): Promise<string[]> {
  const complaints: (string | undefined)[] = []
  const seen = new Map<number, string>([[0, 'any']])
  for (const listener of listeners) {
    const other = seen.get(listener.port)
    if (other === undefined) complaints.push(await tryToListen(listener))
    else if (listener.port !== 0)
      complaints.push(`${other} and ${listener.variable} are both ${listener.port}; set one of them to another port`)
    seen.set(listener.port, listener.variable)
  }
  return complaints.filter((complaint) => complaint !== undefined)
}

async function tryToListen({ variable, host, port }: Listener): Promise<string | undefined> {
  const server = createServer()
  try {
    await once(server.listen(port, host), 'listening')
    server.close()
    return undefined
  } catch (error) {
    const { code, message } = error as NodeJS.ErrnoException
    if (code === 'EADDRINUSE') return `port ${port} is taken; set ${variable} to a free one, or stop what listens there`
    const isHost = code === 'EADDRNOTAVAIL' || code === 'ENOTFOUND'
    const help = isHost ? 'set HOST to an address of this machine' : `set ${variable} to another one`
    return `cannot listen on ${host} port ${port} (${message}); ${help}`
  }
}
