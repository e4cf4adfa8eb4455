import autocannon from 'autocannon'
import { type Contestant, contestants, startUpstream } from '../lib/contestants.ts'
import { startIssuer } from '../lib/issuer.ts'
import { median } from '../lib/quantile.ts'
import { askingFor, costOf } from '../lib/wrk.ts'

/**
 * What a request through each gateway costs: CPU time of its process per request at full load, and the 99th percentile
 * of its latency at a load all of them carry. Everything in one run, in turns, since machines differ and so do hours.
 *
 *   npm run bench:gateway            (needs wrk; HAProxy and nginx take part if installed)
 */
const rounds = Number(process.env.ROUNDS ?? 5)
const seconds = Number(process.env.SECONDS ?? 4)
/** Requests a second at which latency is compared. */
const equalLoad = 2_000
/** Different tokens in use at once. */
const tokens = 100

const issuer = await startIssuer()
const upstream = await startUpstream()
const field: Contestant[] = []
for (const [name, start] of Object.entries(contestants)) {
  if (process.env.ONLY && !name.includes(process.env.ONLY)) continue
  const contestant = await start({ issuer, upstream: upstream.port })
  if (contestant) field.push(contestant)
  else process.stdout.write(`${name} is not installed: left out\n`)
}

const script = askingFor(
  '/api/things/42',
  Array.from({ length: tokens }, () => issuer.token()),
)

const cost = new Map<string, number[]>()
const slowest = new Map<string, number[]>()
for (let round = -1; round < rounds; round++) {
  for (const contestant of field) {
    const figure = await costOf(contestant, script, seconds)
    // The first round warms up.
    if (round >= 0) note(cost, contestant.name, figure)
  }
}
for (let round = 0; round < rounds; round++) {
  for (const contestant of field) {
    const { latency, non2xx } = await autocannon({
      url: `http://127.0.0.1:${contestant.port}/api/things/42`,
      headers: { authorization: `Bearer ${issuer.token()}` },
      connections: 20,
      duration: seconds,
      overallRate: equalLoad,
    })
    if (non2xx > 0) throw new Error(`${contestant.name}: ${non2xx} responses were not 2xx`)
    note(slowest, contestant.name, latency.p99)
  }
}
await Promise.all([...field, upstream].map((contestant) => contestant.stop()))
issuer.close()

const ours = median(cost.get('Sallyport') ?? [])
process.stdout.write(
  `| gateway | CPU per request | Sallyport's share of it | p99 at ${equalLoad} a second |\n| --- | ---: | ---: | ---: |\n`,
)
for (const { name } of field) {
  const theirs = median(cost.get(name) ?? [])
  process.stdout.write(
    `| ${name} | ${theirs.toFixed(1)} us | ${(ours / theirs).toFixed(2)} | ${median(slowest.get(name) ?? []).toFixed(1)} ms |\n`,
  )
}

function note(figures: Map<string, number[]>, name: string, figure: number): void {
  figures.set(name, [...(figures.get(name) ?? []), figure])
}
