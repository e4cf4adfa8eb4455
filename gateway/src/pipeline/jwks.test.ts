import { createPublicKey, generateKeyPairSync } from 'node:crypto'
import { once } from 'node:events'
import { createServer, type ServerResponse } from 'node:http'
import type { AddressInfo } from 'node:net'
import { createLogger } from '@sallyport/chassis'
import { publicJwk } from '@sallyport/identity'
import t, { type Test } from 'tap'
import { openKeySet } from './jwks.ts'

// As PEM: on Node 20 the export of a key object that was generated can wait for itself forever (for a lock it holds).
const publicKeyEncoding = { type: 'spki', format: 'pem' } as const
const privateKeyEncoding = { type: 'pkcs8', format: 'pem' } as const
const generate = () =>
  publicJwk(generateKeyPairSync('ec', { namedCurve: 'P-256', publicKeyEncoding, privateKeyEncoding }).privateKey)
const never = 3_600_000
const calm = { cooldown: never, retryAfter: never, maxAge: never }

/** A server of keys that responds as the test wants. */
async function serveKeys(t: Test, keys: unknown = [generate()]) {
  const respondWith = (content: unknown) => (response: ServerResponse) => response.end(JSON.stringify(content))
  const state = { fetches: 0, respond: respondWith({ keys }) as (response: ServerResponse) => void }
  const server = createServer((_request, response) => {
    state.fetches += 1
    state.respond(response)
  }).listen(0, '127.0.0.1')
  await once(server, 'listening')
  t.teardown(() => {
    server.closeAllConnections()
    server.close()
  })
  const url = `http://127.0.0.1:${(server.address() as AddressInfo).port}/jwks.json`
  return Object.assign(state, { url, serve: (keys: unknown) => (state.respond = respondWith({ keys })) })
}

function open(t: Test, url: string, timing = calm) {
  const lines: string[] = []
  const keySet = openKeySet(url, createLogger('test', 'info', { write: (line) => lines.push(line) }), timing)
  t.teardown(() => keySet.close())
  return Object.assign(keySet, { lines })
}

async function eventually(what: string, check: () => boolean | Promise<boolean>): Promise<void> {
  const deadline = Date.now() + 10_000
  while (!(await check())) {
    if (Date.now() > deadline) throw new Error(`not in time: ${what}`)
    await new Promise((resolve) => setTimeout(resolve, 5))
  }
}

t.test('keys of every kind that we use are found by their id', async (t) => {
  const pairs: Record<string, { publicKey: string }> = {
    ES256: generateKeyPairSync('ec', { namedCurve: 'P-256', publicKeyEncoding, privateKeyEncoding }),
    RS256: generateKeyPairSync('rsa', { modulusLength: 2048, publicKeyEncoding, privateKeyEncoding }),
    EdDSA: generateKeyPairSync('ed25519', { publicKeyEncoding, privateKeyEncoding }),
  }
  const keys = Object.values(pairs).map(({ publicKey }) => publicJwk(publicKey))
  const keySet = open(t, (await serveKeys(t, keys)).url)
  await keySet.ready()
  for (const [algorithm, { publicKey }] of Object.entries(pairs)) {
    const found = await keySet.find(publicJwk(publicKey).kid)
    t.equal(found?.algorithm, algorithm)
    t.equal(found?.key.export({ type: 'spki', format: 'pem' }), publicKey)
  }
})

t.test('all who ask at once wait for one fetch', async (t) => {
  const key = generate()
  const server = await serveKeys(t, [key])
  const keySet = open(t, server.url)
  const found = await Promise.all(Array.from({ length: 20 }, () => keySet.find(key.kid)))
  t.ok(found.every((one) => one !== undefined))
  t.equal(server.fetches, 1)
})

t.test('a response that is no key set is 503 and never "no such key", until there is one', async (t) => {
  const key = generate()
  const responses: Record<string, (response: ServerResponse) => void> = {
    'an error': (response) => response.writeHead(500).end(JSON.stringify({ keys: [key] })),
    'not found': (response) => response.writeHead(404).end(),
    'no JSON': (response) => response.end('<html>'),
    'half a response': (response) => response.write('{"keys":[', () => response.destroy()),
    'no connection': (response) => response.destroy(),
    ...Object.fromEntries(
      [null, [], {}, { keys: null }, { keys: {} }, { keys: [] }, { keys: [null] }, { keys: ['x'] }].map((content) => [
        JSON.stringify(content),
        (response: ServerResponse) => response.end(JSON.stringify(content)),
      ]),
    ),
    'no key that is public': (response) => response.end('{"keys":[{"kty":"oct","kid":"x","k":"AAAA"}]}'),
    'no key with an id': (response) => response.end(JSON.stringify({ keys: [{ ...key, kid: undefined }] })),
  }
  for (const [name, respond] of Object.entries(responses)) {
    const server = await serveKeys(t, [key])
    const good = server.respond
    server.respond = respond
    const keySet = open(t, server.url)
    await t.rejects(keySet.ready(), { statusCode: 503, code: 'UNAVAILABLE' }, name)
    await t.rejects(
      Promise.resolve(keySet.find(key.kid)),
      { code: 'UNAVAILABLE', headers: { 'retry-after': '1' } },
      name,
    )
    t.match(keySet.lines.at(-1), /"key_set_unreachable"/)
    server.respond = good
    t.ok(await keySet.find(key.kid), 'as soon as the set is there')
    await t.resolves(keySet.ready())
  }
})

