import { fork } from 'node:child_process'
import { once } from 'node:events'
import { getPriority, setPriority } from 'node:os'
import { fileURLToPath } from 'node:url'
import { unavailable } from '@sallyport/chassis'
import type { Options } from 'argon2'

export type HashingTask =
  | { kind: 'hash'; password: string; parameters: Options }
  | { kind: 'verify'; password: string; stored: string }
  | { kind: 'judge'; password: string; words: string[] }

export type HashingResult = { value: string | boolean } | { fault: string }

export interface Hashing {
  /**
   * @returns the hash; or whether the password is the one that was hashed, or can be guessed
   * @throws Error if the stored hash is none
   * @throws 503 UNAVAILABLE if the process ended twice over this task, or did not respond in time
   */
  perform(task: HashingTask): Promise<string | boolean>
  close(): Promise<void>
}

/** Milliseconds for one task: ten times what the costliest takes (stored-hash.ts). A process that is slower is started anew. */
const taskTimeout = 10_000

/** The same for its first ones, which wait until it has started. */
const startTimeout = 20_000

/**
 * Below what serves requests, so that hashing takes the time that they leave; not lower, since then it hardly gets any
 * beside other programs of the machine.
 */
const niceness = 5

const program = fileURLToPath(new URL('hashing-process.js', import.meta.url))

class HashingTimeout extends Error {}

/**
 * Hashes in a process of its own, whose priority is lower than ours, so that refreshes need not wait for hashes: Linux
 * has a priority for each thread, and those of our own that hash (libuv's pool) also read files and look up names.
 * A process that ends is replaced with the next task, and what it had begun is begun once more.
 *
 * @param concurrency how many tasks run at once; each takes the memory of one hash
 */
export function startHashing(concurrency: number): Hashing {
  let running: HashingProcess | undefined

  function current(): HashingProcess {
    if (!running || running.hasEnded()) running = startProcess(concurrency)
    return running
  }

  return {
    async perform(task) {
      const result = await current()
        .ask(task)
        .catch((error) => {
          if (error instanceof HashingTimeout) throw error
          return current().ask(task)
        })
        .catch((error) => {
          throw unavailable(error)
        })
      if ('fault' in result) throw new Error(result.fault)
      return result.value
    },
    close: async () => running?.close(),
  }
}

type HashingProcess = ReturnType<typeof startProcess>

function startProcess(concurrency: number) {
  // A process group of its own: Ctrl-C in a terminal reaches us alone, and hashes are still waited for.
  const child = fork(program, { detached: true, env: { ...process.env, UV_THREADPOOL_SIZE: String(concurrency) } })
  // Threads have the priority of the thread that starts them, and this early there is but one. If ours is lower already, a
  // container may not let it rise.
  child.once('spawn', () => setPriority(child.pid as number, Math.max(niceness, getPriority())))
  const waiting = new Map<number, { resolve: (result: HashingResult) => void; reject: (error: Error) => void }>()
  let asked = 0
  let hasStarted = false
  let ended: Error | undefined

  function end(error: Error): void {
    ended = error
    for (const { reject } of waiting.values()) reject(error)
    waiting.clear()
    child.kill('SIGKILL')
  }
  child.once('message', () => {
    hasStarted = true
  })
  child.on('message', ({ id, ...result }: { id: number } & HashingResult) => {
    waiting.get(id)?.resolve(result)
    waiting.delete(id)
  })
  child.once('exit', () => end(new Error('the process that hashes has ended')))
  child.on('error', end)

  return {
    hasEnded: () => ended !== undefined,
    async ask(work: HashingTask): Promise<HashingResult> {
      const id = asked++
      const onTimeout = () => end(new HashingTimeout('the process that hashes does not respond'))
      const timer = setTimeout(onTimeout, hasStarted ? taskTimeout : startTimeout)
      try {
        return await new Promise((resolve, reject) => {
          waiting.set(id, { resolve, reject })
          child.send({ id, work })
        })
      } finally {
        clearTimeout(timer)
      }
    },
    async close(): Promise<void> {
      if (ended) return
      const gone = once(child, 'exit')
      child.disconnect()
      await gone
    },
  }
}
