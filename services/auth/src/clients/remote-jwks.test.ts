import { execFileSync, spawnSync } from 'node:child_process'
import { generateKeyPairSync } from 'node:crypto'
import { mkdtempSync, readFileSync, rmSync } from 'node:fs'
import http, { type RequestListener } from 'node:http'
import https from 'node:https'
import { type AddressInfo, createServer } from 'node:net'
import { tmpdir } from 'node:os'
import { join } from 'node:path'
import { publicJwk } from '@sallyport/identity'
import t, { type Test } from 'tap'
import { createRemoteJwks } from './remote-jwks.ts'

const jwk = (kid: string) => {
  const { publicKey } = generateKeyPairSync('ec', {
    namedCurve: 'P-256',
    publicKeyEncoding: { type: 'spki', format: 'pem' },
    privateKeyEncoding: { type: 'pkcs8', format: 'pem' },
  })
  return { ...publicJwk(publicKey), kid }
}
const one = jwk('one')
const set = (...keys: object[]) => JSON.stringify({ keys })

/** A server of ours, with what it responds, and how often it was asked. */
async function serve(t: Test, respond: RequestListener = (_, response) => response.end(set(one))) {
  const state = { respond, asked: [] as string[] }
  const server = http.createServer((request, response) => {
    state.asked.push(`${request.method} ${request.url} ${request.headers.accept}`)
    state.respond(request, response)
  })
  const listen = (port: number) => new Promise<void>((resolve) => server.listen(port, '127.0.0.1', resolve))
  await listen(0)
  const { port } = server.address() as AddressInfo
  const stop = () =>
    new Promise((resolve) => {
      server.close(resolve)
      server.closeAllConnections()
    })
  t.teardown(stop)
  return Object.assign(state, { origin: `http://127.0.0.1:${port}`, stop, restart: () => listen(port) })
}

/** The clock that ages of sets are measured by. */
function clockOf(t: Test) {
  const clock = { now: performance.now() }
  t.intercept(performance, 'now', { value: () => clock.now })
  return { pass: (seconds: number) => (clock.now += seconds * 1000) }
}

t.test('a set is fetched from an origin inside that is allowed, over http', async (t) => {
  const server = await serve(t)
  const remote = createRemoteJwks(['http://other.test', server.origin])
  t.strictSame(await remote.fetch(`${server.origin}/keys?a=b`), { keys: [one] })
  t.strictSame(server.asked, ['GET /keys?a=b application/json'])
})

const skip = spawnSync('openssl', ['version']).error ? 'install openssl to run this' : false
t.test('and over https, by a certificate that is trusted', { skip }, async (t) => {
  const folder = mkdtempSync(join(tmpdir(), 'sallyport-'))
  t.teardown(() => rmSync(folder, { recursive: true }))
  const [keyFile, certFile] = [join(folder, 'key.pem'), join(folder, 'cert.pem')]
  execFileSync(
    'openssl',
    [
      ...['req', '-x509', '-newkey', 'ec', '-pkeyopt', 'ec_paramgen_curve:P-256', '-nodes', '-days', '1'],
      ...['-keyout', keyFile, '-out', certFile, '-subj', '/CN=localhost', '-addext', 'subjectAltName=DNS:localhost'],
    ],
    { stdio: 'ignore' },
  )
  const [key, cert] = [readFileSync(keyFile), readFileSync(certFile)]
  const server = https.createServer({ key, cert }, (_, response) => response.end(set(one)))
  await new Promise<void>((resolve) => server.listen(0, 'localhost', resolve))
  t.teardown(() => {
    server.close()
    server.closeAllConnections()
  })
  const origin = `https://localhost:${(server.address() as AddressInfo).port}`
  const remote = createRemoteJwks([origin])
  await t.rejects(remote.fetch(origin), { code: 'DEPTH_ZERO_SELF_SIGNED_CERT' })
  https.globalAgent.options.ca = cert
  t.teardown(() => delete https.globalAgent.options.ca)
  t.strictSame(await remote.fetch(origin), { keys: [one] })
  await t.rejects(createRemoteJwks([]).fetch(origin), { message: /one inside/ }, 'inside, it is not')
})

