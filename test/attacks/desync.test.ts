import { once } from 'node:events'
import { readFileSync } from 'node:fs'
import { type AddressInfo, connect, createServer } from 'node:net'
import t, { type Test } from 'tap'
import { each, exchange, openGateway } from '../support/edge.ts'

interface Message {
  line: string
  /** Names as they came, and values. */
  headers: [string, string][]
  body: string
}

/**
 * The messages in a piece of HTTP/1.1, by our own parser, which knows the two ways to give a length and nothing else.
 *
 * @throws for anything that some other parser could read in another way
 */
function parse(bytes: string, isResponse: boolean): Message[] {
  const messages: Message[] = []
  let rest = bytes
  while (rest !== '') {
    const end = rest.indexOf('\r\n\r\n')
    if (end === -1) throw new Error(`a header without end: ${JSON.stringify(rest)}`)
    const [line = '', ...lines] = rest.slice(0, end).split('\r\n')
    if (!(isResponse ? /^HTTP\/1\.1 \d{3} [ -~]*$/ : /^[A-Z]+ \/[!-~]* HTTP\/1\.1$/).test(line))
      throw new Error(`an odd first line: ${JSON.stringify(line)}`)
    const headers = lines.map((text): [string, string] => {
      const [, name, value] = /^([\w!#$%&'*+.^`|~-]+): ?([^\0-\x08\n-\x1f\x7f]*)$/.exec(text) ?? []
      if (name === undefined || value === undefined) throw new Error(`an odd line: ${JSON.stringify(text)}`)
      return [name, value]
    })
    const lengths = headers.filter(([name]) => /^content.length$/i.test(name)).map(([, value]) => value)
    const codings = headers.filter(([name]) => /^transfer.encoding$/i.test(name)).map(([, value]) => value)
    if (lengths.length + codings.length > 1) throw new Error(`two lengths: ${JSON.stringify(headers)}`)
    rest = rest.slice(end + 4)
    let body = ''
    if (codings.length > 0) {
      if (codings[0] !== 'chunked') throw new Error(`an odd coding: ${codings[0]}`)
      for (let size = -1; size !== 0; ) {
        const [whole = '', digits = ''] = /^([0-9a-f]+)\r\n/i.exec(rest) ?? []
        if (whole === '') throw new Error(`an odd chunk: ${JSON.stringify(rest)}`)
        size = Number.parseInt(digits, 16)
        body += rest.slice(whole.length, whole.length + size)
        if (rest.slice(whole.length + size, whole.length + size + 2) !== '\r\n')
          throw new Error('an odd end of a chunk')
        rest = rest.slice(whole.length + size + 2)
      }
    } else if (lengths.length > 0) {
      if (!/^(0|[1-9]\d*)$/.test(lengths[0] as string)) throw new Error(`an odd length: ${lengths[0]}`)
      body = rest.slice(0, Number(lengths[0]))
      if (body.length < Number(lengths[0])) throw new Error('a body that is too short')
      rest = rest.slice(body.length)
    }
    messages.push({ line, headers, body })
  }
  return messages
}

/** A service that records every byte of every connection, and responds to each message that it can read. */
async function recordBytes(t: Test) {
  const connections: { bytes: string }[] = []
  const server = createServer((socket) => {
    const connection = { bytes: '' }
    connections.push(connection)
    let served = 0
    socket.on('error', () => {})
    socket.setEncoding('latin1').on('data', (chunk) => {
      connection.bytes += chunk
      let complete = 0
      try {
        complete = parse(connection.bytes, false).length
      } catch {
        // More is still to come.
      }
      for (; served < complete; served++) socket.write('HTTP/1.1 200 OK\r\nContent-Length: 2\r\n\r\nok')
    })
  }).listen(0, '127.0.0.1')
  await once(server, 'listening')
  t.teardown(() => server.close())
  return { connections, url: `http://127.0.0.1:${(server.address() as AddressInfo).port}` }
}

/** A service that begins a response as soon as it gets a request, and does not go on. */
async function beginResponses(t: Test) {
  const server = createServer((socket) => {
    socket.on('error', () => {})
    socket.once('data', () => socket.write('HTTP/1.1 200 OK\r\nContent-Length: 1000\r\n\r\nbegins'))
  }).listen(0, '127.0.0.1')
  await once(server, 'listening')
  t.teardown(() => server.close())
  return `http://127.0.0.1:${(server.address() as AddressInfo).port}`
}

const folder = process.env.VECTORS_DIR

/** A gateway, and a service behind it that records what reaches it. */
async function open(t: Test) {
  const { connections, url } = await recordBytes(t)
  const { port } = await openGateway(
    t,
    [
      { prefix: '/api', upstreams: [url], access: 'public' },
      { prefix: '/live', upstreams: [url], access: 'public', websocket: true },
      { prefix: '/broken', upstreams: [await beginResponses(t)], access: 'public' },
    ],
    { LOG_LEVEL: 'warn' },
  )

  /** The responses to some bytes, and what of them reached the service, over however many connections. */
  async function send(bytes: Buffer | string) {
    const before = connections.map((connection) => connection.bytes.length)
    const responses = await exchange(port, bytes, 1_000)
    const sent = connections.map(({ bytes }, at) => bytes.slice(before[at] ?? 0)).filter((bytes) => bytes !== '')
    return { responses, sent }
  }
  return { port, send }
}

t.test('no request hides in another', async (t) => {
  const { port, send } = await open(t)

  await t.test(
    'of a corpus',
    { skip: folder === undefined && 'set VECTORS_DIR to the folder of the corpora (http_desync.json)' },
    async (t) => {
      const { cases } = JSON.parse(readFileSync(`${folder}/http_desync.json`, 'utf8')) as {
        cases: { id: string; raw_b64: string }[]
      }
      t.ok(cases.length >= 98)
      let arrived = 0
      // At each gateway one after another, so that what reaches the service is known to be of this one.
      const free = await Promise.all(Array.from({ length: 8 }, () => open(t)))
      const tryOne = async ({ id, raw_b64: encoded }: (typeof cases)[number]) => {
        const gateway = free.pop() as (typeof free)[number]
        const { responses, sent } = await gateway.send(Buffer.from(encoded, 'base64'))
        free.push(gateway)
        const messages = sent.flatMap((bytes) => parse(bytes, false))
        if (messages.length > 1) t.fail(`${id}: ${messages.length} requests`, { sent })
        for (const { line, headers } of messages) {
          arrived += 1
          if (!/ \/api\/echo HTTP/.test(line)) t.fail(`${id}: ${line}`)
          if (headers.some(([name]) => /canary/i.test(name))) t.fail(`${id}: the canary is a header`, { headers })
        }
        const parsed = parse(responses, true)
        const statuses = parsed.map(({ line }) => Number(line.split(' ')[1])).filter((status) => status >= 200)
        // What follows a complete request is another one of the client's, and it has no route.
        const fine = statuses.length === 1 || (statuses.length === 2 && statuses[1] !== 200)
        if (!fine || (messages.length === 0 && statuses.includes(200)))
          t.fail(`${id}: responses ${statuses}`, { responses })
      }
      await each(cases, tryOne, free.length)
      t.ok(arrived > 0 && arrived <= cases.length, `${arrived} of ${cases.length} arrived as one request`)
    },
  )

  await t.test('of our own', async (t) => {
    const hidden = 'GET /api/smuggled HTTP/1.1\r\nHost: g\r\nX-Canary: SMUGGLED\r\n\r\n'
    const request = (lines: string[], body = hidden, first = 'POST /api/echo HTTP/1.1') =>
      [first, ...lines, '', body].join('\r\n')
    const upgrade = ['Host: g', 'Connection: Upgrade', 'Upgrade: websocket']
    const live = 'GET /live HTTP/1.1'
    const length = `Content-Length: ${hidden.length}`
    const chunks = `${hidden.length.toString(16)}\r\n${hidden}\r\n0\r\n\r\n`

    const refused: Record<string, string> = {
      'no host': request([length]),
      'no host, HTTP/1.0': request([length], hidden, 'POST /api/echo HTTP/1.0'),
      'an empty host': request(['Host:', length]),
      'two hosts': request(['Host: g', 'Host: evil.test', length]),
      'two hosts, alike': request(['Host: g', 'host: g', length]),
      'two hosts in one': request(['Host: g, evil.test', length]),
      'a host with a path': request(['Host: g/api', length]),
      'a host with a user': request(['Host: user@g', length]),
      'a host with a space': request(['Host: g evil.test', length]),
      'a host with two ports': request(['Host: g:80:90', length]),
      'a host with a port that is none': request(['Host: g:x', length]),
      'a host that is folded': request(['Host: g', ' evil.test', length]),
      'a length and chunks': request(['Host: g', length, 'Transfer-Encoding: chunked'], chunks),
      'chunks and a length': request(['Host: g', 'Transfer-Encoding: chunked', length], chunks),
      'two lengths': request(['Host: g', length, 'Content-Length: 0']),
      'two lengths, alike': request(['Host: g', length, length]),
      'two lengths in one': request(['Host: g', `Content-Length: ${hidden.length}, ${hidden.length}`]),
      'chunks of what is compressed': request(['Host: g', 'Transfer-Encoding: gzip, chunked'], chunks),
      'chunks twice': request(['Host: g', 'Transfer-Encoding: chunked, chunked'], chunks),
      'chunks in two lines': request(['Host: g', ...Array(2).fill('Transfer-Encoding: chunked')], chunks),
      'chunks and more': request(['Host: g', 'Transfer-Encoding: chunked;q=1'], chunks),
      'another coding': request(['Host: g', 'Transfer-Encoding: identity'], chunks),
      'chunks in HTTP/1.0': request(['Host: g', 'Transfer-Encoding: chunked'], chunks, 'POST /api/echo HTTP/1.0'),
      'a version that is none': request(['Host: g', length], hidden, 'POST /api/echo HTTP/1.9'),
      'HTTP/2': 'PRI * HTTP/2.0\r\n\r\nSM\r\n\r\n',
      'a length after a thousand lines': request(['Host: g', ...Array(1_100).fill('a:'), length]),
      'chunks after a thousand lines': request(
        ['Host: g', ...Array(1_100).fill('a:'), 'Transfer-Encoding: chunked'],
        chunks,
      ),
      'an upgrade with a body': request([...upgrade, length], hidden, live),
      'an upgrade with no body that says so': request([...upgrade, 'Content-Length: 0'], '', live),
      'an upgrade with chunks': request([...upgrade, 'Transfer-Encoding: chunked'], chunks, live),
      'an upgrade by POST': request(upgrade, '', 'POST /live HTTP/1.1'),
      'a chunk whose size is none': request(['Host: g', 'Transfer-Encoding: chunked'], `0x10\r\n${hidden}`),
      'a chunk that is longer than it says': request(
        ['Host: g', 'Transfer-Encoding: chunked'],
        `2\r\n${hidden}0\r\n\r\n`,
      ),
      'a chunk size with no line end': request(['Host: g', 'Transfer-Encoding: chunked'], `2\nok\n0\n\n`),
    }
    for (const [what, bytes] of Object.entries(refused)) {
      const { responses, sent } = await send(bytes)
      const statuses = parse(responses, true).map(({ line }) => line.split(' ')[1])
      t.match(statuses, [/^4\d\d$/], `${what}: ${statuses}`)
      t.notOk(statuses[1], `${what}: nothing after it is read`)
      // The head may have gone on before its body turned out to be broken; it ends there.
      t.notMatch(sent.join(), /smuggled/, what)
    }

    await t.test('one that only looks like it is one', async (t) => {
      for (const name of [
        'Transfer_Encoding',
        'Transfer.Encoding',
        'Content_Length',
        'content~length',
        'X_Forwarded-For',
      ])
        for (const value of ['chunked', '0', '1']) {
          const lines = ['Host: g', length, `${name}: ${value}`, 'Connection: close']
          const { responses, sent } = await send(request(lines))
          t.match(responses, /^HTTP\/1\.1 200/)
          const [message, ...others] = sent.flatMap((bytes) => parse(bytes, false))
          t.strictSame([message?.body, others], [hidden, []], `${name}: ${value}`)
          t.notOk(
            message?.headers.some(([sentName]) => sentName.toLowerCase() === name.toLowerCase()),
            name,
          )
        }
    })

    await t.test('trailers are dropped', async (t) => {
      const lines = [
        'Host: g',
        'Transfer-Encoding: chunked',
        'Trailer: X-Canary',
        'TE: trailers',
        'Connection: close, TE',
      ]
      const body = '2\r\nok\r\n0\r\nX-Canary: SMUGGLED\r\nX-Length: 99\r\n\r\n'
      const { responses, sent } = await send(request(lines, body))
      t.match(responses, /^HTTP\/1\.1 200/)
      t.equal(parse(sent.join(''), false)[0]?.body, 'ok')
      t.notMatch(sent.join(''), /canary|trailer|SMUGGLED/i)
    })
  })

  await t.test('a body that breaks off in the middle of a response adds nothing to it', async (t) => {
    const socket = connect(port, '127.0.0.1').on('error', () => {})
    let response = ''
    socket.on('data', (chunk) => {
      if (response === '') socket.write('not a chunk\r\n')
      response += chunk
    })
    socket.write('POST /broken HTTP/1.1\r\nHost: g\r\nTransfer-Encoding: chunked\r\n\r\n2\r\nok\r\n')
    await once(socket, 'close')
    t.match(response, /^HTTP\/1\.1 200 OK[\s\S]*begins$/)
    t.equal(response.match(/HTTP\/1\.1/g)?.length, 1)
  })
})
