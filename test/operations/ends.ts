import { once } from 'node:events'
import { mkdtempSync, rmSync } from 'node:fs'
import { createServer } from 'node:net'
import { tmpdir } from 'node:os'
import { join } from 'node:path'
import { setTimeout as sleep } from 'node:timers/promises'
import { choosePorts, launch, type Started } from '../support/started.ts'
import { type Client, eventually, signIn } from '../support/system.ts'

/** Numbers from 0 up to 1 that look random, the same for the same seed (mulberry32). */
function random(seed: number): () => number {
  let state = seed
  return () => {
    state = (state + 0x6d2b79f5) | 0
    let mixed = Math.imul(state ^ (state >>> 15), 1 | state)
    mixed = (mixed + Math.imul(mixed ^ (mixed >>> 7), 61 | mixed)) ^ mixed
    return ((mixed ^ (mixed >>> 14)) >>> 0) / 2 ** 32
  }
}

/** Sends a signal to a process that may be gone. */
export function kill(pid: number | undefined, signal: NodeJS.Signals): void {
  try {
    if (pid !== undefined) process.kill(pid, signal)
  } catch {
    // It has ended meanwhile.
  }
}

const wait = '"$@"; exit $?'
/** As npm runs a program: something waits for a shell that waits for it. */
export const byNpm = ['sh', '-c', wait, 'npm', 'sh', '-c', wait, 'sh', process.execPath]

type Pick = <Item>(items: Item[]) => Item | undefined

/** The process itself, if others wait for it. */
const self = ({ processes }: Started) =>
  [...processes()].find(([, command]) => command.startsWith(process.execPath) && command.endsWith('start.js'))?.[0]
const others = (started: Started) => [...started.processes().keys()].filter((pid) => pid !== self(started))

/** How it is ended. */
const ways: Record<string, (started: Started, pick: Pick) => void> = {
  'Ctrl-C': ({ child }) => kill(-(child.pid as number), 'SIGINT'),
  SIGTERM: (started) => kill(self(started), 'SIGTERM'),
  SIGKILL: (started) => kill(self(started), 'SIGKILL'),
  'SIGKILL of one part': (started, pick) => kill(pick(others(started)), 'SIGKILL'),
  'SIGKILL of two parts at once': (started, pick) => {
    for (const pid of [pick(others(started)), pick(others(started))]) kill(pid, 'SIGKILL')
  },
  'SIGKILL of itself and one part at once': (started, pick) => {
    const part = pick(others(started).filter((pid) => !started.processes().get(pid)?.includes('tied.sh')))
    for (const pid of [self(started), part]) kill(pid, 'SIGKILL')
  },
  'SIGKILL of whoever started it': ({ child }) => kill(child.pid as number, 'SIGKILL'),
  'SIGHUP, and nobody reads what it writes': (started) => {
    started.child.stdout?.destroy()
    started.child.stderr?.destroy()
    kill(self(started), 'SIGHUP')
  },
}

/**
 * Ends `npm start` at random moments, in random ways, and looks whether anything is left running and whether the next
 * start is good.
 *
 * @throws with the moment if something is left, or the next start is not good
 */
export async function endAtRandomMoments(count: number, seed: number, say: (line: string) => void): Promise<void> {
  const next = random(seed)
  const pick: Pick = (items) => items[Math.floor(next() * items.length)]
  const folders: string[] = []
  const freshFolder = () => {
    const folder = mkdtempSync(join(tmpdir(), 'sallyport-ends-'))
    folders.push(folder)
    return folder
  }
  /** How long a start takes, in milliseconds: those that begin with a new database, and those that do not. */
  const takes = { fresh: 6_000, again: 3_000 }
  let folder = freshFolder()
  let isFresh = true
  try {
    for (let index = 0; index < count; index++) {
      const ports = await choosePorts()
      const way = pick(Object.keys(ways)) as keyof typeof ways
      const taken = next() < 0.15 ? pick(Object.values(ports)) : undefined
      const after = Math.floor(next() * 1.2 * (isFresh ? takes.fresh : takes.again))
      const twice = next() < 0.25
      const moment = `${index + 1} of ${count} (seed ${seed}): ${way} after ${after} ms, ${isFresh ? 'new' : 'old'} folder${taken ? `, port ${taken} taken` : ''}${twice ? ', two at once' : ''}`
      say(moment)
      await play({ ports, folder, way, after, taken, twice, pick }).catch((cause) => {
        throw new Error(moment, { cause })
      })
      const took = await startWell({ ...ports, DATA_DIR: folder }).catch((cause) => {
        throw new Error(`the next start after ${moment}`, { cause })
      })
      takes.again = took
      isFresh = next() < 0.4
      if (isFresh) folder = freshFolder()
    }
  } finally {
    for (const each of folders) rmSync(each, { recursive: true, force: true })
  }
}

interface Moment {
  ports: Record<string, string>
  folder: string
  way: string
  after: number
  taken: string | undefined
  twice: boolean
  pick: Pick
}

async function play({ ports, folder, way, after, taken, twice, pick }: Moment): Promise<void> {
  const settings = { ...ports, DATA_DIR: folder, npm_lifecycle_event: 'start' }
  const blocker = createServer()
  if (taken) await once(blocker.listen(Number(taken), '127.0.0.1'), 'listening')
  const launchOne = () => launch(settings, { command: byNpm })
  const all = twice ? [launchOne(), launchOne()] : [launchOne()]
  try {
    await Promise.race([sleep(after), Promise.all(all.map(({ ended }) => ended))])
    for (const started of all) ways[way]?.(started, pick)
    // One that goes on without a part is ended as usual, once it runs.
    for (const started of all) {
      await started.settled
      await Promise.race([sleep(200), started.ended])
      kill(self(started), 'SIGTERM')
    }
    for (const { processes, state } of all)
      await eventually('nothing is left', () => processes().size === 0, 30_000).catch((cause) => {
        throw new Error(`left: ${JSON.stringify([...processes()])}\n${state.output}`, { cause })
      })
    if (all.filter(({ state }) => state.output.includes('Sallyport is running')).length > 1)
      throw new Error('two had the folder at once')
  } finally {
    blocker.close()
    for (const { processes } of all) for (const pid of processes().keys()) kill(pid, 'SIGKILL')
  }
}

/** @returns how long it took, in milliseconds */
async function startWell(settings: Record<string, string>): Promise<number> {
  const begun = Date.now()
  const started = launch(settings)
  try {
    await started.settled
    const took = Date.now() - begun
    const client: Client = await signIn(started.gateway).catch((cause) => {
      throw new Error(`it wrote: ${started.state.output}`, { cause })
    })
    const { body } = await client.call('GET', '/api/doctor/appointments')
    if (body.appointments?.length !== 3) throw new Error(`the data is not complete: ${JSON.stringify(body)}`)
    kill(started.child.pid as number, 'SIGTERM')
    const [code] = await started.ended
    if (code !== 0) throw new Error(`it ended with ${code}: ${started.state.output}`)
    if (started.processes().size > 0) throw new Error(`left: ${JSON.stringify([...started.processes()])}`)
    return took
  } finally {
    for (const pid of started.processes().keys()) kill(pid, 'SIGKILL')
  }
}

if (process.argv[1] === import.meta.filename) {
  const [moments = '20', seed = String(Date.now() % 2 ** 31)] = process.argv.slice(2)
  await endAtRandomMoments(Number(moments), Number(seed), (line) => process.stdout.write(`${line}\n`))
  process.stdout.write('Nothing was left running, and every next start was good.\n')
}
