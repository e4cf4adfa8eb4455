import { createServer } from 'node:http'
import type { AddressInfo } from 'node:net'
import { rangeOf } from '../lib/chart.ts'
import { type Contestant, contestants, startSallyport, startUpstream } from '../lib/contestants.ts'
import { ownCores, useCores } from '../lib/cores.ts'
import { addFarClient } from '../lib/far-client.ts'
import { startIssuer } from '../lib/issuer.ts'
import { pacedRequests } from '../lib/paced-requests.ts'
import { median, quantile } from '../lib/quantile.ts'
import { askingFor, costOf } from '../lib/wrk.ts'

/**
 * What a request through each gateway costs: CPU time of its process per request at full load, and the 99th percentile
 * of its latency at an even pace that all of them carry, with a core for the caller. Everything in one run, in turns, since
 * machines differ and so do hours.
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
const plain = askingFor('/api/things/42', issuedTokens)
const browser = askingFor('/api/things/42', issuedTokens, ofBrowser)
const collector = createServer((request, response) => request.resume().on('end', () => response.end('{}'))).listen(0)
const OTEL_EXPORTER_OTLP_ENDPOINT = `http://127.0.0.1:${(collector.address() as AddressInfo).port}`
const traced = await Promise.all(
  ['0.01', '1'].map(async (ratio) => {
    const sampler = { OTEL_TRACES_SAMPLER: 'parentbased_traceidratio', OTEL_TRACES_SAMPLER_ARG: ratio }
    const settings = { OTEL_EXPORTER_OTLP_ENDPOINT, ...sampler }
    const contestant = await startSallyport({ issuer, upstream: upstream.port }, undefined, settings)
    return { ...contestant, name: `Sallyport, traced at ${ratio}` }
  }),
)
// From another machine, as a browser sends it.
const from = addFarClient()
if (!from)
  process.stdout.write('no network namespace can be made (root, iproute2, ethtool): no request is cut in segments\n')
const ofBrowserTo = (name: string) => `${name}, a browser’s request`
const ways = [
  ...[...field, ...traced].map((each) => ({ name: each.name, contestant: each, script: plain, client: undefined })),
  ...(from
    ? field.map((each) => ({ name: ofBrowserTo(each.name), contestant: each, script: browser, client: from }))
    : []),
]
const cost = new Map<string, number[]>()
const slowest = new Map<string, number[]>()
for (let round = -1; round < rounds; round++) {
  for (const { name, contestant, script, client } of ways) {
    const figure = await costOf(contestant, script, seconds, client)
    // The first round warms up.
    if (round >= 0) note(cost, name, figure)
  }
}

// The caller has a core of its own for this: what it does is not to make a gateway wait.
const cores = ownCores()
const [callers, servers] = [cores.slice(0, 1), cores.slice(1)]
const pids = [...field, upstream].flatMap((each) => each.pids)
const place = (ours: number[], theirs: number[]) => {
  useCores(ours)
  for (const pid of pids) useCores(theirs, pid)
}
if (servers.length > 0) place(callers, servers)
for (let round = -1; round < rounds; round++) {
  for (const contestant of field) {
    const request = `GET /api/things/42 HTTP/1.1\r\nhost: localhost\r\nauthorization: Bearer ${issuer.token()}\r\n\r\n`
    const pace = { perSecond: equalLoad, seconds, connections: 50 }
    const times = await pacedRequests(`http://127.0.0.1:${contestant.port}`, request, pace)
    if (round >= 0) note(slowest, contestant.name, quantile(times, 0.99))
  }
}
from?.remove()
collector.close()
await Promise.all([...field, ...traced, upstream].map((contestant) => contestant.stop()))
issuer.close()

const spread = (figures: number[]) => {
  const [lowest, highest] = rangeOf(figures)
  return `${median(figures).toFixed(1)} us (${lowest.toFixed(1)} to ${highest.toFixed(1)})`
}
const of = (name: string) => cost.get(name) ?? []
const ours = median(of('Sallyport'))
process.stdout.write(
  `| gateway | CPU per request | Sallyport's share of it | p99 at ${equalLoad} a second |\n| --- | ---: | ---: | ---: |\n`,
)
for (const { name } of field) {
  const latency = median(slowest.get(name) ?? []).toFixed(2)
  process.stdout.write(`| ${name} | ${spread(of(name))} | ${(ours / median(of(name))).toFixed(2)} | ${latency} ms |\n`)
}

process.stdout.write('\n| | CPU per request | in that of the untraced |\n| --- | ---: | ---: |\n')
for (const { name } of traced)
  process.stdout.write(`| ${name} | ${spread(of(name))} | ${(median(of(name)) / ours).toFixed(2)} |\n`)

if (from) {
  const oursOfBrowser = median(of(ofBrowserTo('Sallyport')))
  process.stdout.write("\n| a browser's request | CPU per request | Sallyport's share of it |\n| --- | ---: | ---: |\n")
  for (const { name } of field) {
    const figures = of(ofBrowserTo(name))
    process.stdout.write(`| ${name} | ${spread(figures)} | ${(oursOfBrowser / median(figures)).toFixed(2)} |\n`)
  }
}

function note(figures: Map<string, number[]>, name: string, figure: number): void {
  figures.set(name, [...(figures.get(name) ?? []), figure])
}
