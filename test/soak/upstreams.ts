import { once } from 'node:events'
import { type AddressInfo, createServer, type Socket } from 'node:net'
import { converse, type Heard } from './client.ts'
import { Gateway } from './gateway.ts'
import type { Fault, Program } from './harness.ts'
import { mutate, responseSeeds, smallerTexts } from './mutations.ts'
import { firstOf, lengthOfFirst, readAsNode } from './node-reader.ts'
import type { Random } from './random.ts'
import { headerOf, readStrictly } from './strict-reader.ts'

/** What an upstream does when it is asked. */
export interface Script {
  /** In latin1; `NONCE` stands for that of the request. */
  text: string
  splits: number[]
  /** Milliseconds between two pieces. */
  wait: number
  /** The body is sent without waiting for the request's. */
  isEarly: boolean
  end: 'stay' | 'end' | 'reset'
  /** Whether `text` is sent again and again. */
  isEndless: boolean
}

export interface Exchange {
  /** `whole` and `body` take different ways to the upstream. */
  kind: 'whole' | 'body' | 'long body' | 'upgrade' | 'fast path, then body'
  method: string
  script: Script
}

/** Exchanges that happen side by side, over connections to one upstream. */
export interface Input {
  exchanges: Exchange[]
}

/** Milliseconds for an upstream to begin its response, and for a client to wait after that. */
const timeout = 400

const anyNonce = /N\d{9}N/g

/**
 * Upstreams that send anything, at any pace, and go at any moment. Whatever they do, a client gets valid HTTP and only what
 * was said to it, and the gateway goes on.
 */
export async function openUpstreams(): Promise<Program<Input>> {
  const scripts = new Map<string, Script>()
  const sockets = new Set<Socket>()
  const server = createServer((socket) => {
    sockets.add(socket)
    socket
      .setNoDelay()
      .on('error', () => {})
      .on('close', () => sockets.delete(socket))
    let asked = ''
    socket.setEncoding('latin1').on('data', (chunk) => {
      asked = (asked + chunk).slice(-200_000)
      const nonce = /^\w+ \/\w+\/(N\d{9}N) HTTP[\s\S]*?\r\n\r\n/.exec(asked)?.[1]
      const script = nonce && scripts.get(nonce)
      if (!script) {
        // A probe whether we are back.
        if (/^HEAD \/ /.test(asked)) socket.end('HTTP/1.1 200 OK\r\nContent-Length: 0\r\n\r\n')
        return
      }
      if (!script.isEarly && !isWhole(asked)) return
      asked = ''
      play(socket, nonce, script)
    })
  }).listen(0, '127.0.0.1')
  await once(server, 'listening')
  const upstreams = [`http://127.0.0.1:${(server.address() as AddressInfo).port}`]
  const gateway = new Gateway([
    { prefix: '/', upstreams, access: 'public', timeout },
    { prefix: '/ws', upstreams, access: 'public', timeout, websocket: true },
  ])
  await gateway.start()
  const counts = { exchanges: 0, whole: 0 }
  let number = 0

  async function exchange({ kind, method, script }: Exchange, waitFactor: number): Promise<Fault[]> {
    const nonce = `N${String(100_000_000 + number++)}N`
    scripts.set(nonce, script)
    const requests = requestsOf(kind, method, nonce)
    const heard = await converse(
      requests.map((bytes) => ({ bytes, wait: 0 })),
      {
        port: gateway.port,
        from: '127.0.0.1',
        // The gateway must say something in this time; what it does after it began is up to the upstream.
        quiet: timeout * 3 * waitFactor,
        isDone: (bytes) => firstOf(readAsNode(Buffer.from(bytes, 'latin1'), () => method))?.isComplete === true,
      },
    )
    scripts.delete(nonce)
    counts.exchanges += 1
    return check(heard, { kind, method, script }, nonce)
  }

  function check({ bytes, end }: Heard, { kind: asked, method, script }: Exchange, nonce: string): Fault[] {
    const isUpgrade = asked === 'upgrade'
    const faults: Fault[] = []
    const found = (kind: string, more = '') =>
      faults.push({ kind, detail: `${more} ${JSON.stringify({ method, nonce, end, heard: bytes.slice(0, 2_500) })}` })
    const { responses, fault } = readStrictly(bytes, (at) => (at === 0 ? method : undefined), end !== 'open')
    const [response] = responses
    if (fault) found(`the client gets ${fault.slice(0, fault.indexOf(':'))}${isUpgrade ? ' to an upgrade' : ''}`, fault)
    const others = (bytes.match(anyNonce) ?? []).filter((other) => other !== nonce)
    if (others.length > 0) found("the client gets another client's bytes", others.join())
    if (bytes === '' && end === 'open') found('the client waits for a response without end')
    if (!response || fault) return faults
    counts.whole += response.isComplete ? 1 : 0
    if (response.status === 101) {
      if (!isUpgrade) found('a change of protocol that nobody asked for')
      return faults
    }
    // Node must read what is whole in the same way.
    const node = firstOf(readAsNode(Buffer.from(bytes, 'latin1'), () => method, end !== 'open'))
    if (response.isComplete && (node?.status !== response.status || node.body !== response.body))
      found('Node reads a response in another way', JSON.stringify(node))
    for (const name of ['x-content-type-options', ...(isUpgrade ? [] : ['x-request-id', 'cache-control'])])
      if (headerOf(response.headers, name) === undefined)
        found(`a response without headers of our own${isUpgrade ? ' to an upgrade' : ''}`, name)
    for (const name of ['server', 'x-powered-by'])
      if (headerOf(response.headers, name) !== undefined)
        found(`a response with ${name}${isUpgrade ? ' to an upgrade' : ''}`)
    // A service's own is passed on; the gateway's (problem.ts) is a fault whatever the service said.
    const isPassedOn = /^HTTP\/\d\.\d 500/m.test(script.text) && !response.body.includes('"code":"INTERNAL"')
    if (response.status === 500 && !isPassedOn) found('a status 500')
    return faults
  }

  return {
    workers: 4,
    generate,
    isDown: () => gateway.isDown,
    start: () => gateway.start(),
    async run({ exchanges }, _worker, waitFactor) {
      const faults = await Promise.all(exchanges.map((one) => exchange(one, waitFactor)))
      const failures = await gateway.faults()
      return gateway.isDown ? failures : [...failures, ...faults.flat()]
    },
    *smaller({ exchanges }) {
      if (exchanges.length > 1) for (const one of exchanges) yield { exchanges: [one] }
      for (let at = 0; at < exchanges.length && exchanges.length > 1; at++)
        yield { exchanges: [...exchanges.slice(0, at), ...exchanges.slice(at + 1)] }
      for (const [at, one] of exchanges.entries()) {
        const change = (script: Partial<Script>) => ({
          exchanges: exchanges.with(at, { ...one, script: { ...one.script, ...script } }),
        })
        if (one.script.splits.length > 0) yield change({ splits: [] })
        if (one.script.isEndless) yield change({ isEndless: false })
        if (one.script.wait > 0) yield change({ wait: 0 })
        for (const text of smallerTexts(one.script.text)) yield change({ text })
      }
    },
    summary: () => `${counts.exchanges} exchanges, ${counts.whole} whole responses`,
    async close() {
      await gateway.stop()
      for (const socket of sockets) socket.destroy()
      server.close()
    },
  }
}

