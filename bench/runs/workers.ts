import { availableParallelism } from 'node:os'
import { startSallyport, startUpstream } from '../lib/contestants.ts'
import { childrenOf } from '../lib/cpu.ts'
import { startIssuer } from '../lib/issuer.ts'
import { median } from '../lib/quantile.ts'
import { askingFor, costOf } from '../lib/wrk.ts'

/**
 * What a request costs a gateway of several workers, the first process that counts for them included, and so how many
 * requests a core serves: the same gateway with one process and with more, in turns.
 *
 *   npm run bench:workers            (needs wrk and nginx; WORKERS=1,2,4,8 says how many)
 */
const rounds = Number(process.env.ROUNDS ?? 9)
const seconds = Number(process.env.SECONDS ?? 2)
const counts = (process.env.WORKERS ?? '1,2,3,4').split(',').map(Number)

const issuer = await startIssuer()
const upstream = await startUpstream()
const gateways = await Promise.all(
  counts.map(async (workers) => {
    const settings = { GATEWAY_WORKERS: String(workers) }
    const gateway = await startSallyport({ issuer, upstream: upstream.port }, undefined, settings)
    const pids = [...gateway.pids, ...(workers === 1 ? [] : childrenOf(gateway.pids[0] as number))]
    return { ...gateway, pids, workers, costs: [] as number[] }
  }),
)
const script = askingFor(
  '/api/things/42',
  Array.from({ length: 100 }, () => issuer.token()),
)

for (let round = -1; round < rounds; round++)
  for (const gateway of round % 2 === 0 ? gateways : gateways.toReversed()) {
    const cost = await costOf(gateway, script, seconds)
    // The first round warms up.
    if (round >= 0) gateway.costs.push(cost)
  }
await Promise.all([...gateways, upstream].map(({ stop }) => stop()))
issuer.close()

const one = median((gateways[0] as (typeof gateways)[number]).costs)
process.stdout.write(`${availableParallelism()} cores, ${rounds} rounds\n\n`)
process.stdout.write(
  '| workers | CPU per request, and the lowest and highest | requests a second for each core | in those of the first row |\n| ---: | ---: | ---: | ---: |\n',
)
for (const { workers, costs } of gateways) {
  const cost = median(costs)
  const spread = `${Math.min(...costs).toFixed(1)} to ${Math.max(...costs).toFixed(1)}`
  process.stdout.write(
    `| ${workers} | ${cost.toFixed(1)} us (${spread}) | ${(1e6 / cost).toFixed(0)} | ${(one / cost).toFixed(2)} |\n`,
  )
}
