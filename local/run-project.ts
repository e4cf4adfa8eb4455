import { execFileSync } from 'node:child_process'
import { ConfigurationError } from '@sallyport/chassis'
import type { Project } from './project.ts'
import { runSystem } from './run-system.ts'

/** Is the process of `npm start`: runs a project until it is interrupted, or cannot go on, and ends the process. */
export async function runProject(project: Project): Promise<never> {
  /** Aborted when all is to end: by a signal without a reason, by what went wrong with that. */
  const stop = new AbortController()
  // Ctrl-C comes twice, from the terminal and from npm.
  for (const signal of ['SIGINT', 'SIGTERM', 'SIGHUP'] as const) process.on(signal, () => stop.abort())
  process.on('uncaughtException', (error) => stop.abort(error))
  // npm that is killed does not take us along.
  if (process.env.npm_lifecycle_event === 'start') {
    const starters = findStarters()
    setInterval(() => starters.every(isThere) || stop.abort(), 500).unref()
  }
  const say = (text: string) => process.stdout.write(text)
  const reason: Error = await runSystem(project, process.env, stop, say).catch((error) => error)
  // Stopped without a reason: a goodbye.
  if (reason.name !== 'AbortError') {
    report(reason)
    process.exitCode = 1
  }
  process.exit()
}

/** The processes that wait for us: npm, and the shell by which it runs us, unless that has become us. */
function findStarters(): number[] {
  const [parent, command] = describe(process.ppid)
  return / -c /.test(command) ? [process.ppid, parent] : [process.ppid]
}

function isThere(pid: number): boolean {
  try {
    return process.kill(pid, 0)
  } catch {
    return false
  }
}

/* c8 ignore start: Windows has no ps, and no shell between */
/** The parent of a process, and its command line. */
function describe(pid: number): [parent: number, command: string] {
  try {
    const line = execFileSync('ps', ['-ww', '-o', 'ppid=,args=', '-p', String(pid)], { encoding: 'utf8' })
    return [Number.parseInt(line, 10), line]
  } catch {
    return [0, '']
  }
}
/* c8 ignore stop */

function report(error: NodeJS.ErrnoException): void {
  // What the system refuses (a file, a port) says by itself which one and why.
  const isPlain = error instanceof ConfigurationError || error.syscall !== undefined
  process.stderr.write(`${isPlain ? error.message : error.stack}\n`)
}
