import { type ChildProcess, spawn } from 'node:child_process'
import { once } from 'node:events'
import { createServer } from 'node:net'
import { createInterface } from 'node:readline'
import { fileURLToPath } from 'node:url'
import { ConfigurationError } from '@sallyport/chassis'

/** Where a service has its program: that of the package `@sallyport/<name>`, unless it is said. */
export const programOf = (name: string) => fileURLToPath(import.meta.resolve(`@sallyport/${name}/server`))
/** Their garbage is short-lived and small: helper threads cost more of the CPU than they save of the time. */
const flags: Record<string, string[]> = { auth: ['--single-threaded-gc'], gateway: ['--single-threaded-gc'] }

/** What a process listens on. */
interface Listening {
  port: number
  managementPort: number
}

export interface StartedProcess {
  name: string
  child: ChildProcess
  /** Resolves when the process has ended. */
  ended: Promise<unknown[]>
  /** Rejects with what it wrote to standard error if it ends before it listens. */
  listening: Promise<Listening>
}

export type RunningProcess = Omit<StartedProcess, 'listening'> & Listening

/** A port that was free a moment ago, below those that outgoing connections take for themselves. */
export async function freePort(): Promise<number> {
  for (;;) {
    const port = 10_000 + Math.floor(Math.random() * 20_000)
    const server = createServer().listen(port, '127.0.0.1')
    const isFree = await Promise.race([
      once(server, 'listening').then(() => true),
      once(server, 'error').then(() => false),
    ]).catch(() => false)
    server.close()
    if (isFree) return port
  }
}

/** Milliseconds: for a process to end after SIGTERM before it is killed. */
const endTimeout = 4_800

/**
 * Starts one of our processes and waits until it listens.
 *
 * @param onLine gets every line it logs
 * @throws ConfigurationError with what it wrote to standard error if it ends before it listens
 */
export async function startProcess(...how: Parameters<typeof spawnProcess>): Promise<RunningProcess> {
  const { listening, ...started } = spawnProcess(...how)
  return { ...started, ...(await listening) }
}

/** As startProcess, for a caller that may have to end it before it listens. */
export function spawnProcess(
  name: string,
  environment: Record<string, string | undefined>,
  onLine: (line: string) => void,
  program = programOf(name),
): StartedProcess {
  // A process group of its own: Ctrl-C reaches us alone, and we end the processes in order. The channel tells the
  // process when we are gone.
  const child = spawn(process.execPath, [...(flags[name] ?? []), program], {
    env: environment,
    detached: true,
    stdio: ['ignore', 'pipe', 'pipe', 'ipc'],
  })
  const ended = once(child, 'exit')
  let complaint = ''
  child.stderr?.setEncoding('utf8').on('data', (text: string) => {
    complaint += text
  })
  createInterface({ input: child.stdout as NodeJS.ReadableStream }).on('line', onLine)
  const listening = new Promise<Listening>((resolve, reject) => {
    ended.then(([code]) => reject(new ConfigurationError(complaint.trim() || `${name} ended with code ${code}`)))
    child.once('message', (message: Listening) =>
      resolve({ port: message.port, managementPort: message.managementPort }),
    )
  })
  return { name, child, ended, listening }
}

/** Ends processes all at once, and waits until they are gone. */
export async function endProcesses(processes: Pick<StartedProcess, 'child' | 'ended'>[]): Promise<void> {
  await Promise.all(
    processes.map(async ({ child, ended }) => {
      child.kill('SIGTERM')
      const cut = setTimeout(() => child.kill('SIGKILL'), endTimeout)
      await ended
      clearTimeout(cut)
    }),
  )
}
