import { createHash } from 'node:crypto'
import { once } from 'node:events'
import { createServer, type IncomingMessage, type Server, type ServerResponse } from 'node:http'
import type { AddressInfo } from 'node:net'
import type { Duplex } from 'node:stream'
import { converse, type Heard, type Segment } from './client.ts'
import { Gateway } from './gateway.ts'
import type { Fault, Program } from './harness.ts'
import { corpus, mutate, smallerTexts } from './mutations.ts'
import { readAsNode } from './node-reader.ts'
import type { Random } from './random.ts'
import { headerOf, type Reading, readStrictly } from './strict-reader.ts'

/** A pipeline of requests, in latin1, on one connection. */
export interface Input {
  requests: string[]
  /** Where the bytes of all are split, and the milliseconds waited there. */
  splits: [at: number, wait: number][]
  halfCloses: boolean
}

interface Seen {
  method: string
  url: string
  /** As `name: value` in order of the alphabet. */
  headers: string[]
  /** Undefined for one that broke off. */
  body: string | undefined
}

const last = 'GET /last HTTP/1.1\r\nHost: g\r\nConnection: close\r\n\r\n'

/** Milliseconds after which a connection on which nothing more comes is left. */
const quiet = 400

/**
 * The same bytes to a plain Node server, to a gateway that has the fast path and to one that has not: an upstream must see
 * the same behind both gateways, and nothing that the plain server did not; the client must get the same from both.
 */
export async function openWays(): Promise<Program<Input>> {
  const ways = await Promise.all([openWay('on'), openWay('off')])
  const plain = new Recorder(false)
  await plain.listen()
  const counts = { pipelines: 0, requests: 0, forwarded: 0 }

  const isDown = () => ways.some(({ gateway }) => gateway.isDown)

  async function run(input: Input, worker: number, waitFactor: number): Promise<Fault[]> {
    const from = `127.0.0.${10 + worker}`
    const text = input.requests.join('') + last
    const segments = segmentsOf(text, input.splits)
    const recorders = [...ways.map(({ upstream }) => upstream), plain]
    for (const recorder of recorders) recorder.begin(from)
    const ports = [...ways.map(({ gateway }) => gateway.port), plain.port]
    const heard = await Promise.all(
      ports.map((port) => converse(segments, { port, from, quiet: quiet * waitFactor, halfCloses: input.halfCloses })),
    )
    counts.pipelines += 1
    const asked = methodsOf(text)
    counts.requests += asked.length
    // One more is for what is refused before it is a request.
    const methodOf = (at: number) => asked[at] ?? (at === asked.length ? 'GET' : undefined)
    const outcomes = recorders.map((recorder, at) => ({
      ...recorder.end(from),
      ...outcome(heard[at] as Heard, methodOf),
    }))
    const [on, off, node] = outcomes as [Outcome, Outcome, Outcome]
    counts.forwarded += on.seen.length
    const failed = await Promise.all(ways.map(({ gateway }) => gateway.faults()))
    const named = ['', ', without the fast path']
    const failures = failed.flatMap((faults, at) => faults.map((fault) => ({ ...fault, kind: fault.kind + named[at] })))
    if (isDown()) return failures
    const isSure = !input.halfCloses && [on, off].every(({ end }) => end === 'closed')
    return [
      ...failures,
      ...check(on, true, node, input, isSure),
      ...check(off, false, node, input, isSure),
      ...differ(on, off, input, isSure),
    ]
  }

  return {
    workers: 6,
    generate,
    isDown,
    start: async () => void (await Promise.all(ways.map(({ gateway }) => gateway.isDown && gateway.start()))),
    run,
    *smaller(input) {
      const { requests, splits } = input
      if (splits.length > 0) yield { ...input, splits: [] }
      for (let at = 0; at < splits.length; at++)
        yield { ...input, splits: [...splits.slice(0, at), ...splits.slice(at + 1)] }
      for (let size = requests.length >> 1; size >= 1; size >>= 1)
        for (let at = 0; at < requests.length; at += size)
          yield { ...input, requests: [...requests.slice(0, at), ...requests.slice(at + size)] }
      if (input.halfCloses) yield { ...input, halfCloses: false }
      for (let at = 0; at < requests.length; at++)
        for (const text of smallerTexts(requests[at] as string))
          yield { ...input, requests: [...requests.slice(0, at), text, ...requests.slice(at + 1)] }
    },
    summary: () => `${counts.requests} requests in ${counts.pipelines} pipelines, ${counts.forwarded} forwarded`,
    async close() {
      await Promise.all(ways.map(({ gateway }) => gateway.stop()))
      for (const recorder of [...ways.map(({ upstream }) => upstream), plain]) recorder.close()
    },
  }
}

