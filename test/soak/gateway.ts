import { spawnSync } from 'node:child_process'
import { once } from 'node:events'
import { readdirSync, readFileSync, readlinkSync } from 'node:fs'
import type { Test } from 'tap'
import { type EdgeProcess, startGateway } from '../support/edge.ts'
import type { Fault } from './harness.ts'

/** What the gateway's process says of its memory, after a collection of garbage. In bytes. */
export interface Memory {
  heapUsed: number
  external: number
  rss: number
}

function isSocket(descriptor: string): boolean {
  try {
    return readlinkSync(descriptor).startsWith('socket:')
  } catch {
    return false
  }
}

/** A gateway process that is started again whenever it ended. */
export class Gateway {
  readonly #routes: object[]
  readonly #settings: Record<string, string>
  readonly #ends: (() => unknown)[] = []
  #edge: EdgeProcess | undefined
  /** Why the process ended. */
  #end: Fault | undefined

  constructor(routes: object[], settings: Record<string, string> = {}) {
    this.#routes = routes
    this.#settings = settings
  }

  get port(): number {
    return this.#now.port
  }

  get pid(): number {
    return this.#now.process.child.pid as number
  }

  get isDown(): boolean {
    return this.#end !== undefined
  }

  async start(): Promise<void> {
    await this.stop()
    // All that it needs of a test is a notice of its end.
    const scope = { teardown: (end: () => unknown) => this.#ends.unshift(end) } as unknown as Test
    const preload = `--import=${new URL('memory.js', import.meta.url).href}`
    this.#edge = await startGateway(scope, this.#routes, {
      NODE_OPTIONS: preload,
      LOG_LEVEL: 'warn',
      HTTP1_FAST_PATH: 'on',
      // Clients that fill a connection and leave are noticed by that.
      IDLE_TIMEOUT: '2s',
      RATE_LIMIT_MAX: '100000000',
      USER_RATE_LIMIT_MAX: '100000000',
      ...this.#settings,
    })
    this.#end = undefined
    this.#edge.process.child.once('exit', (code, signal) => {
      this.#end ??= { kind: `the process ends: ${signal ?? code}`, detail: 'without a word' }
    })
  }

  /** What is wrong if the process ended, or logged that something failed which should not, since this was asked last. */
  async faults(): Promise<Fault[]> {
    // It ends a little later than what makes it end.
    await new Promise((resolve) => setTimeout(resolve, 15))
    const { log, process } = this.#now
    const lines = log.splice(0)
    const crash = lines.find((line) => line.includes('"event":"crashed"'))
    if (crash !== undefined) {
      this.#end = { kind: `the process ends: ${reason(crash)}`, detail: crash }
      process.child.kill('SIGKILL')
    }
    if (this.#end) return [this.#end]
    // That an upstream gives no response is logged as an error, and is none of ours.
    const errors = lines.filter((line) => /"level":"(error|fatal)"/.test(line) && !/"code":"UPSTREAM_/.test(line))
    return errors.map((line) => ({ kind: `an error is logged: ${reason(line)}`, detail: line }))
  }

  /** Undefined if the process ended meanwhile. */
  async memory(): Promise<Memory | undefined> {
    const { child, ended } = this.#now.process
    const reported = once(child, 'message') as Promise<[Memory]>
    child.send('memory', () => {})
    const [memory] = await Promise.race([reported, ended.then(() => [])])
    return memory as Memory | undefined
  }

  /** In bytes; 0 once it ended. */
  get residentSize(): number {
    return this.#look(() => Number(readFileSync(`/proc/${this.pid}/statm`, 'utf8').split(' ')[1]) * pageSize)
  }

  get sockets(): number {
    const folder = `/proc/${this.pid}/fd`
    return this.#look(() => readdirSync(folder).filter((name) => isSocket(`${folder}/${name}`)).length)
  }

  #look(at: () => number): number {
    try {
      return at()
    } catch {
      return 0
    }
  }

  async stop(): Promise<void> {
    for (const end of this.#ends.splice(0)) await end()
    this.#edge = undefined
  }

  get #now(): EdgeProcess {
    if (!this.#edge) throw new Error('not started')
    return this.#edge
  }
}

const reason = (line = '') => /"code":"(\w+)"/.exec(line)?.[1] ?? /"message":"([^"]{0,60})/.exec(line)?.[1] ?? ''

const pageSize = Number(spawnSync('getconf', ['PAGESIZE'], { encoding: 'utf8' }).stdout)
