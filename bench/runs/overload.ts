import { fork } from 'node:child_process'
import { once } from 'node:events'
import { readFileSync } from 'node:fs'
import { loadavg } from 'node:os'
import { fileURLToPath } from 'node:url'
import { endChild, type Server, startAuth } from '../lib/auth-servers.ts'
import { barChart, draw, lineChart, rangeOf } from '../lib/chart.ts'
import { ownCores, useCores } from '../lib/cores.ts'
import { cpuSeconds } from '../lib/cpu.ts'
import type { Outcomes, Task } from '../lib/overload-caller.ts'
import { median, quantile } from '../lib/quantile.ts'

/**
 * What becomes of more logins than there can be, and what a refresh notices of logins: each run is compared with what it
 * finds before and after itself, since the speed of a machine drifts. As where it is deployed, auth has cores of its own,
 * here the upper half of them; PostgreSQL and the callers, each in a process of its own, have the others. Draws
 * docs/graphs, and says whether the bounds hold.
 *
 *   npm run bench:overload           (RUNS and SECONDS make it longer or shorter)
 */
const runs = Number(process.env.RUNS ?? 5)
const seconds = Number(process.env.SECONDS ?? 6)
const multiples = [0.5, 1, 2, 5, 10]
const stormOf = 64
/** Refreshes a second, far below what a process can do, and for how long: enough for a figure that 99 of 100 keep to. */
const pace = 100
const refreshSeconds = 2 * seconds
const bounds = { goodput: 0.9, slowdown: 2 }

const cores = ownCores()
if (cores.length < 2) throw new Error('this needs two cores')
const forAuth = cores.slice(Math.ceil(cores.length / 2))
const forOthers = cores.slice(0, Math.ceil(cores.length / 2))
/** Callers who each wait for the response before they log in again: four for each hash that the service computes at once. */
const atOnce = 4 * Math.min(4, forAuth.length)

const print = (line = '') => process.stdout.write(`${line}\n`)
print(
  `auth on core ${forAuth}, PostgreSQL and callers on core ${forOthers}; load at the start ${loadavg()[0]?.toFixed(2)}`,
)
useCores(forOthers)
const { ours, stop } = await startAuth(forAuth)
const [logins, refreshes] = [startCaller(ours), startCaller(ours)]

function startCaller({ name, address, method, path, cookies }: Server) {
  const child = fork(fileURLToPath(new URL('../lib/overload-caller.js', import.meta.url)))
  child.send({ name, address, method, path, cookies })
  return {
    async ask<Kind extends Task['kind']>(task: Task & { kind: Kind }): Promise<Outcomes[Kind]> {
      child.send(task)
      const [outcome] = (await once(child, 'message')) as [Outcomes[Kind]]
      return outcome
    },
    end: () => endChild(child),
  }
}

/** Seconds that the host gave to others (proc_stat(5): the eighth figure), of all that there were. */
function cpuTimes() {
  const figures = readFileSync('/proc/stat', 'latin1')
    .split('\n', 1)[0]
    ?.split(/ +/)
    .slice(1, 9)
    .map(Number) as number[]
  return { stolen: figures[7] as number, all: figures.reduce((sum, figure) => sum + figure) }
}

interface Load {
  goodput: number[]
  shed: number[]
  /** Microseconds of auth's CPU for each that was shed. */
  cost: number[]
}
const loads = multiples.map((): Load => ({ goodput: [], shed: [], cost: [] }))
const figures = { idle: [] as number[][], beside: [] as number[][], slowdown: [] as number[] }

/** Logins a second, and microseconds of auth's CPU for each, apart from its hash. */
async function findPeak() {
  const before = cpuSeconds(ours.pid)
  const succeeded = await logins.ask({ kind: 'waiting logins', seconds, atOnce })
  return { rate: succeeded / seconds, cost: ((cpuSeconds(ours.pid) - before) / succeeded) * 1e6 }
}
const findIdle = () => refreshes.ask({ kind: 'refreshes', seconds: refreshSeconds, perSecond: pace })
async function findBeside() {
  const storm = logins.ask({ kind: 'waiting logins', seconds: refreshSeconds + 2, atOnce: stormOf })
  // By then they queue.
  await new Promise((resolve) => setTimeout(resolve, 1_000))
  const times = await findIdle()
  await storm
  return times
}

for (let warmUp = 0; warmUp < 2; warmUp++) {
  const { rate } = await findPeak()
  await logins.ask({ kind: 'logins', seconds, perSecond: 10 * rate })
  await findIdle()
}

