import { once } from 'node:events'
import { type AddressInfo, createServer, type Socket } from 'node:net'
import { openConnections, type ReadResponse, readRequest } from './gateway-readers.ts'
import type { Fault, Program } from './harness.ts'
import { corpus, mutate, requestSeeds, responseSeeds, smallerTexts } from './mutations.ts'
import { firstOf, lengthOfFirst, type NodeMessage, readAsNode } from './node-reader.ts'
import type { Random } from './random.ts'

/** A message, in latin1. */
export type Input =
  | { side: 'request'; text: string; isSplit: boolean }
  | { side: 'response'; method: string; text: string; splits: number[] | 'each' }

/** Milliseconds of CPU that no message within the limits of a header may cost. */
const mostTime = 40

/** What a connection is tried with. */
const empty = 'HTTP/1.1 200 OK\r\nContent-Length: 0\r\n\r\n'

/** Milliseconds for a response to be read. */
const timeout = 2_000

/**
 * The two readers of the gateway against Node's parser: whatever the gateway's accepts, Node's must accept and read the
 * same, to the byte where it ends.
 */
export async function openReaders(): Promise<Program<Input>> {
  const requests = [...requestSeeds, ...corpus()]
  const scripts = new Map<string, { bytes: Buffer; places: number[]; ends: boolean }>()
  const sockets = new Map<string, Socket>()
  const open = new Set<Socket>()
  const server = createServer((socket) => {
    open.add(socket)
    socket
      .setNoDelay()
      .on('error', () => {})
      .on('close', () => open.delete(socket))
    socket.on('data', (asked) => {
      const id = /^\w+ \/(\S+)/.exec(asked.toString('latin1'))?.[1] as string
      sockets.set(id, socket)
      const script = scripts.get(id)
      if (script) play(socket, script)
    })
  }).listen(0, '127.0.0.1')
  await once(server, 'listening')
  const origin = `http://127.0.0.1:${(server.address() as AddressInfo).port}`
  const counts = { request: 0, response: 0, accepted: 0, splits: 0 }
  const workers = Array.from({ length: 24 }, () => ({
    connections: openConnections(origin, timeout * 4),
  }))
  let id = 0

  function checkRequest(text: string, isSplit: boolean): Fault | undefined {
    const piece = Buffer.from(text, 'latin1')
    counts.request += 1
    const began = process.cpuUsage()
    const read = readRequest(piece)
    const { user, system } = process.cpuUsage(began)
    if (user + system > mostTime * 1_000) {
      const times = [1, 2, 3].map(() => timed(() => readRequest(piece)))
      if (Math.min(...times) > mostTime)
        return { kind: 'a request takes long to read', detail: `${times.join(', ')} ms` }
    }
    if (!read) return undefined
    counts.accepted += 1
    const whole = readAsNode(piece.subarray(0, read.length))
    const without = readAsNode(piece.subarray(0, read.length - 1))
    const [node, ...others] = whole.messages
    const detail = JSON.stringify({ gateway: read, node: whole })
    if (whole.error || !node) return { kind: 'Node refuses a request that the fast path takes', detail }
    if (!node.isComplete || others.length > 0 || without.messages[0]?.isComplete || node.isUpgrade)
      return { kind: 'a request ends elsewhere', detail }
    for (const part of ['method', 'url', 'body'] as const)
      if (node[part] !== read[part]) return { kind: `another ${part} of a request`, detail }
    if (node.version !== '1.1' || !node.shouldKeepAlive) return { kind: 'another version or end of a request', detail }
    if (JSON.stringify(node.headers) !== JSON.stringify(read.headers))
      return { kind: 'other headers of a request', detail }
    if (isSplit)
      for (let length = 1; length < read.length; length++) {
        counts.splits += 1
        if (readRequest(piece.subarray(0, length)))
          return { kind: 'a part of a request is taken for the whole', detail: `${length} bytes of ${detail}` }
      }
    return undefined
  }

  async function checkResponse(input: Input & { side: 'response' }, worker: number): Promise<Fault | undefined> {
    const { method, text, splits } = input
    const bytes = Buffer.from(text, 'latin1')
    const expected = asNodeReads(method, bytes)
    // Bytes behind a response are sent with its end: on their own they would come for the next request.
    const places = (
      splits === 'each' ? Array.from({ length: Math.min(bytes.length, 4_000) }, (_, at) => at) : splits
    ).filter((at) => at > 0 && at < expected.length)
    if (splits !== 'each') return readAndCompare(input, worker, expected, bytes, places)
    for (const at of places) {
      const fault = await readAndCompare(input, worker, expected, bytes, [at])
      if (fault) return { ...fault, detail: `split at ${at}: ${fault.detail}` }
    }
    return undefined
  }

  async function readAndCompare(
    input: Input & { side: 'response' },
    at: number,
    expected: Expected,
    bytes: Buffer,
    places: number[],
  ): Promise<Fault | undefined> {
    counts.response += 1
    const worker = workers[at] as (typeof workers)[number]
    const path = `${id++}`
    scripts.set(path, { bytes, places, ends: !expected.message || expected.byEnd })
    const began = performance.now()
    const read = await worker.connections.read(input.method, `/${path}`)
    const took = performance.now() - began
    scripts.delete(path)
    const socket = sockets.get(path)
    sockets.delete(path)
    if (read instanceof Error) {
      if (expected.message && took > timeout) return { kind: 'a whole response is waited for', detail: read.message }
      return undefined
    }
    counts.accepted += 1
    const fault = compare(read, expected, saysLastAhead(bytes.toString('latin1')))
    if (fault || expected.mayGoOn) return fault
    const next = `${id++}`
    scripts.set(next, { bytes: Buffer.from(empty), places: [], ends: false })
    await worker.connections.read('GET', `/${next}`)
    scripts.delete(next)
    const isUsedAgain = sockets.get(next) === socket
    sockets.delete(next)
    if (!isUsedAgain) return undefined
    return { kind: 'a connection is used again that may not', detail: JSON.stringify(expected) }
  }

  return {
    workers: workers.length,
    generate(random) {
      if (random.chance(0.5)) {
        const seed = random.pick(requests)
        const text = random.chance(0.05) ? seed + random.pick(requests) : seed
        return { side: 'request', text: longTimes(random) ?? mutate(random, text), isSplit: random.chance(0.05) }
      }
      const [method, seed] = random.pick(responseSeeds)
      const text = random.chance(0.02) ? seed : mutate(random, seed)
      const each = text.length < 600 && random.chance(0.002)
      return { side: 'response', method, text, splits: each ? 'each' : random.splits(text.length, 4) }
    },
    async run(input, worker) {
      const fault =
        input.side === 'request' ? checkRequest(input.text, input.isSplit) : await checkResponse(input, worker)
      return fault ? [fault] : []
    },
    *smaller(input) {
      if (input.side === 'response' && input.splits !== 'each' && input.splits.length > 0)
        yield { ...input, splits: input.splits.slice(1) }
      for (const text of smallerTexts(input.text)) yield { ...input, text }
    },
    summary: () =>
      `${counts.request} requests and ${counts.response} responses read, ${counts.accepted} accepted, ${counts.splits} prefixes`,
    async close() {
      for (const socket of open) socket.destroy()
      await Promise.all(workers.map(({ connections }) => connections.close()))
      server.close()
    },
  }
}

