import { createServer } from 'node:http'
import type { AddressInfo } from 'node:net'
import autocannon from 'autocannon'
import { type Contestant, contestants, startSallyport, startUpstream } from '../lib/contestants.ts'
import { addFarClient } from '../lib/far-client.ts'
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
/** What a browser sends beside the token, 2.5 kB of it: more than one segment of a network holds. */
const ofBrowser = {
  'user-agent': 'Mozilla/5.0 (X11; Linux x86_64) AppleWebKit/537.36 (KHTML, like Gecko) Chrome/156.0.0.0 Safari/537.36',
  accept: 'application/json, text/plain, */*',
  'accept-language': 'de-DE,de;q=0.9,en-US;q=0.8,en;q=0.7',
  'accept-encoding': 'gzip, deflate, br, zstd',
  referer: 'https://app.example.com/appointments?from=2026-11-01&to=2026-11-30',
  'sec-ch-ua': '"Chromium";v="156", "Not.A/Brand";v="24"',
  'sec-ch-ua-mobile': '?0',
  'sec-ch-ua-platform': '"Linux"',
  'sec-fetch-dest': 'empty',
  'sec-fetch-mode': 'cors',
  'sec-fetch-site': 'same-origin',
  cookie: Array.from({ length: 12 }, (_, at) => `_cookie_${at}=${'v'.repeat(110)}`).join('; '),
}

const issuer = await startIssuer()
const upstream = await startUpstream()
const field: Contestant[] = []
for (const [name, start] of Object.entries(contestants)) {
  if (process.env.ONLY && !name.includes(process.env.ONLY)) continue
  const contestant = await start({ issuer, upstream: upstream.port })
  if (contestant) field.push(contestant)
  else process.stdout.write(`${name} is not installed: left out\n`)
}

const issuedTokens = Array.from({ length: tokens }, () => issuer.token())
const script = askingFor('/api/things/42', issuedTokens)

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

// The same from another machine, as a browser sends it; and traced.
const from = addFarClient()
const browser = askingFor('/api/things/42', issuedTokens, ofBrowser)
const collector = createServer((request, response) => request.resume().on('end', () => response.end('{}'))).listen(0)
const OTEL_EXPORTER_OTLP_ENDPOINT = `http://127.0.0.1:${(collector.address() as AddressInfo).port}`
const traced = (ratio: string) =>
  startSallyport({ issuer, upstream: upstream.port }, undefined, {
    ...{ OTEL_EXPORTER_OTLP_ENDPOINT, OTEL_TRACES_SAMPLER: 'parentbased_traceidratio', OTEL_TRACES_SAMPLER_ARG: ratio },
  })
const sampled = await Promise.all(['0.01', '1'].map(async (ratio) => ({ ...(await traced(ratio)), ratio })))
const ways = [
  ...sampled.map((each) => ({
    name: `Sallyport, traced at ${each.ratio}`,
    contestant: each,
    asked: script,
    client: undefined,
  })),
  ...(from
    ? field.map((each) => ({
        name: `${each.name}, a browser’s request`,
        contestant: each,
        asked: browser,
        client: from,
      }))
    : []),
]
if (!from)
  process.stdout.write('no network namespace can be made (root, iproute2, ethtool): no request is cut in segments\n')
for (let round = -1; round < rounds; round++)
  for (const { name, contestant, asked, client } of ways) {
    const figure = await costOf(contestant, asked, seconds, client)
    if (round >= 0) note(cost, name, figure)
  }
from?.remove()
collector.close()
await Promise.all([...field, ...sampled, upstream].map((contestant) => contestant.stop()))
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

process.stdout.write(
  '\n| | CPU per request | in what Sallyport takes of a plain one, untraced |\n| --- | ---: | ---: |\n',
)
for (const { name } of ways) {
  const figure = median(cost.get(name) ?? [])
  process.stdout.write(`| ${name} | ${figure.toFixed(1)} us | ${(figure / ours).toFixed(2)} |\n`)
}

function note(figures: Map<string, number[]>, name: string, figure: number): void {
  figures.set(name, [...(figures.get(name) ?? []), figure])
}