t.test('keys come from the address that was set, and from no other it points to', async (t) => {
  const elsewhere = await serveKeys(t)
  const server = await serveKeys(t)
  server.respond = (response) => response.writeHead(302, { location: elsewhere.url }).end()
  await t.rejects(open(t, server.url).ready(), { code: 'UNAVAILABLE' })
  t.equal(elsewhere.fetches, 0)
})

t.test('a key that is of no use does not spoil the others', async (t) => {
  const key = generate()
  const foreign = createPublicKey(
    generateKeyPairSync('ec', { namedCurve: 'P-384', publicKeyEncoding, privateKeyEncoding }).publicKey,
  ).export({
    format: 'jwk',
  })
  const broken = { kty: 'EC', crv: 'P-256', x: 'AA', y: 'AA', kid: 'broken' }
  const server = await serveKeys(t, [
    { ...foreign, kid: 'foreign' },
    { kty: 'XYZ', kid: 'odd' },
    broken,
    { ...key, kid: 'secret', use: 'enc' },
    { ...key, kid: 'wrapping', key_ops: ['encrypt', 'decrypt'] },
    { ...key, kid: 'other', alg: 'ES384' },
    { ...key, kid: 'plain', use: undefined, alg: undefined, key_ops: ['verify'] },
    key,
  ])
  const keySet = open(t, server.url)
  t.ok(await keySet.find(key.kid))
  t.ok(await keySet.find('plain'), 'what a key does not say is no fault')
  for (const kid of ['foreign', 'odd', 'broken', 'secret', 'wrapping', 'other', 'undefined'])
    t.equal(await keySet.find(kid), undefined, kid)
})

t.test('an unknown id fetches the set anew, but not again until the cooldown is over', async (t) => {
  const [first, second] = [generate(), generate()]
  const server = await serveKeys(t, [first])
  const patient = open(t, server.url)
  const eager = open(t, server.url, { ...calm, cooldown: -1 })
  await Promise.all([patient.ready(), eager.ready()])
  server.serve([first, second])
  t.ok(await eager.find(second.kid), 'a key that came since')
  const before = server.fetches
  for (let n = 0; n < 20; n++) t.equal(await patient.find(`unknown-${n}`), undefined)
  t.equal(server.fetches, before)
})

t.test('when the set cannot be fetched, the cached keys stay in use', async (t) => {
  const key = generate()
  const server = await serveKeys(t, [key])
  const keySet = open(t, server.url, { ...calm, cooldown: -1 })
  await keySet.ready()
  server.respond = (response) => response.writeHead(500).end()
  const before = server.fetches
  t.equal(await keySet.find('unknown'), undefined, 'an unknown key is rejected, not told to wait')
  t.equal(server.fetches, before + 1)
  t.equal(await keySet.find('unknown'), undefined)
  t.equal(server.fetches, before + 1, 'a server in trouble is not asked at once again')
  t.ok(await keySet.find(key.kid))
  t.match(keySet.lines.at(-1), /the cached keys stay in use/)
})

t.test('the set is renewed in the background, so that a withdrawn key ends', async (t) => {
  const [old, fresh] = [generate(), generate()]
  const server = await serveKeys(t, [old])
  const keySet = open(t, server.url, { ...calm, maxAge: 10 })
  await keySet.ready()
  server.serve([fresh])
  await eventually('the old key is gone', async () => (await keySet.find(old.kid)) === undefined)
  t.ok(await keySet.find(fresh.kid))
  t.strictSame(
    keySet.lines.map((line) => JSON.parse(line)).map(({ event, kids }) => ({ event, kids })),
    [old, fresh].map(({ kid }) => ({ event: 'key_set_changed', kids: [kid] })),
    'each change is logged once',
  )
})

t.test('a server that is not there yet is asked again by itself', async (t) => {
  const server = await serveKeys(t)
  const good = server.respond
  server.respond = (response) => response.destroy()
  const keySet = open(t, server.url, { ...calm, maxAge: 5 })
  await eventually('several fetches', () => keySet.lines.length > 2)
  server.respond = good
  await eventually('the keys are there', () =>
    keySet.ready().then(
      () => true,
      () => false,
    ),
  )
})