/** A request with a very long run of something, which is where a reader can take more than its share of time. */
function longTimes(random: Random): string | undefined {
  if (!random.chance(0.002)) return undefined
  const run = (most: number) => random.pick([' ', '\t', 'a', '.', '/A', '%25', ',', ';', ':', '\x80']).repeat(most)
  const end = random.pick(['', '\x01', ' ', '\r', '\n', ':', '%'])
  const path = random.chance(0.5) ? `/${random.pick(['', 'A'])}${run(2_000 + random.below(6_000))}${end}` : '/'
  const value = path === '/' ? run(2_000 + random.below(14_000)) + end : ''
  return `GET ${path.slice(0, 16_000)} HTTP/1.1\r\nHost: g\r\na:${value.slice(0, 16_000)}\r\n\r\n`
}

interface Expected {
  /** Undefined if Node refuses it, or it is not whole. */
  message: NodeMessage | undefined
  error: string | undefined
  /** Where it ends. */
  length: number
  /** Whether that is the end of the connection. */
  byEnd: boolean
  mayGoOn: boolean
}

function asNodeReads(method: string, bytes: Buffer): Expected {
  const direct = readOne(method, bytes)
  if (direct.message) return direct
  // What a proxy may set right (RFC 9112 sections 5.1 and 6.3) before it reads on: Node refuses it.
  const righted = Buffer.from(setRight(bytes.toString('latin1')), 'latin1')
  if (righted.equals(bytes)) return direct
  const second = readOne(method, righted)
  return { ...second, length: second.message ? second.length + bytes.length - righted.length : bytes.length }
}

