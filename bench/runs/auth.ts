import { once } from 'node:events'
import { availableParallelism } from 'node:os'
import { closeConnections, logInAtFullSpeed, requestAtFullSpeed } from '../lib/auth-load.ts'
import { endChild, type Server, startBaseline, startServers } from '../lib/auth-servers.ts'
import { barChart, draw, rangeOf } from '../lib/chart.ts'
import { cpuSeconds } from '../lib/cpu.ts'
import { median } from '../lib/quantile.ts'

/**
 * Logins and refreshes beside what a project would otherwise use, all in one run and in turns, since machines differ
 * and so do hours; figures are medians, and error bars go from the lowest to the highest. Draws docs/graphs.
 *
 *   npm run bench:auth               (ROUNDS and SECONDS make it longer or shorter)
 */
const rounds = Number(process.env.ROUNDS ?? 5)
const seconds = Number(process.env.SECONDS ?? 4)
/** As many hashes run at once as in the auth service. */
const hashesAtOnce = Math.min(4, availableParallelism())

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
const ourCost = median(costs.get(ours) as number[])
print("| | CPU of the process per request | lowest to highest | the median, in Sallyport's refreshes |")
print('| --- | ---: | ---: | ---: |')
for (const [{ name }, figures] of costs) {
  const [lowest, highest] = rangeOf(figures)
  const spread = `${lowest.toFixed(0)} to ${highest.toFixed(0)} us`
  print(`| ${name} | ${median(figures).toFixed(0)} us | ${spread} | ${(median(figures) / ourCost).toFixed(2)} |`)
}
draw(
  'refresh-cost',
  barChart(
    'CPU of the auth process for one refresh',
    [...costs].map(([server, figures]) => ({
      label: server.name,
      value: median(figures),
      range: rangeOf(figures),
      ours: server === ours,
    })),
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

await closeConnections()
await stop()
