import { once } from 'node:events'
import type { ServerResponse } from 'node:http'
import { gzipSync } from 'node:zlib'
import t from 'tap'
import { fetchJson } from './fetch-json.ts'
import { replaceGlobal, serve } from './test-server.ts'

t.test('a JSON object is fetched, however its characters were cut', async (t) => {
  const url = await serve(t, (request, response) => {
    t.equal(request.headers.accept, 'application/json')
    const bytes = Buffer.from('{"name":"ä€😀"}')
    response.write(bytes.subarray(0, 10))
    setTimeout(() => response.end(bytes.subarray(10)), 20)
  })
  t.strictSame(await fetchJson(url), { name: 'ä€😀' })
})

t.test('any other answer is none, and says where it came from', async (t) => {
  const answers: Record<string, [(response: ServerResponse) => void, RegExp]> = {
    'an error': [(response) => response.writeHead(500).end('{"keys":[]}'), /answered 500$/],
    'not found': [(response) => response.writeHead(404).end(), /answered 404$/],
    'no content': [(response) => response.writeHead(204).end(), /answered 204$/],
    created: [(response) => response.writeHead(201).end('{}'), /answered 201$/],
    HTML: [(response) => response.end('<html>'), /answered with no JSON object$/],
    nothing: [(response) => response.end(), /answered with no JSON object$/],
    'a text': [(response) => response.end('"text"'), /answered with no JSON object$/],
    'a number': [(response) => response.end('7'), /answered with no JSON object$/],
    null: [(response) => response.end('null'), /answered with no JSON object$/],
    'half of it': [(response) => response.end('{"keys":['), /answered with no JSON object$/],
  }
  for (const [name, [answer, message]] of Object.entries(answers)) {
    const url = await serve(t, (_request, response) => answer(response))
    await t.rejects(fetchJson(url), { message }, name)
    await t.rejects(fetchJson(url), { message: new RegExp(`^${url}`) }, name)
  }
  replaceGlobal(t, 'fetch', async () => new Response(null))
  await t.rejects(fetchJson('http://test'), /no JSON object/, 'a runtime that gives an empty body as none')
})

t.test('a redirect is followed nowhere', async (t) => {
  let asked = 0
  const elsewhere = await serve(t, (_request, response) => {
    asked += 1
    response.end('{}')
  })
  for (const status of [301, 302, 303, 307, 308]) {
    const url = await serve(t, (_request, response) => response.writeHead(status, { location: elsewhere }).end('{}'))
    await t.rejects(fetchJson(url), { message: `${url} answered ${status}` })
  }
  t.equal(asked, 0)
})

t.test(
  'an answer that is too long is cut off at once, also one that only becomes so when it is inflated',
  async (t) => {
    const mebibyte = Buffer.alloc(1024 * 1024, ' ')
    let sent = 0
    let ended: Promise<unknown> | undefined
    const endless = await serve(t, (_request, response) => {
      ended = once(response, 'close')
      const write = () => {
        do sent += 1
        while (!response.destroyed && response.write(mebibyte))
      }
      response.on('drain', write)
      write()
    })
    await t.rejects(fetchJson(endless), /answered with more than 1048576 bytes/)
    await ended
    t.ok(sent < 64, `${sent} MiB of a body without end were sent`)

    const bomb = gzipSync(Buffer.alloc(256 * 1024 * 1024, ' '))
    const small = await serve(t, (_request, response) =>
      response.writeHead(200, { 'content-encoding': 'gzip' }).end(bomb),
    )
    const before = process.memoryUsage().arrayBuffers
    await t.rejects(fetchJson(small), /answered with more than 1048576 bytes/)
    t.ok(process.memoryUsage().arrayBuffers - before < 64 * 1024 * 1024, 'it is not kept')

    const fits = `{"a":"${'x'.repeat(1024 * 1024 - 8)}"}`
    t.equal(fits.length, 1024 * 1024)
    t.ok(await fetchJson(await serve(t, (_request, response) => response.end(fits))), 'to the byte')
    await t.rejects(fetchJson(await serve(t, (_request, response) => response.end(`${fits} `))), /more than/)
  },
)

t.test('an answer that takes too long is given up, whether it begins or not', async (t) => {
  const silent = await serve(t, () => {})
  const slow = await serve(t, (_request, response) => {
    const timer = setInterval(() => response.write(' '), 50)
    response.on('close', () => clearInterval(timer))
  })
  await Promise.all([silent, slow].map((url) => t.rejects(fetchJson(url), { name: 'TimeoutError' })))
})
