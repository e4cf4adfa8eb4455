import { mkdirSync, writeFileSync } from 'node:fs'
import { Random } from './random.ts'

/** What a program found to be wrong. */
export interface Fault {
  /** In a few words, the same for every input with the same cause. */
  kind: string
  detail: string
}

/** One of the fuzzers. An input is plain data, so that it can be written down and played again. */
export interface Program<Input> {
  /** How many inputs are tried side by side. */
  workers: number
  /** Milliseconds to look for a smaller input. */
  shrinkFor?: number
  generate(random: Random): Input
  /** Whether what is tried has to be started again before the next input. */
  isDown?(): boolean
  start?(): Promise<void>
  /**
   * @param worker which of them, from 0
   * @param waitFactor how many times longer than usual to wait for what is late: 1 while looking, more to make sure
   * @returns all that is wrong
   */
  run(input: Input, worker: number, waitFactor: number): Promise<Fault[]>
  /** Smaller inputs, the most promising first. */
  smaller(input: Input): Iterable<Input>
  /** What can only be said at the end of all. */
  conclude?(): Promise<Fault[]>
  /** A few figures of what was done. */
  summary(): string
  close(): Promise<void>
}

export interface Settings {
  seconds: number
  seed: string
  /** Whether to go on after a finding, to look for others. */
  goesOn: boolean
  folder: string
}

/** How often, and for how many milliseconds, a smaller input is looked for. */
const attempts = 600
const usualShrinkFor = 20_000

const say = (text: string) => process.stdout.write(`${text}\n`)

/** @returns how many kinds of faults were found */
export async function soak<Input>(name: string, program: Program<Input>, settings: Settings): Promise<number> {
  const { seconds, seed, goesOn, folder } = settings
  const until = performance.now() + seconds * 1_000
  const found = new Map<string, number>()
  const unconfirmed = new Map<string, number>()
  const gate = new Gate()
  let tried = 0
  let isOver = false

  say(`${name}: seed ${seed}, ${seconds} s`)
  const startIfDown = async () => {
    if (program.isDown?.()) await program.start?.()
  }
  const runAlone = async (input: Input, worker: number, waitFactor: number) => {
    await startIfDown()
    return program.run(input, worker, waitFactor)
  }
  const work = async (worker: number) => {
    while (!isOver && performance.now() < until) {
      const input = program.generate(new Random(`${seed}/${tried++}`))
      if (program.isDown?.()) await gate.alone(startIfDown)
      await gate.enter()
      const faults = await program.run(input, worker, 1)
      gate.leave()
      for (const { kind } of faults) if (found.has(kind)) found.set(kind, (found.get(kind) as number) + 1)
      // Once of each kind is enough, and making sure takes long.
      const fresh = faults.find(({ kind }) => !found.has(kind) && (unconfirmed.get(kind) ?? 0) < 4)
      if (!fresh) continue
      await gate.alone(async () => {
        if (isOver || found.has(fresh.kind)) return
        const sure = await confirm(input, worker)
        if (!sure) {
          unconfirmed.set(fresh.kind, (unconfirmed.get(fresh.kind) ?? 0) + 1)
          say(`${name}: once, and not again: ${fresh.kind}: ${fresh.detail.slice(0, 1_000)}`)
          return
        }
        found.set(sure.kind, 1)
        report(sure, await shrink(input, sure, worker))
        if (!goesOn) isOver = true
      })
    }
  }
  /** Of whatever kind: alone an input may do more harm than among others. */
  const confirm = async (input: Input, worker: number) => {
    for (const waitFactor of [2, 4, 4]) {
      const fault = (await runAlone(input, worker, waitFactor)).find(({ kind }) => !found.has(kind))
      if (fault) return fault
    }
    return undefined
  }
  const shrink = async (input: Input, { kind }: Fault, worker: number) => {
    let smallest = input
    let left = attempts
    const deadline = performance.now() + (program.shrinkFor ?? usualShrinkFor)
    for (let isSmaller = true; isSmaller; ) {
      isSmaller = false
      for (const candidate of program.smaller(smallest)) {
        if (left-- <= 0 || performance.now() > deadline) return smallest
        const faults = await runAlone(candidate, worker, 1)
        if (!faults.some((fault) => fault.kind === kind)) continue
        smallest = candidate
        isSmaller = true
        break
      }
    }
    return smallest
  }
  const report = ({ kind, detail }: Fault, input?: Input) => {
    say(`\n${name}: FOUND ${kind}\n  ${detail.slice(0, 4_000)}`)
    if (input === undefined) return
    mkdirSync(folder, { recursive: true })
    const file = `${folder}/${name}-${kind.replace(/\W+/g, '-').slice(0, 60)}.json`
    const text = JSON.stringify(input, undefined, 1)
    writeFileSync(file, text)
    say(`  input: ${text.length < 3_000 ? JSON.stringify(input) : `${text.length} characters`}`)
    say(`  again: npm run soak -- ${name} --replay ${file}\n`)
  }

  await Promise.all(Array.from({ length: program.workers }, (_, worker) => work(worker)))
  await startIfDown()
  if (program.conclude && !isOver)
    for (const fault of await program.conclude()) {
      found.set(fault.kind, 1)
      report(fault)
    }
  say(`${name}: ${tried} inputs, ${program.summary()}; ${found.size} kinds of faults`)
  for (const [kind, times] of found) say(`  ${times} x ${kind}`)
  for (const [kind, times] of unconfirmed)
    if (!found.has(kind)) say(`  (${times} x ${kind}, not seen again when replayed)`)
  return found.size
}

/** @returns whether the input still shows a fault */
export async function replay<Input>(name: string, program: Program<Input>, input: Input): Promise<boolean> {
  for (const waitFactor of [1, 2, 4]) {
    const faults = await program.run(input, 0, waitFactor)
    for (const { kind, detail } of faults) say(`${name}: FOUND ${kind}\n  ${detail}`)
    if (faults.length > 0) return true
  }
  say(`${name}: no fault`)
  return false
}

/** Lets many in side by side, or one alone. */
class Gate {
  #inside = 0
  #isTaken = false
  #waiting: (() => void)[] = []

  async enter(): Promise<void> {
    while (this.#isTaken) await this.#change()
    this.#inside += 1
  }

  leave(): void {
    this.#inside -= 1
    this.#wake()
  }

  async alone(act: () => Promise<void>): Promise<void> {
    while (this.#isTaken) await this.#change()
    this.#isTaken = true
    while (this.#inside > 0) await this.#change()
    try {
      await act()
    } finally {
      this.#isTaken = false
      this.#wake()
    }
  }

  #change(): Promise<void> {
    return new Promise((resolve) => this.#waiting.push(resolve))
  }

  #wake(): void {
    for (const resolve of this.#waiting.splice(0)) resolve()
  }
}
