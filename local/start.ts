import '@sallyport/chassis/node-version'
import { ConfigurationError } from '@sallyport/chassis'
import { runSystem } from './run-system.ts'

/** Aborted when all is to end: by a signal without a reason, by what went wrong with that. */
const stop = new AbortController()
// Ctrl-C comes twice, from the terminal and from npm.
for (const signal of ['SIGINT', 'SIGTERM', 'SIGHUP'] as const) process.on(signal, () => stop.abort())
process.on('uncaughtException', (error) => stop.abort(error))
// npm that is killed does not take us along.
if (process.env.npm_lifecycle_event === 'start') {
  const npm = process.ppid
  setInterval(() => process.ppid !== npm && stop.abort(), 500).unref()
}

function report(error: NodeJS.ErrnoException): void {
  // What the system refuses (a file, a port) says by itself which one and why.
  const isPlain = error instanceof ConfigurationError || error.syscall !== undefined
  process.stderr.write(`${isPlain ? error.message : error.stack}\n`)
}

const reason: Error = await runSystem(process.env, stop, (text) => process.stdout.write(text)).catch((error) => error)
// Stopped without a reason: a goodbye.
if (reason.name !== 'AbortError') {
  report(reason)
  process.exitCode = 1
}
process.exit()