function readOne(method: string, bytes: Buffer): Expected {
  const methodOf = () => method
  const open = firstOf(readAsNode(bytes, methodOf))
  if (open?.isComplete && !open.isUpgrade) {
    const length = lengthOfFirst(bytes, methodOf)
    const mayGoOn = open.shouldKeepAlive || isKept(open, method)
    return { message: open, error: undefined, length, byEnd: false, mayGoOn: mayGoOn && length === bytes.length }
  }
  const { messages, error } = readAsNode(bytes, methodOf, true)
  const ended = error ? undefined : firstOf({ messages })
  const message = ended?.isComplete && !ended.isUpgrade ? ended : undefined
  return { message, error: error ?? 'not whole', length: bytes.length, byEnd: true, mayGoOn: false }
}

/** Where Node's parser is careful without need: it waits for a body of a response to HEAD, and reads Proxy-Connection. */
function isKept({ version, headers }: NodeMessage, method: string): boolean {
  const named = (name: string) =>
    headers.filter((_, at) => at % 2 === 1 && headers[at - 1]?.toLowerCase() === name).join()
  if (method !== 'HEAD' && named('proxy-connection') === '') return false
  return version === '1.1' && !/(^|,)\s*close\s*(,|$)/i.test(named('connection'))
}

/** Without spaces before a colon and tabs around a value, and with equal lengths once; also in what is ahead of a response. */
function setRight(text: string): string {
  const end = text.indexOf('\r\n\r\n')
  if (end === -1) return text
  const [first, ...lines] = text.slice(0, end).split('\r\n')
  const closed = lines.map((line) =>
    line
      .replace(/^([\w!#$%&'*+.^`|~-]+)[\t ]+:/, '$1:')
      .replace(/[\t ]+$/, '')
      .replace(/^([^:]*):[\t ]+/, '$1: '),
  )
  const seen = new Set<string>()
  const once = closed.flatMap((line) => {
    const [, name, length = ''] = /^(content-length):[\t ]*(\d+)(?:[\t ]*,[\t ]*\2)*[\t ]*$/i.exec(line) ?? []
    if (name === undefined) return [line]
    if (seen.has(length)) return []
    seen.add(length)
    return [`${name}: ${length}`]
  })
  const rest = text.slice(end + 4)
  const isAhead = /^HTTP\/1\.[01] 1\d\d/.test(text)
  return `${[first, ...once].join('\r\n')}\r\n\r\n${isAhead ? setRight(rest) : rest}`
}

/** Whether something ahead of a response says that the connection ends with it. */
function saysLastAhead(text: string): boolean {
  const [head = ''] = text.split('\r\n\r\n', 1)
  if (!/^HTTP\/1\.1 1\d\d/.test(head)) return false
  return /^(proxy-)?connection[\t ]*:.*close/im.test(head) || saysLastAhead(text.slice(head.length + 4))
}

function compare(read: ReadResponse, { message, error }: Expected, isLastAhead: boolean): Fault | undefined {
  const detail = JSON.stringify({ gateway: read, node: message })
  // Node looks at what trailers say of lengths; the gateway takes them out (RFC 9110 section 6.5.1).
  const isLengthInTrailers = read.trailers.some((name, at) => at % 2 === 0 && framing.test(name))
  if (!message && isLengthInTrailers && /CONTENT_LENGTH|TRANSFER_ENCODING/.test(error ?? '')) return undefined
  // What was ahead of a response said that the connection ends: the gateway reads on, and does not use it again.
  if (!message && error === 'HPE_CLOSED_CONNECTION' && isLastAhead) return undefined
  if (!message) return { kind: `Node refuses a response that the gateway takes: ${error}`, detail }
  for (const part of ['status', 'statusText', 'body'] as const)
    if (message[part] !== read[part]) return { kind: `another ${part} of a response`, detail }
  const without = (list: string[]) => (read.status === 204 ? withoutLength(list) : list)
  for (const part of ['headers', 'trailers'] as const)
    if (JSON.stringify(without(message[part])) !== JSON.stringify(without(read[part])))
      return { kind: `other ${part} of a response`, detail }
  if (read.status < 200) return { kind: 'a response with a status that is none', detail }
  return undefined
}

/** What has no body has no length, even if it says so (RFC 9110 section 8.6). */
function withoutLength(list: string[]): string[] {
  return list.filter((_, at) => !framing.test(list[at - (at % 2)] as string))
}
const framing = /^(content-length|transfer-encoding)$/i

async function play(socket: Socket, { bytes, places, ends }: { bytes: Buffer; places: number[]; ends: boolean }) {
  let at = 0
  for (const place of [...places, bytes.length]) {
    if (socket.destroyed) return
    socket.write(bytes.subarray(at, place))
    at = place
    if (place < bytes.length) await new Promise(setImmediate)
  }
  if (ends) socket.end()
}

function timed(act: () => unknown): number {
  const began = performance.now()
  act()
  return performance.now() - began
}
