import { once } from 'node:events'
import { mkdirSync, writeFileSync } from 'node:fs'
import { availableParallelism } from 'node:os'
import { closeConnections, logInAtFullSpeed, logInAtPace, requestAtFullSpeed, requestAtPace } from '../lib/auth-load.ts'
import { endChild, type Server, startBaseline, startServers } from '../lib/auth-servers.ts'
import { barChart, lineChart } from '../lib/chart.ts'
import { cpuSeconds } from '../lib/cpu.ts'
import { median, quantile } from '../lib/quantile.ts'

/**
 * Logins and refreshes beside what a project would otherwise use, all in one run and in turns, since machines differ
 * and so do hours; figures are medians. Draws docs/graphs.
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

const graphs = new URL('../../../docs/graphs/', import.meta.url)
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
    const requests = await requestAtFullSpeed(server, seconds)
    // The first two rounds warm up.
    if (round >= 0) costs.get(server)?.push(((cpuSeconds(server.pid) - before) / requests) * 1e6)
  }
const cost = new Map([...costs].map(([server, figures]) => [server, median(figures)]))
const ourCost = cost.get(ours) as number
print("| | CPU of the process per request | that, in Sallyport's refreshes |\n| --- | ---: | ---: |")
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
const capacity: Record<'raw' | 'logins' | 'share' | 'cpuShare', number[]> = {
  raw: [],
  logins: [],
  share: [],
  cpuShare: [],
}
const rawCpu = () => cpuSeconds(raw.pid as number)
const loginCpu = () => cpuSeconds(ours.pid) + cpuSeconds(ours.hashingPid as number)
await logInAtFullSpeed(ours, seconds, hashesAtOnce * 4)
for (let round = 0; round < rounds; round++) {
  const rawBefore = rawCpu()
  raw.send({ seconds })
  const [{ rate }] = (await once(raw, 'message')) as [{ rate: number }]
  const rawSpent = (rawCpu() - rawBefore) / (rate * seconds)
  const before = loginCpu()
  const logins = await logInAtFullSpeed(ours, seconds, hashesAtOnce * 4)
  capacity.cpuShare.push(rawSpent / ((loginCpu() - before) / logins))
  capacity.raw.push(rate)
  capacity.logins.push(logins / seconds)
  capacity.share.push(logins / seconds / rate)
}
await endChild(raw)
print('\n| logins | |\n| --- | ---: |')
print(`| argon2 alone, ${hashesAtOnce} at once | ${median(capacity.raw).toFixed(1)} a second |`)
print(`| logins | ${median(capacity.logins).toFixed(1)} a second |`)
print(`| their share of it | ${median(capacity.share).toFixed(2)} |`)
print(
  `| argon2's share of a login's CPU, without PostgreSQL's and the caller's | ${median(capacity.cpuShare).toFixed(2)} |`,
)

// What becomes of more logins than that: each load beside a peak of the same round.
const multiples = [0.5, 1, 2, 5, 10]
const shares = multiples.map((): number[] => [])
const shedIn = multiples.map((): number[] => [])
for (let round = -1; round < rounds; round++) {
  const peak = (await logInAtFullSpeed(ours, seconds, hashesAtOnce * 4)) / seconds
  for (const [index, times] of multiples.entries()) {
    const end = performance.now() + seconds * 1000
    const responses = await logInAtPace(ours, seconds, peak * times)
    const unexpected = responses.find(({ status }) => status !== 200 && status !== 503)
    if (unexpected) throw new Error(`a login got ${unexpected.status}`)
    const shed = responses.filter(({ status }) => status === 503)
    // The first round opens connections and warms up.
    if (round < 0) continue
    shares[index]?.push(responses.filter(({ status, at }) => status === 200 && at <= end).length / seconds / peak)
    shedIn[index]?.push(...shed.map(({ took }) => took))
  }
}
print('\n| logins offered, in peaks | succeeded, in peaks | shed | half of these within | 99 of 100 |')
print('| ---: | ---: | ---: | ---: | ---: |')
const goodput = multiples.map((x, index) => ({ x, y: median(shares[index] as number[]) }))
for (const [index, { x, y }] of goodput.entries()) {
  const times = shedIn[index] as number[]
  const within = (share: number) => (times.length ? `${quantile(times, share).toFixed(1)} ms` : '')
  print(`| ${x} | ${y.toFixed(2)} | ${times.length} | ${within(0.5)} | ${within(0.99)} |`)
}
draw(
  'logins-offered',
  lineChart(
    'Logins that succeed when more are offered than can be',
    [{ x: 0, y: 0 }, ...goodput],
    [
      { x: 0, y: 1 },
      { x: 10, y: 1 },
    ],
    { x: 'offered, in peaks', y: 'succeeded, in peaks (one peak: callers who wait for responses)' },
  ),
)

// What a refresh notices of logins.
const idle: number[][] = []
const stormy: number[][] = []
const ratios: number[] = []
for (let round = 0; round < rounds; round++) {
  const alone = await requestAtPace(ours, seconds, pace)
  const [beside] = await Promise.all([requestAtPace(ours, seconds, pace), logInAtFullSpeed(ours, seconds, stormOf)])
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