t.test('nothing else inside is so much as connected to', async (t) => {
  let connections = 0
  const server = createServer((socket) => {
    connections++
    socket.destroy()
  })
  await new Promise<void>((resolve) => server.listen(0, resolve))
  t.teardown(() => server.close())
  const { port } = server.address() as AddressInfo
  const remote = createRemoteJwks([`http://127.0.0.2:${port}`])
  for (const host of [
    ...['127.0.0.1', 'localhost', 'LOCALHOST', 'localhost.', '127.0.0.2', '127.255.255.254', '0.0.0.0', '0'],
    ...['[::1]', '[::]', '[::ffff:127.0.0.1]', '[::ffff:7f00:1]', '[0:0:0:0:0:0:0:1]', '[64:ff9b::7f00:1]'],
    ...['2130706433', '0x7f000001', '017700000001', '0x7f.1', '127.1', '127.0.1', '0177.0.0.1', '１２７.0.0.1'],
  ])
    await t.rejects(remote.fetch(`https://${host}:${port}/`), Error, host)
  t.equal(connections, 0)
  for (const host of [
    ...['169.254.169.254', '10.0.0.1', '172.16.0.1', '192.168.0.1', '100.64.0.1', '224.0.0.1', '255.255.255.255'],
    ...['[fe80::1]', '[fc00::1]', '[fd00:ec2::254]', '[::ffff:10.0.0.1]', '[::ffff:169.254.169.254]', '[ff02::1]'],
  ])
    await t.rejects(remote.fetch(`https://${host}/`), { message: /one inside/ }, host)
})

t.test('nor is what is no address over https, without a password', async (t) => {
  const server = await serve(t)
  const { port } = new URL(server.origin)
  const remote = createRemoteJwks([server.origin])
  for (const url of [
    ...[
      '',
      'x',
      '//x',
      'https://',
      'https:',
      'file:///etc/passwd',
      'data:application/json,{}',
      'javascript:1',
      'ftp://x/',
    ],
    ...[
      'http://example.com/',
      `http://localhost:${port}/`,
      `http://127.0.0.1:${Number(port) + 1}/`,
      `ws://127.0.0.1:${port}/`,
    ],
    ...[`http://user:pass@127.0.0.1:${port}/`, `http://user@127.0.0.1:${port}/`, 'https://user:pass@example.com/'],
    ...[`http://127.0.0.1:${port}@example.com/`, 'https://:pass@example.com/'],
  ])
    await t.rejects(remote.fetch(url), { message: /over https, from an address without a password/ }, url)
  t.strictSame(server.asked, [])
})

t.test('a redirect is not followed', async (t) => {
  const server = await serve(t)
  const remote = createRemoteJwks([server.origin])
  for (const status of [301, 302, 303, 307, 308]) {
    server.respond = (_, response) => response.writeHead(status, { location: `${server.origin}/other` }).end(set(one))
    await t.rejects(remote.fetch(`${server.origin}/`), { message: `it responded with ${status}, which is not 200` })
  }
  t.ok(server.asked.every((line) => !line.includes('other')))
})

t.test('nor is anything taken that is no set in 200 and 64 KiB', async (t) => {
  const server = await serve(t)
  const remote = createRemoteJwks([server.origin])
  const refuses = async (what: string, message: RegExp, respond: RequestListener) => {
    server.respond = respond
    await t.rejects(remote.fetch(server.origin), { message }, what)
  }
  for (const status of [201, 204, 206, 400, 404, 500])
    await refuses(`${status}`, /which is not 200/, (_, response) => response.writeHead(status).end())
  for (const text of ['', 'x', '<html>', '{', `${set(one)}x`])
    await refuses(text, /no JSON/, (_, response) => response.end(text))
  for (const text of ['null', '[]', '{}', '1', '{"keys":[]}'])
    await refuses(text, /no JWK Set/, (_, response) => response.end(text))
  await refuses('a private key', /private/, (_, response) => response.end(set({ ...one, d: 'AAAA' })))
  await refuses('too long', /longer than 65536/, (_, response) => response.end(set(one).padEnd(65_537)))
  await refuses('without an end', /longer than 65536/, (_, response) => {
    const more = setInterval(() => response.write('x'.repeat(10_000)), 1)
    response.on('close', () => clearInterval(more))
  })
  await refuses('cut short', /./, (_, response) => {
    response.writeHead(200, { 'content-length': 1_000 })
    response.write('{')
    setTimeout(() => response.destroy(), 20)
  })
  await refuses('closed at once', /./, (request) => request.socket.destroy())
  server.respond = (_, response) => response.end(set(one).padEnd(65_536))
  t.strictSame(await remote.fetch(server.origin), { keys: [one] }, '64 KiB are')
  await server.stop()
  await t.rejects(remote.fetch(server.origin), { code: /^ECONN/ } as never)
})