/** The methods of the requests that Node's parser reads, where upgrades are requests like all others. */
function methodsOf(text: string): string[] {
  const { messages, length } = readAsNode(Buffer.from(text, 'latin1'))
  const methods = messages.map(({ method }) => method)
  const isUpgrade = messages.at(-1)?.isUpgrade && messages.at(-1)?.isComplete && length > 0
  return isUpgrade ? [...methods, ...methodsOf(text.slice(length))] : methods
}

async function openWay(fastPath: 'on' | 'off') {
  const upstream = new Recorder(true)
  const url = await upstream.listen()
  const gateway = new Gateway(
    [
      { prefix: '/', upstreams: [url], access: 'public' },
      { prefix: '/ws', upstreams: [url], access: 'public', websocket: true },
      { prefix: '/closed', upstreams: [url], access: 'authenticated' },
    ],
    { HTTP1_FAST_PATH: fastPath },
  )
  await gateway.start()
  return { upstream, gateway }
}

/** A server that writes down what it sees of each client, and says in its responses what that was. */
class Recorder {
  readonly #server: Server
  readonly #clients = new Map<string, { seen: Seen[]; begun: string[]; open: string[]; overlaps: string[] }>()

  /** @param upgrades whether it takes upgrades; Node's server reads them as requests where nobody does */
  constructor(upgrades: boolean) {
    const isSecondHop = (request: IncomingMessage) => request.headers['x-forwarded-for'] !== undefined
    const clientOf = (request: IncomingMessage) => {
      const forwarded = request.headers['x-forwarded-for'] as string | undefined
      const address = request.headers.via?.includes('sallyport') ? forwarded : request.socket.remoteAddress
      return this.#clients.get(address ?? '')
    }
    this.#server = createServer(async (request, response) => {
      const { method = '', url = '' } = request
      const client = clientOf(request)
      client?.begun.push(url)
      if (client && isSecondHop(request)) {
        if (client.open.length > 0) client.overlaps.push(`${method} ${url} while ${client.open.join()} is open`)
        client.open.push(url)
        response.on('close', () => client.open.splice(client.open.indexOf(url), 1))
      }
      response.on('error', () => {})
      // In the order in which they begin; only those that come whole count.
      const seen: Seen = { method, url, headers: headersOf(request), body: undefined }
      client?.seen.push(seen)
      const body: Buffer[] = []
      try {
        for await (const chunk of request) body.push(chunk)
      } catch {
        return
      }
      const whole = Buffer.concat(body).toString('latin1')
      seen.body = whole
      respond(request, response, whole)
    })
    const onUpgrade = (request: IncomingMessage, socket: Duplex) => {
      const client = clientOf(request)
      const { method = '', url = '' } = request
      client?.begun.push(url)
      client?.seen.push({ method, url, headers: headersOf(request), body: '' })
      socket.on('error', () => {})
      if (url.includes('refused'))
        socket.end(
          `HTTP/1.1 403 Forbidden\r\nX-Seen: ${seenAs(url)}\r\nContent-Length: 2\r\nConnection: close\r\n\r\nno`,
        )
      else
        socket.end(
          `HTTP/1.1 101 Switching Protocols\r\nX-Seen: ${seenAs(url)}\r\nConnection: Upgrade\r\nUpgrade: websocket\r\n\r\n\x88\x02\x03\xe8`,
          'latin1',
        )
    }
    if (upgrades) this.#server.on('upgrade', onUpgrade)
    this.#server.on('clientError', (_error, socket) => {
      if (socket.writable) socket.end('HTTP/1.1 400 Bad Request\r\nConnection: close\r\nContent-Length: 0\r\n\r\n')
    })
  }

  async listen(): Promise<string> {
    this.#server.listen(0, '127.0.0.1')
    await once(this.#server, 'listening')
    return `http://127.0.0.1:${this.port}`
  }

  get port(): number {
    return (this.#server.address() as AddressInfo).port
  }

  begin(client: string): void {
    this.#clients.set(client, { seen: [], begun: [], open: [], overlaps: [] })
  }

  end(client: string) {
    const { seen, begun, overlaps } = this.#clients.get(client) as { seen: Seen[]; begun: string[]; overlaps: string[] }
    return { seen: seen.filter(({ body }) => body !== undefined), begun, overlaps }
  }

  close(): void {
    this.#server.closeAllConnections()
    this.#server.close()
  }
}

const seenAs = (url: string) => encodeURIComponent(url).slice(0, 200)

/** As the target says. */
function respond(request: IncomingMessage, response: ServerResponse, body: string): void {
  const { method = '', url = '' } = request
  const hash = createHash('sha1').update(body, 'latin1').digest('hex').slice(0, 12)
  const said = `${method} ${seenAs(url)} ${body.length} ${hash}`
  response.setHeader('x-seen', seenAs(url))
  // Without a length a connection of HTTP/1.0, which only the plain server sees, would end here.
  const kind = request.httpVersion === '1.0' ? undefined : /\br=(\w+)/.exec(url)?.[1]
  if (kind === 'none') return void response.writeHead(204).end()
  if (kind === 'unchanged') return void response.writeHead(304).end()
  if (kind === 'chunked') {
    response.write(said)
    return void setImmediate(() => response.end('and more'))
  }
  if (kind === 'trailers' && method !== 'HEAD') {
    response.write(said)
    response.addTrailers({ 'x-sum': '1' })
    return void response.end()
  }
  if (kind === 'late') return void setTimeout(() => response.setHeader('content-length', said.length).end(said), 15)
  if (kind === 'large') return void response.setHeader('content-length', 100_000).end(said.padEnd(100_000, 'x'))
  response.setHeader('content-length', said.length).end(method === 'HEAD' ? '' : said)
}

/** What differs from one request to the next. */
const own = /^(x-request-id|traceparent|x-identity-token)$/

const headersOf = ({ rawHeaders }: IncomingMessage) =>
  rawHeaders
    .flatMap((name, at) => (at % 2 === 0 ? [`${name.toLowerCase()}: ${rawHeaders[at + 1]}`] : []))
    .filter((line) => !own.test(line.slice(0, line.indexOf(':'))) && !line.startsWith('host: '))
    .sort()

interface Outcome extends Heard, Reading {
  seen: Seen[]
  /** Targets of all requests that began to come. */
  begun: string[]
  overlaps: string[]
}

function outcome(heard: Heard, methodOf: (at: number) => string | undefined): Heard & Reading {
  return { ...heard, ...readStrictly(heard.bytes, methodOf, heard.end !== 'open') }
}

const named = (hasFastPath: boolean) => (hasFastPath ? '' : ', without the fast path')

/** What must hold for each gateway. */
function check(outcome: Outcome, hasFastPath: boolean, plain: Outcome, input: Input, isSure: boolean): Fault[] {
  const { seen, begun, responses, fault, overlaps, bytes, end } = outcome
  const faults: Fault[] = []
  const found = (kind: string, more = '') => {
    const detail = `${more} ${JSON.stringify({ seen, begun, end, heard: bytes.slice(0, 1_500) })}`
    faults.push({ kind: `${kind}${named(hasFastPath)}`, detail })
  }
  if (fault) found(`the client gets ${fault.slice(0, fault.indexOf(':'))}`, fault)
  if (overlaps.length > 0) found('requests of one client are upstream side by side', overlaps.join('; '))
  for (const { status, headers, isComplete, body } of responses) {
    if (status >= 500) found(`a status ${status}`, body)
    if (isSure && !isComplete) found('a response breaks off')
    if (headerOf(headers, 'x-seen') !== undefined || status < 400) continue
    if (!headerOf(headers, 'content-type')?.startsWith('application/problem+json'))
      found(`a refusal ${status} without problem details`)
  }
  // Nothing goes upstream that the plain server did not see, and in the order in which it saw it.
  const rest = [...plain.seen]
  // Node loses what comes in one piece behind an upgrade that it does not take.
  const isLost = rest.some(({ headers }) => headers.some((line) => line.startsWith('upgrade: ')))
  for (const request of seen) {
    const at = rest.findIndex((other) => isSame(request, other))
    if (at === -1 && isLost) break
    if (at === -1) found('a request upstream that Node did not read', JSON.stringify({ request, plain: plain.seen }))
    else rest.splice(0, at + 1)
  }
  const responded = responses.flatMap(({ headers }) => headerOf(headers, 'x-seen') ?? [])
  const reached = seen.map(({ url }) => seenAs(url))
  if (responded.some((url, at) => url !== reached[at])) found('responses in another order')
  // A body that turns out to be malformed once its head has gone on: the upstream sees that it breaks off.
  const isBrokenOff = begun.length === seen.length + 1 && [400, 408].includes(responses.at(-1)?.status ?? 0)
  if (isSure && responded.length < begun.length && !isBrokenOff)
    found('a request goes upstream whose response nobody gets', begun.slice(responded.length).join())
  if (isSure && input.requests.length === 1) {
    const [own = 0, others = 0] = [responses[0]?.status, plain.responses[0]?.status]
    if (others >= 400 && own < 400 && own !== 101) found(`${own} where Node says ${others}`)
  }
  return faults
}

/** Whether a request upstream is the one that the plain server saw: what a gateway takes out and adds aside. */
function isSame(forwarded: Seen, plain: Seen): boolean {
  if (forwarded.method !== plain.method || forwarded.body !== plain.body) return false
  if (forwarded.url !== plain.url && decoded(forwarded.url) !== decoded(plain.url)) return false
  const added = /^(connection|via|x-forwarded-\w+|content-length|transfer-encoding|upgrade|sec-websocket-\w+|cookie): /
  return forwarded.headers.every((line) => added.test(line) || plain.headers.includes(line))
}

function decoded(url: string): string {
  return url.replace(/%([\da-f]{2})/gi, (_, digits) => String.fromCharCode(Number.parseInt(digits, 16)))
}

const changing = /^(date|x-request-id|ratelimit|keep-alive)$/

function comparable({ responses }: Outcome): string[] {
  return responses.map(({ status, headers, body, trailers, hints }) => {
    // Of a message with two faults, it depends on how it comes which is seen first.
    // The response to a HEAD does not say.
    const isRefused = /^\{.*"code":"(MESSAGE_(AMBIGUOUS|MALFORMED)|HEADER_TOO_LARGE)"/.test(body)
    if (isRefused || (status === 400 && body === '' && headerOf(headers, 'connection') === 'close'))
      return 'a refused message'
    const lines = headers.flatMap((name, at) =>
      at % 2 === 0 ? [`${name}: ${changing.test(name) ? '' : headers[at + 1]}`] : [],
    )
    return JSON.stringify([status, lines.sort(), body.replace(/"requestId":"[^"]*"/, ''), trailers, hints])
  })
}

/** What differs between the two gateways. */
function differ(on: Outcome, off: Outcome, { requests, halfCloses }: Input, isSure: boolean): Fault[] {
  const shown = ({ bytes, seen, end }: Outcome) => ({ seen, end, heard: bytes.slice(0, 1_500) })
  const detail = JSON.stringify({ on: shown(on), off: shown(off) })
  const [first, second] = [comparable(on), comparable(off)]
  const different = first.findIndex((response, at) => second[at] !== undefined && second[at] !== response)
  // Some responses, as to a preflight and of a rejection, do not wait for the body: whether that is known to be broken
  // by then depends on how it comes.
  const { messages } = readAsNode(Buffer.from(requests.join('') + last, 'latin1'))
  const isBroken = messages.at(-1)?.isComplete === false && different === messages.length - 1
  if (isBroken && [first[different], second[different]].includes('a refused message')) return []
  if (different !== -1 && isSure) {
    const both = `${first[different]} and ${second[different]}; ${detail}`
    return [{ kind: 'other responses with the fast path than without', detail: both }]
  }
  if (halfCloses || [on, off].some(({ end }) => end === 'reset')) return []
  if (first.length !== second.length) return [{ kind: 'more responses on one way than on the other', detail }]
  if (on.end !== off.end) return [{ kind: `${on.end} with the fast path, ${off.end} without`, detail }]
  if (JSON.stringify(on.seen) === JSON.stringify(off.seen)) return []
  return [{ kind: 'other requests upstream with the fast path than without', detail }]
}

const messages = corpus()

function generate(random: Random): Input {
  const requests = Array.from({ length: 1 + random.upTo(20) }, (_, at) => {
    const text = request(random, at)
    return random.chance(0.12) ? mutate(random, text) : text
  })
  const length = requests.join('').length + last.length
  const splits = random.chance(0.5) ? [] : random.splits(length, 6)
  return {
    requests,
    splits: splits.map((at) => [at, random.chance(0.3) ? random.below(8) : 0]),
    halfCloses: random.chance(0.04),
  }
}

const upgrade = (to: string) => `Connection: Upgrade\r\nUpgrade: ${to}\r\n`
const key = 'Sec-WebSocket-Version: 13\r\nSec-WebSocket-Key: dGhlIHNhbXBsZSBub25jZQ==\r\n'

/** One request of the many kinds that there are; most are eligible for the fast path. */
function request(random: Random, at: number): string {
  const kind = random.pick(['', '', 'r=chunked', 'r=trailers', 'r=late', 'r=none', 'r=unchanged', 'r=large'])
  const target = `/${at}${kind && `?${kind}`}`
  const body = random.pick([
    '',
    'x',
    '{"a":"\xff"}',
    'GET /behind HTTP/1.1\r\nHost: g\r\n\r\n',
    'y'.repeat(random.upTo(70_000)),
  ])
  const make = (first: string, lines: string[] = [], text = '') =>
    `${first} HTTP/1.1\r\nHost: g\r\n${lines.map((line) => `${line}\r\n`).join('')}\r\n${text}`
  const length = `Content-Length: ${body.length}`
  const chunks = `${body && `${body.length.toString(16)}${random.pick(['', ';a=b'])}\r\n${body}\r\n`}0\r\n${random.pick(['', 'X-T: 1\r\n'])}\r\n`
  const behind = `POST /behind/${at} HTTP/1.1\r\nHost: g\r\nContent-Length: 0\r\n\r\n`
  const rare: (() => string)[] = [
    () => make(`HEAD ${target}`),
    () => make(`OPTIONS ${target}`),
    () => make(`DELETE ${target}`),
    () => make(`${random.pick(['POST', 'PUT', 'PATCH'])} ${target}`, ['Transfer-Encoding: chunked'], chunks),
    () => make(`POST ${target}`, [length, 'Expect: 100-continue'], body),
    () => make(`POST ${target}`, ['Transfer-Encoding: chunked', 'Expect: 100-continue'], chunks),
    () => make(`GET ${target}`, ['Connection: close']) + behind,
    () => make(`GET ${target}`, ['TE: trailers']),
    () => make(`GET ${target}`, ['Expect: x']),
    () => make(`GET ${target}`).replace('HTTP/1.1', 'HTTP/1.0'),
    () => make(`GET ${target}`, ['Connection: keep-alive']).replace('HTTP/1.1', 'HTTP/1.0'),
    () => make(`OPTIONS ${target}`, ['Origin: https://app.test', 'Access-Control-Request-Method: PUT']),
    () => make(`OPTIONS ${target}`, ['Origin: https://evil.test', 'Access-Control-Request-Method: PUT']),
    () => make(`GET ${target}`, [`Origin: ${random.pick(['https://app.test', 'https://evil.test', 'null'])}`]),
    () => make(`GET /ws${target}`, [...(upgrade('websocket') + key).trim().split('\r\n')]),
    () => make('GET /ws/http:/x', [...(upgrade('websocket') + key).trim().split('\r\n')]),
    () => make(`GET /ws/refused${target}`, [...(upgrade('websocket') + key).trim().split('\r\n')]),
    () => make(`GET ${target}`, upgrade('websocket').trim().split('\r\n')),
    () =>
      make(`GET ${target}`, [
        'Connection: Upgrade, HTTP2-Settings',
        'Upgrade: h2c',
        'HTTP2-Settings: AAMAAABkAAQAoAAA',
      ]),
    () => make(`POST ${target}`, ['Connection: Upgrade', 'Upgrade: h2c', length], body),
    () => make(`${random.pick(['BREW', 'QUERY', 'TRACE', 'PROPFIND', 'get'])} ${target}`),
    () => make('CONNECT a:1'),
    () => make(`GET http://g${target}`),
    () =>
      make(
        random.pick(['GET /a//b', 'GET /a%2Fb', 'GET /../a', 'GET /metrics', 'GET /a;b', 'GET /%41%7e', 'OPTIONS *']),
      ),
    () =>
      make(
        `GET /closed${target}`,
        random.pick([[], ['Authorization: Bearer x'], ['Sec-WebSocket-Protocol: bearer.x']]),
      ),
    () => 'X',
    () => 'X\r\n\r\n',
    () => '\r\n',
    () => make(`GET ${target}`, ['Host: other']) + behind,
    () => make(`POST ${target}`, ['Transfer-Encoding: gzip, chunked'], chunks) + behind,
    () => make(`POST ${target}`, ['Transfer-Encoding: chunked'], chunks).replace('HTTP/1.1', 'HTTP/1.0') + behind,
    () => make(`GET ${target}`, Array(201).fill('a: b')) + behind,
    () => make(`GET ${target}`, [`a: ${'b'.repeat(20_000)}`]) + behind,
    () => make(`GET ${target}`, ['X-User-Id: 1', 'X_Forwarded_For: 1', 'Cookie: a=b; refreshToken=c', 'Via: 1.0 x']),
    ...(messages.length > 0 ? [() => random.pick(messages)] : []),
  ]
  if (random.chance(0.45)) return random.pick(rare)()
  if (random.chance(0.5)) return make(`GET ${target}`, ['Accept: */*'])
  return make(`${random.pick(['POST', 'PUT', 'PATCH', 'DELETE'])} ${target}`, [length], body)
}

function segmentsOf(text: string, splits: Input['splits']): Segment[] {
  const segments: Segment[] = []
  let from = 0
  let pause = 0
  for (const [at, wait] of splits) {
    if (at <= from || at >= text.length) continue
    segments.push({ bytes: text.slice(from, at), wait: pause })
    from = at
    pause = wait
  }
  segments.push({ bytes: text.slice(from), wait: pause })
  return segments
}