/** Whether a request is there with its body. */
function isWhole(asked: string): boolean {
  return readAsNode(Buffer.from(asked, 'latin1')).messages[0]?.isComplete === true
}

async function play(socket: Socket, nonce: string, script: Script): Promise<void> {
  const bytes = Buffer.from(script.text.replaceAll('NONCE', nonce), 'latin1')
  const methodOf = () => 'GET'
  // What follows a response comes with its end: later it would be for the next request, as far as anybody can tell.
  const isThere = firstOf(readAsNode(bytes, methodOf))?.isComplete === true
  const end = isThere ? lengthOfFirst(bytes, methodOf) : bytes.length
  let at = 0
  for (const place of [...script.splits.filter((place) => place < end), bytes.length]) {
    if (socket.destroyed) return
    socket.write(bytes.subarray(at, place))
    at = place
    if (script.wait > 0) await new Promise((next) => setTimeout(next, script.wait))
    else await new Promise(setImmediate)
  }
  const until = performance.now() + 4 * timeout
  while (script.isEndless && !isThere && !socket.destroyed && performance.now() < until) {
    if (!socket.write(bytes)) await new Promise((next) => socket.once('drain', next).once('close', next))
    await new Promise(setImmediate)
  }
  if (script.end === 'end') socket.end()
  else if (script.end === 'reset') socket.resetAndDestroy()
}

function requestsOf(kind: Exchange['kind'], method: string, nonce: string): string[] {
  const head = (prefix: string, lines: string[]) =>
    `${method} /${prefix}/${nonce} HTTP/1.1\r\nHost: g\r\n${lines.map((line) => `${line}\r\n`).join('')}\r\n`
  switch (kind) {
    case 'whole':
      return [head('a', [])]
    case 'body':
      return [head('a', ['Content-Length: 6']), 'two', 'two']
    case 'long body':
      return [
        head('a', ['Transfer-Encoding: chunked']),
        ...Array(20).fill(`8000\r\n${'x'.repeat(0x8000)}\r\n`),
        '0\r\n\r\n',
      ]
    case 'upgrade':
      return [
        head('ws', [
          'Connection: Upgrade',
          'Upgrade: websocket',
          'Sec-WebSocket-Version: 13',
          'Sec-WebSocket-Key: dGhlIHNhbXBsZSBub25jZQ==',
        ]),
      ]
    default:
      return [head('a', ['TE: trailers'])]
  }
}

