import { type ChildProcess, spawn } from 'node:child_process'
import { randomUUID } from 'node:crypto'
import { once } from 'node:events'
import { readdirSync, readFileSync, readlinkSync } from 'node:fs'
import { join } from 'node:path'
import { fileURLToPath } from 'node:url'
import { freePort } from '@sallyport/local'

const root = fileURLToPath(new URL('../../..', import.meta.url))

const names = [
  'GATEWAY_PORT',
  'AUTH_PORT',
  'APPOINTMENTS_PORT',
  'NOTIFICATIONS_PORT',
  'EMBEDDED_PG_PORT',
  'WEB_PORT',
  'MAILBOX_SMTP_PORT',
  'MAILBOX_PORT',
]

/** Ports for one `npm start`, by the variables that set them. */
export async function choosePorts(): Promise<Record<string, string>> {
  return Object.fromEntries(await Promise.all(names.map(async (name) => [name, String(await freePort())])))
}

export interface Started {
  child: ChildProcess
  /** Resolves with its exit code and the signal that ended it. */
  ended: Promise<unknown[]>
  /** Resolves when it runs, or has ended. */
  settled: Promise<unknown>
  /** What it wrote. */
  state: { output: string }
  ports: Record<string, string>
  gateway: string
  /** Everything that it started and that has not ended, itself included, as process ids with command lines. */
  processes: () => Map<number, string>
}

/** `npm start` without the build before it. Of its settings, the process has these alone. */
export function launch(
  settings: Record<string, string | undefined>,
  { at = root, command = [process.execPath] }: { at?: string; command?: string[] } = {},
): Started {
  const mark = `SALLYPORT_TEST_MARK=${randomUUID()}`
  const [program, ...args] = [...command, join(at, 'local/dist/start.js')]
  const child = spawn(program as string, args, {
    env: { ...process.env, MANAGEMENT_PORT: '0', ...settings, SALLYPORT_TEST_MARK: mark.split('=')[1] },
    cwd: at,
    // As in a terminal, where Ctrl-C reaches an entire process group.
    detached: true,
  })
  const state = { output: '' }
  for (const stream of [child.stdout, child.stderr])
    stream.on('data', (chunk) => {
      state.output += chunk
    })
  const ended = once(child, 'close')
  const ready = new Promise<void>((resolve) =>
    child.stdout.on('data', () => state.output.includes('Try ') && resolve()),
  )
  return {
    child,
    ended: once(child, 'exit'),
    settled: Promise.race([ready, ended]),
    state,
    ports: Object.fromEntries(names.map((name) => [name, settings[name] as string])),
    gateway: `http://localhost:${settings.GATEWAY_PORT}`,
    processes: () => find(mark, settings.DATA_DIR),
  }
}

/** Processes by a mark in their environment; those of PostgreSQL, which write over theirs, by their folder. */
function find(mark: string, folder: string | undefined): Map<number, string> {
  const found = new Map<number, string>()
  for (const pid of readdirSync('/proc').filter((name) => /^\d+$/.test(name)))
    try {
      const isMarked = readFileSync(`/proc/${pid}/environ`, 'latin1').includes(mark)
      const isThere = folder !== undefined && readlinkSync(`/proc/${pid}/cwd`).startsWith(join(folder, 'postgres'))
      const command = readFileSync(`/proc/${pid}/cmdline`, 'utf8').replaceAll('\0', ' ').trim()
      // One that has ended and was not waited for has no command line.
      if ((isMarked || isThere) && command !== '') found.set(Number(pid), command)
    } catch {
      // It has ended meanwhile.
    }
  return found
}
