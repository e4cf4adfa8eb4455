import { randomUUID } from 'node:crypto'
import { createServer } from 'node:http'
import type { AddressInfo } from 'node:net'
import type { Caller } from '@sallyport/gateway/pipeline/access-token'
import { openRevocations } from '@sallyport/verify'

/**
 * What it costs a gateway to hold a million ended sessions: memory for them all, and time to look one up.
 *
 *   npm run bench:revocations
 */
const count = 1_000_000
const until = Math.floor(Date.now() / 1000) + 900
// Read back from JSON, so that each is one flat string and weighs the same before and after.
const ids: string[] = JSON.parse(JSON.stringify(Array.from({ length: count }, () => randomUUID())))

const server = createServer((_request, response) => {
  response.writeHead(200, { 'content-type': 'text/event-stream' })
  let sent = 0
  const more = () => {
    while (sent < count) {
      const event = { session: ids[sent], reason: 'logout', at: until - 900, until: until - (sent % 900) }
      sent += 1
      if (!response.write(`event: revoked\ndata: ${JSON.stringify(event)}\n\n`)) return response.once('drain', more)
    }
    return response.write('event: current\ndata: {}\n\n')
  }
  more()
}).listen(0, '127.0.0.1')
await new Promise((resolve) => server.once('listening', resolve))

const collect = () => {
  for (let round = 0; round < 4; round++) globalThis.gc?.()
  const { heapUsed, external } = process.memoryUsage()
  return heapUsed + external
}
const before = collect()
const url = `http://127.0.0.1:${(server.address() as AddressInfo).port}/`
const revocations = openRevocations({ url, secret: undefined, failClosed: false, maxAge: 30 }, (error) =>
  process.stderr.write(`${error}\n`),
)
const begun = performance.now()
while (revocations.age() === Number.POSITIVE_INFINITY) await new Promise((resolve) => setTimeout(resolve, 20))
const taken = performance.now() - begun
const memory = (collect() - before) / 1024 / 1024

/** As much of a caller as is looked at: a token belongs to its session and to itself. */
const callers = Array.from(
  { length: 1_000 },
  () =>
    ({ identity: { userId: 'u', roles: ['doctor'] }, belongsTo: [randomUUID(), randomUUID()] }) as unknown as Caller,
)
const rounds = 2_000
const start = process.cpuUsage()
for (let round = 0; round < rounds; round++) for (const caller of callers) revocations.check(caller)
const { user, system } = process.cpuUsage(start)
const lookup = ((user + system) / (rounds * callers.length)) * 1000

process.stdout.write(`| what | figure |
| --- | ---: |
| ended sessions held | ${count} |
| memory for them | ${memory.toFixed(0)} MiB |
| one look-up | ${lookup.toFixed(0)} ns of CPU |
| to take them all in | ${(taken / 1000).toFixed(1)} s |
`)
process.exit()
