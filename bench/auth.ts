import { once } from 'node:events'
import { mkdirSync, writeFileSync } from 'node:fs'
import { availableParallelism } from 'node:os'
import { callAtFullSpeed, callAtPace, closeConnections, logInAtFullSpeed, logInAtPace } from './auth-load.ts'
import { endChild, type Server, startBaseline, startServers } from './auth-servers.ts'
import { barChart, lineChart } from './chart.ts'
import { cpuSeconds } from './cpu.ts'

/**
 * Logins and refreshes beside what people would otherwise use, all in one run and in turns, since machines differ and
 * so do hours; figures are medians. Draws docs/graphs.
 *
 *   npm run bench:auth               (ROUNDS and SECONDS make it longer or shorter)
 */
const rounds = Number(process.env.ROUNDS ?? 5)
const seconds = Number(process.env.SECONDS ?? 4)
/** As many hashes run at once as in the auth service. */
const hashesAtOnce = Math.min(4, availableParallelism())
const stormOf = 64
/** Refreshes a second, far below what a process can do, by which latency is compared. */
const pace = 50

const graphs = new URL('../../docs/graphs/', import.meta.url)
mkdirSync(graphs, { recursive: true })
const draw = (name: string, picture: string) => writeFileSync(new URL(`${name}.svg`, graphs), picture)
const print = (line: string) => process.stdout.write(`${line}\n`)
const { ours, others, stop } = await startServers()

// What a refresh costs.
const everyone = [...others, ours]
const costs = new Map<Server, number[]>(everyone.map((server) => [server, []]))
for (let round = -2; round < rounds; round++)
  for (const server of everyone) {
    const before = cpuSeconds(server.pid)
    const calls = await callAtFullSpeed(server, seconds)
    // The first two rounds warm up.
    if (round >= 0) costs.get(server)?.push(((cpuSeconds(server.pid) - before) / calls) * 1e6)
  }
const cost = new Map([...costs].map(([server, figures]) => [server, median(figures)]))
const ourCost = cost.get(ours) as number
print("| | CPU of the process a call | that, in Sallyport's refreshes |\n| --- | ---: | ---: |")
for (const [{ name }, figure] of cost) print(`| ${name} | ${figure.toFixed(0)} us | ${(figure / ourCost).toFixed(2)} |`)
draw(
  'refresh-cost',
  barChart(
    'CPU of the auth process for one refresh',
    [...cost].map(([server, value]) => ({ label: server.name, value, ours: server === ours })),
    'us',
  ),
)

// How many logins a second there can be.
const raw = startBaseline('argon2', { UV_THREADPOOL_SIZE: String(hashesAtOnce) })
await once(raw, 'message')
const capacity: { raw: number[]; logins: number[]; share: number[] } = { raw: [], logins: [], share: [] }
await logInAtFullSpeed(ours, seconds, hashesAtOnce * 4)
for (let round = 0; round < rounds; round++) {
  raw.send({ seconds })
  const [{ rate }] = (await once(raw, 'message')) as [{ rate: number }]
  const logins = (await logInAtFullSpeed(ours, seconds, hashesAtOnce * 4)) / seconds
  capacity.raw.push(rate)
  capacity.logins.push(logins)
  capacity.share.push(logins / rate)
}
await endChild(raw)
const peak = median(capacity.logins)
print('\n| logins | |\n| --- | ---: |')
print(`| argon2 alone, ${hashesAtOnce} at once | ${median(capacity.raw).toFixed(1)} a second |`)
print(`| logins | ${peak.toFixed(1)} a second |`)
print(`| their share of it | ${median(capacity.share).toFixed(2)} |`)

// What becomes of more logins than that.
print('\n| logins offered | a second | succeeded a second | of the peak | sent away | 99 of 100 of these within |')
print('| ---: | ---: | ---: | ---: | ---: | ---: |')
const goodput = []
// Connections are opened, and what sends away is warm.
await logInAtPace(ours, seconds, peak * 10)
for (const times of [0.5, 1, 2, 5, 10]) {
  const offered = peak * times
  const answers = await logInAtPace(ours, seconds * 2, offered)
  const sentAway = answers.filter(({ status }) => status === 503).map(({ took }) => took)
  const strange = answers.find(({ status }) => status !== 200 && status !== 503)
  if (strange) throw new Error(`a login was answered ${strange.status}`)
  const good = (answers.length - sentAway.length) / (seconds * 2)
  goodput.push({ x: offered, y: good })
  print(
    `| ${times} times the peak | ${offered.toFixed(0)} | ${good.toFixed(1)} | ${(good / peak).toFixed(2)} | ${sentAway.length} | ${sentAway.length ? `${quantile(sentAway, 0.99).toFixed(1)} ms` : ''} |`,
  )
}
draw(
  'logins-offered',
  lineChart(
    'Logins that succeed when more are offered than can be',
    [{ x: 0, y: 0 }, ...goodput],
    [
      { x: 0, y: peak },
      { x: peak * 10, y: peak },
    ],
    { x: 'logins offered a second', y: 'logins that succeed a second (dashed: the peak)' },
  ),
)

// What a refresh notices of logins.
const idle: number[][] = []
const stormy: number[][] = []
const ratios: number[] = []
for (let round = 0; round < rounds; round++) {
  const alone = await callAtPace(ours, seconds, pace)
  const [beside] = await Promise.all([callAtPace(ours, seconds, pace), logInAtFullSpeed(ours, seconds, stormOf)])
  idle.push(alone)
  stormy.push(beside)
  ratios.push(quantile(beside, 0.99) / quantile(alone, 0.99))
}
print(`\n| refreshes, ${pace} a second | median | 99 of 100 within |\n| --- | ---: | ---: |`)
const rows = [
  ['no logins', idle],
  [`${stormOf} logins at once`, stormy],
] as const
const of = (share: number, times: number[][]) => median(times.map((round) => quantile(round, share)))
for (const [label, times] of rows)
  print(`| ${label} | ${of(0.5, times).toFixed(2)} ms | ${of(0.99, times).toFixed(2)} ms |`)
print(`\n99 of 100: ${median(ratios).toFixed(2)} times the idle value`)
draw(
  'refresh-under-logins',
  barChart(
    `Refreshes beside ${stormOf} logins at once`,
    rows.flatMap(([label, times], index) => [
      { label: `median, ${label}`, value: of(0.5, times), ours: index === 1 },
      { label: `99 of 100, ${label}`, value: of(0.99, times), ours: index === 1 },
    ]),
    'ms',
  ),
)
await closeConnections()
await stop()

function quantile(figures: number[], share: number): number {
  const sorted = figures.toSorted((one, other) => one - other)
  return sorted[Math.min(sorted.length - 1, Math.floor(sorted.length * share))] as number
}

function median(figures: number[]): number {
  return quantile(figures, 0.5)
}