const more: string[] = [
  'HTTP/1.1 101 Switching Protocols\r\nConnection: Upgrade\r\nUpgrade: websocket\r\nX-N: NONCE\r\n\r\n\x88\x00',
  'HTTP/1.1 403 Forbidden\r\nServer: secret\r\nX-Powered-By: secret\r\nTransfer-Encoding: chunked\r\n\r\n5\r\nNONCE\r\n0\r\n\r\n',
  'HTTP/1.1 000 None\r\nContent-Length: 13\r\n\r\nNONCE',
  'HTTP/1.1 204 No Content\r\nContent-Length: 5\r\n\r\n',
  'HTTP/1.1 204 No Content\r\nTransfer-Encoding: chunked\r\n\r\n0\r\n\r\n',
  'HTTP/1.1 205 Reset Content\r\nContent-Length: 0\r\n\r\n',
  'HTTP/1.1 304 Not Modified\r\nTransfer-Encoding: chunked\r\n\r\n',
  'HTTP/1.1 200 OK\r\nConnection: content-security-policy, x-content-type-options, x-request-id, cache-control\r\nContent-Length: 0\r\n\r\n',
  ...['content-length: 5', 'host: x', 'set-cookie: a=b', 'transfer-encoding: chunked', 'content-type: x'].map(
    (trailer) =>
      `HTTP/1.1 200 OK\r\nTransfer-Encoding: chunked\r\n\r\n3\r\nabc\r\n0\r\n${trailer}\r\nx-n: NONCE\r\n\r\n`,
  ),
  'HTTP/1.1 200 OK\r\nContent-Type: text/event-stream\r\n\r\ndata: NONCE\n\n',
  'HTTP/1.1 200 OK\r\nContent-Length: 100\r\n\r\nNONCE',
  'HTTP/1.1 200 OK\r\nContent-Length: 2\r\n\r\nNONCE',
  'HTTP/1.1 200 OK\r\nContent-Length: 0\r\n\r\nHTTP/1.1 200 OK\r\nContent-Length: 5\r\n\r\nNONCE',
  'HTTP/1.1 100 Continue\r\n\r\n',
  'HTTP/1.1 103 Early Hints\r\nLink: </NONCE>\r\n\r\n',
  'X-A: NONCE\r\n',
  'HTTP/1.1 200 OK\r\n',
  `HTTP/1.1 200 OK\r\n${'x-many: NONCE\r\n'.repeat(600)}Content-Length: 0\r\n\r\n`,
  `HTTP/1.1 200 OK\r\nx-long: ${'x'.repeat(20_000)}\r\nContent-Length: 0\r\n\r\n`,
  'HTTP/1.1 200 OK\r\nTransfer-Encoding: chunked\r\n\r\n',
  `HTTP/1.1 200 OK\r\nTransfer-Encoding: chunked\r\n\r\n400\r\n${'NONCE'.padEnd(0x400, '.')}`,
  `HTTP/1.1 200 OK\r\n\r\n${'NONCE'.padEnd(400_000, '.')}`,
  `HTTP/1.1 413 Content Too Large\r\nConnection: close\r\nContent-Length: 5\r\n\r\nlarge`,
  'HTTP/1.1 407 Proxy\r\nProxy-Authenticate: Basic\r\nContent-Length: 0\r\n\r\n',
  '',
]

/** Nonces are longer than their placeholder, so lengths that are to be right are made so. */
const seeds = [
  ...responseSeeds.map(([, text]) => text),
  'HTTP/1.1 200 OK\r\nContent-Length: 17\r\n\r\n{"n":"NONCE"}',
  'HTTP/1.1 200 OK\r\nX-N: NONCE\r\nTransfer-Encoding: chunked\r\n\r\nb\r\nNONCE\r\n0\r\nX-N: NONCE\r\n\r\n',
  'HTTP/1.1 200 OK\r\nX-N: NONCE\r\nConnection: close\r\n\r\nNONCE',
]

function generate(random: Random): Input {
  return { exchanges: Array.from({ length: 1 + random.below(8) }, () => one(random)) }
}

function one(random: Random): Exchange {
  const kind = random.pick([
    ...(['whole', 'whole', 'whole', 'fast path, then body', 'body', 'long body', 'upgrade'] as const),
  ])
  const method =
    kind === 'body' || kind === 'long body'
      ? 'POST'
      : kind === 'upgrade'
        ? 'GET'
        : random.pick(['GET', 'GET', 'HEAD', 'DELETE'])
  const seed = random.pick([...seeds, ...more])
  const text = random.chance(0.6) ? mutate(random, seed) : seed
  return {
    kind,
    method,
    script: {
      text: random.chance(0.1) ? text.slice(0, random.below(text.length + 1)) : text,
      splits: random.chance(0.5) ? [] : random.splits(text.length, 5),
      wait: random.chance(0.1) ? random.below(40) : 0,
      isEarly: random.chance(0.3),
      // What is not whole is never ended by those who stay, which takes its time.
      end: random.pick(['stay', 'end', 'end', 'end', 'reset']),
      isEndless: random.chance(0.03),
    },
  }
}