t.test('a server has three seconds in all', async (t) => {
  const server = await serve(t, () => {})
  const remote = createRemoteJwks([server.origin])
  const begun = performance.now()
  const slowly: RequestListener = (_, response) => {
    const more = setInterval(() => response.write(' '), 50)
    response.on('close', () => clearInterval(more))
  }
  const drops = await serve(t, slowly)
  await Promise.all([
    t.rejects(remote.fetch(server.origin), { name: 'AbortError' }, 'that says nothing'),
    t.rejects(createRemoteJwks([drops.origin]).fetch(drops.origin), /./, 'that goes on and on'),
  ])
  t.ok(performance.now() - begun > 2_900)
})

t.test('a set is kept for five minutes', async (t) => {
  const clock = clockOf(t)
  const server = await serve(t)
  const remote = createRemoteJwks([server.origin])
  const found = await Promise.all(Array.from({ length: 20 }, () => remote.find(server.origin, 'one')))
  t.equal(server.asked.length, 1, 'those that ask at once share it')
  t.ok(found.every(({ keys }) => keys[0]?.kid === 'one'))
  clock.pass(299)
  await remote.find(server.origin)
  t.equal(server.asked.length, 1)
  clock.pass(2)
  server.respond = (_, response) => response.end(set(jwk('two')))
  t.match(await remote.find(server.origin), { keys: [{ kid: 'two' }] })
  t.equal(server.asked.length, 2)
  await remote.find(`${server.origin}/other`)
  t.equal(server.asked.length, 3, 'each address for itself')
})

t.test('a key that it does not have is looked for again, at most every 30 seconds', async (t) => {
  const clock = clockOf(t)
  const server = await serve(t)
  const remote = createRemoteJwks([server.origin])
  await remote.find(server.origin, 'one')
  server.respond = (_, response) => response.end(set(one, jwk('two')))
  for (let at = 0; at < 100; at++) t.match(await remote.find(server.origin, `other ${at}`), { keys: [one] })
  t.equal(server.asked.length, 1)
  clock.pass(31)
  const found = await Promise.all(Array.from({ length: 20 }, () => remote.find(server.origin, 'two')))
  t.ok(found.every(({ keys }) => keys.length === 2))
  t.equal(server.asked.length, 2)
  for (let at = 0; at < 100; at++) await remote.find(server.origin, `other ${at}`)
  t.equal(server.asked.length, 2)
})

t.test('while its server is down the last one is taken, for an hour', async (t) => {
  const clock = clockOf(t)
  const server = await serve(t)
  const remote = createRemoteJwks([server.origin])
  await remote.find(server.origin)
  await server.stop()
  clock.pass(301)
  t.match(await remote.find(server.origin, 'one'), { keys: [one] })
  t.match(await remote.find(server.origin, 'one'), { keys: [one] }, 'without asking again at once')
  clock.pass(3_290)
  t.match(await remote.find(server.origin), { keys: [one] })
  clock.pass(40)
  await t.rejects(remote.find(server.origin), { code: /^ECONN/ } as never, 'and no longer')
  await t.rejects(remote.find(server.origin), { message: 'its JWK Set could not be had a moment ago' })
  await server.restart()
  await t.rejects(remote.find(server.origin), { message: 'its JWK Set could not be had a moment ago' })
  clock.pass(31)
  t.match(await remote.find(server.origin), { keys: [one] }, 'until it is there again')
})

t.test('one that was never there is asked for every 30 seconds', async (t) => {
  const clock = clockOf(t)
  const server = await serve(t, (_, response) => response.writeHead(500).end())
  const remote = createRemoteJwks([server.origin])
  for (let at = 0; at < 100; at++) await t.rejects(remote.find(server.origin, 'one'), Error)
  t.equal(server.asked.length, 1)
  clock.pass(31)
  await t.rejects(remote.find(server.origin, 'one'), { message: /500/ })
  t.equal(server.asked.length, 2)
})