for (let run = 1; run <= runs; run++) {
  const [load, times] = [loadavg()[0] as number, cpuTimes()]
  const line: string[] = []
  let before = await findPeak()
  for (const [index, times] of multiples.entries()) {
    const cpu = cpuSeconds(ours.pid)
    const { succeeded, shed } = await logins.ask({ kind: 'logins', seconds, perSecond: before.rate * times })
    const spent = (cpuSeconds(ours.pid) - cpu) * 1e6
    const after = await findPeak()
    const peak = (before.rate + after.rate) / 2
    const { goodput, shed: allShed, cost } = loads[index] as Load
    goodput.push(succeeded / seconds / peak)
    allShed.push(...shed)
    if (shed.length > 0) cost.push((spent - succeeded * ((before.cost + after.cost) / 2)) / shed.length)
    line.push(`${times}: ${(succeeded / seconds / peak).toFixed(2)} of ${peak.toFixed(1)}`)
    before = after
  }
  const idle = await findIdle()
  const beside = await findBeside()
  idle.push(...(await findIdle()))
  const slowdown = quantile(beside, 0.99) / quantile(idle, 0.99)
  figures.idle.push(idle)
  figures.beside.push(beside)
  figures.slowdown.push(slowdown)
  const now = cpuTimes()
  const stolen = (now.stolen - times.stolen) / (now.all - times.all)
  print(
    `run ${run}: ${line.join(', ')}; p99 of ${idle.length} refreshes ${quantile(idle, 0.99).toFixed(2)} ms, of ` +
      `${beside.length} beside logins ${quantile(beside, 0.99).toFixed(2)} ms, ${slowdown.toFixed(2)} times; ` +
      `load before ${load.toFixed(2)}, stolen ${(stolen * 100).toFixed(1)} %`,
  )
}

const spread = (all: number[], unit = '') => {
  const [lowest, highest] = rangeOf(all)
  return `${median(all).toFixed(2)}${unit} | ${lowest.toFixed(2)} to ${highest.toFixed(2)}${unit}`
}
print(`
| logins offered, in peaks | succeeded, in peaks | of ${runs} runs | shed | half of these within | 99 of 100 | CPU of auth for one |
| ---: | ---: | ---: | ---: | ---: | ---: | ---: |`)
for (const [index, { goodput, shed, cost }] of loads.entries()) {
  const within = (share: number) => (shed.length ? `${quantile(shed, share).toFixed(1)} ms` : '')
  // A difference, which says little where most of the CPU goes to logins.
  const each = index === loads.length - 1 ? `${median(cost).toFixed(0)} us` : ''
  print(`| ${multiples[index]} | ${spread(goodput)} | ${shed.length} | ${within(0.5)} | ${within(0.99)} | ${each} |`)
}
draw(
  'logins-offered',
  lineChart(
    `Logins that succeed when more are offered than can be: median, lowest and highest of ${runs} runs`,
    [
      { x: 0, y: 0 },
      ...loads.map(({ goodput }, index) => ({
        x: multiples[index] as number,
        y: median(goodput),
        range: rangeOf(goodput),
      })),
    ],
    [
      { x: 0, y: 1 },
      { x: 10, y: 1 },
    ],
    { x: 'offered, in peaks', y: 'succeeded, in peaks (one peak: callers who wait for responses)' },
  ),
)

const of = (share: number, rounds: number[][]) => rounds.map((times) => quantile(times, share))
const rows = [
  ['no logins', figures.idle],
  [`${stormOf} logins at once`, figures.beside],
] as const
print(`
| refreshes, ${pace} a second | median | of ${runs} runs | 99 of 100 within | of ${runs} runs |
| --- | ---: | ---: | ---: | ---: |`)
for (const [label, rounds] of rows)
  print(`| ${label} | ${spread(of(0.5, rounds), ' ms')} | ${spread(of(0.99, rounds), ' ms')} |`)
print(`| the latter in the former | | | ${spread(figures.slowdown)} |`)
draw(
  'refresh-under-logins',
  barChart(
    `Refreshes beside ${stormOf} logins at once: median, lowest and highest of ${runs} runs`,
    rows.flatMap(([label, rounds], index) =>
      (
        [
          ['median', 0.5],
          ['99 of 100', 0.99],
        ] as const
      ).map(([name, share]) => ({
        label: `${name}, ${label}`,
        value: median(of(share, rounds)),
        range: rangeOf(of(share, rounds)),
        ours: index === 1,
      })),
    ),
    'ms',
  ),
)

await Promise.all([logins.end(), refreshes.end()])
await stop()

/** Says of how many runs something holds. */
function judge(what: string, holds: number): void {
  print(`${what}: ${holds} of ${runs} runs`)
}
const atMost = loads[multiples.length - 1] as Load
print()
judge(
  `goodput at ${multiples.at(-1)} times the logins that can be, at least ${bounds.goodput.toFixed(2)} of the peak`,
  atMost.goodput.filter((share) => share >= bounds.goodput).length,
)
judge(
  `p99 of refreshes beside ${stormOf} logins, at most ${bounds.slowdown} times that of refreshes alone`,
  figures.slowdown.filter((times) => times <= bounds.slowdown).length,
)
