import { mkdtempSync, rmSync } from 'node:fs'
import { tmpdir } from 'node:os'
import { join } from 'node:path'
import { setTimeout as sleep } from 'node:timers/promises'
import { seed } from '@sallyport/database'
import {
  type EmbeddedPostgres,
  endProcesses,
  freePort,
  prepareOwnDatabase,
  type RunningProcess,
  startPostgres,
  startProcess,
} from '@sallyport/local'
import { settingsFor } from './settings.ts'

type Name = 'auth one' | 'auth two' | 'gateway one' | 'gateway two'

/** A running system, parts of which can be killed. */
export interface Replicas {
  /** Addresses of its gateways. */
  gateways: string[]
  /** What is killed, in this order: each ends as by a crash, and is started again as by an orchestrator. */
  kills: [name: string, kill: () => Promise<void>][]
  stop(): Promise<void>
}

/**
 * Two auth replicas and two gateways, each gateway in front of one of them, on one Postgres with the demo users: all of
 * them real processes, on ports that stay theirs when they are killed and start again.
 *
 * @param settings for all of them, beside their own
 */
export async function startReplicas(settings: Record<string, string> = {}) {
  const folder = mkdtempSync(join(tmpdir(), 'sallyport-replicas-'))
  const [postgresPort, authOne, authTwo, gatewayOne, gatewayTwo] = (await Promise.all(
    Array.from({ length: 5 }, freePort),
  )) as [number, number, number, number, number]
  const places: Record<Name, { port: number; auth: number }> = {
    'auth one': { port: authOne, auth: authOne },
    'auth two': { port: authTwo, auth: authTwo },
    'gateway one': { port: gatewayOne, auth: authOne },
    'gateway two': { port: gatewayTwo, auth: authTwo },
  }
  let postgres: EmbeddedPostgres = await startPostgres({ folder, port: postgresPort })
  const databases = await prepareOwnDatabase(postgres.url, seed)

  const nowhere = 'http://127.0.0.1:1'
  const addressesOf = (auth: number) => ({
    auth: `http://127.0.0.1:${auth}`,
    appointments: nowhere,
    notifications: nowhere,
  })
  const running = new Map<Name, RunningProcess>()
  function environmentOf(name: Name) {
    const { port, auth } = places[name]
    return {
      ...settingsFor(folder, addressesOf(auth)),
      DATABASE_URL: databases.auth,
      AUTH_PORT: String(port),
      GATEWAY_PORT: String(port),
      ...settings,
    }
  }
  async function start(name: Name): Promise<void> {
    const program = name.startsWith('auth') ? 'auth' : 'gateway'
    running.set(name, await startProcess(program, environmentOf(name), () => {}))
  }
  for (const name of Object.keys(places) as Name[]) await start(name)

  /** Ends a process as a crash does, and starts it again as an orchestrator does. */
  async function kill(name: Name): Promise<void> {
    const { child, ended } = running.get(name) as RunningProcess
    child.kill('SIGKILL')
    await ended
    await sleep(500)
    await start(name)
  }

  async function killPostgres(): Promise<void> {
    process.kill(-postgres.pid, 'SIGKILL')
    for (;;) {
      await sleep(500)
      try {
        postgres = await startPostgres({ folder, port: postgresPort })
        return
      } catch {
        // The children of the killed server hold its data for a moment.
      }
    }
  }

  /** Ends Postgres in order; what it returns starts it again on the same data. */
  async function pausePostgres() {
    await postgres.stop()
    return async () => {
      postgres = await startPostgres({ folder, port: postgresPort })
    }
  }

  const replicas: Replicas = {
    gateways: [gatewayOne, gatewayTwo].map((port) => `http://127.0.0.1:${port}`),
    kills: [
      ['auth one', () => kill('auth one')],
      ['Postgres', killPostgres],
      ['auth two', () => kill('auth two')],
      ['gateway one', () => kill('gateway one')],
      ['Postgres', killPostgres],
    ],
    async stop(): Promise<void> {
      await endProcesses([...running.values()])
      await postgres.stop()
      rmSync(folder, { recursive: true, force: true })
    },
  }
  return { ...replicas, pausePostgres, databaseUrl: postgres.url, gatewaySettings: environmentOf('gateway two') }
}
