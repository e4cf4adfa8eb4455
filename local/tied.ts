import { type ChildProcess, spawn } from 'node:child_process'
import { once } from 'node:events'
import type { Socket } from 'node:net'
import { fileURLToPath } from 'node:url'

const script = fileURLToPath(new URL('../tied.sh', import.meta.url))

export interface TiedProgram {
  child: ChildProcess
  /** Resolves with its exit code, if it has one, when it has ended and nobody waits beside it any more. */
  ended: Promise<number | null>
  /** Interrupts the program and what it started, kills what is left of them after 20 seconds, and waits for its end. */
  end(): Promise<void>
}

/** Milliseconds for a program to end, and as long as tied.sh gives it. */
const endTimeout = 20_000

/**
 * Starts a program that ends when this process does, also when this process is killed: a shell waits beside it for the
 * end of a pipe. In a process group of its own, so that Ctrl-C is for us alone.
 *
 * @param output the file descriptor that it writes to
 */
export function startTied(command: string[], output: number): TiedProgram {
  const [program, ...args] = tie(command)
  const child = spawn(program as string, args, { detached: true, stdio: ['ignore', output, output, 'pipe'] })
  const pipe = child.stdio[3] as Socket
  const closed = new Promise((resolve) => pipe.once('close', resolve))
  // The shell at the other end may be gone already.
  pipe
    .on('error', () => {})
    .resume()
    .unref()
  const signal = (name: NodeJS.Signals) => {
    if (child.exitCode === null && child.signalCode === null) process.kill(-(child.pid as number), name)
  }
  const ended = once(child, 'exit').then(async ([code]) => {
    pipe.ref().end('ended\n')
    await closed
    return code
  })
  return {
    child,
    ended,
    async end() {
      signal('SIGINT')
      const cut = setTimeout(signal, endTimeout, 'SIGKILL')
      await ended
      clearTimeout(cut)
    },
  }
}

/* c8 ignore start: which of these ways is taken depends on the machine */
function tie(command: string[]): string[] {
  return process.platform === 'win32' ? command : ['sh', script, ...command]
}
/* c8 ignore stop */
