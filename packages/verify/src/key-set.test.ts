import type { ServerResponse } from 'node:http'
import t, { type Test } from 'tap'
import { usualAlgorithms } from './algorithm.ts'
import { discoveryOf, openKeySet } from './key-set.ts'
import { makeKeyPair, publicJwk } from './test-keys.ts'
import { replaceGlobal, serve, stopClock } from './test-server.ts'
import { importKey } from './web-crypto.ts'

const generate = () => publicJwk(makeKeyPair().publicKey)
const never = 3_600_000
const calm = { cooldown: never, retryAfter: never, maxAge: never }

/** A server of keys that responds as the test wants. */
async function serveKeys(t: Test, keys: unknown = [generate()]) {
  const respondWith = (content: unknown) => (response: ServerResponse) => response.end(JSON.stringify(content))
  const state = { fetches: 0, respond: respondWith({ keys }) as (response: ServerResponse) => void }
  const origin = await serve(t, (_request, response) => {
    state.fetches += 1
    state.respond(response)
  })
  const url = `${origin}/jwks.json`
  return Object.assign(state, { url, serve: (keys: unknown) => (state.respond = respondWith({ keys })) })
}

function open(t: Test, url: string, timing = calm) {
  const lines: string[] = []
  const keySet = openKeySet(
    { jwks: url },
    {
      algorithms: usualAlgorithms,
      importKey,
      isKeptFresh: true,
      onChange: (kids) => lines.push(`changed to ${kids}`),
      onFailure: (error, isCached) => lines.push(`${isCached ? 'cached' : 'failed'}: ${(error as Error).message}`),
      ...timing,
    },
  )
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
  const pairs = Object.fromEntries(usualAlgorithms.map((algorithm) => [algorithm, makeKeyPair(algorithm)]))
  const keys = Object.values(pairs).map(({ publicKey }) => publicJwk(publicKey))
  const keySet = open(t, (await serveKeys(t, keys)).url)
  await keySet.ready()
  for (const [algorithm, { publicKey }] of Object.entries(pairs)) {
    const found = await keySet.find(publicJwk(publicKey).kid)
    t.equal(found?.algorithm, algorithm)
    t.ok(found?.key)
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
    const find = async () => keySet.find(key.kid)
    await t.rejects(find(), { code: 'UNAVAILABLE', headers: { 'retry-after': '1' } }, name)
    t.match(keySet.lines.at(-1), /^failed: /)
    server.respond = good
    await t.resolves(keySet.ready())
    t.ok(await keySet.find(key.kid), 'as soon as the set is there')
  }
})

t.test(
  'while the set could never be fetched, those who name its issuer do not have it asked again and again',
  async (t) => {
    const key = generate()
    const server = await serveKeys(t, [key])
    const good = server.respond
    server.respond = (response) => response.writeHead(500).end()
    const patient = open(t, server.url)
    const eager = open(t, server.url, { ...calm, retryAfter: -1 })
    for (const keySet of [patient, eager]) await t.rejects(keySet.ready(), { code: 'UNAVAILABLE' })
    const before = server.fetches
    const find = async () => patient.find(key.kid)
    for (let n = 0; n < 20; n++) await t.rejects(find(), { code: 'UNAVAILABLE', cause: { message: /answered 500/ } })
    t.equal(server.fetches, before)
    server.respond = good
    t.ok(await eager.find(key.kid), 'until it is time')
  },
)

t.test('keys come from the address that was set, and from no other it points to', async (t) => {
  const elsewhere = await serveKeys(t)
  const server = await serveKeys(t)
  server.respond = (response) => response.writeHead(302, { location: elsewhere.url }).end()
  await t.rejects(open(t, server.url).ready(), { code: 'UNAVAILABLE' })
  t.equal(elsewhere.fetches, 0)
})

t.test('a key that is of no use does not spoil the others', async (t) => {
  const key = generate()
  const foreign = publicJwk(makeKeyPair('ES384').publicKey)
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
  t.match(keySet.lines.at(-1), /^cached: .* answered 500/)
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
    keySet.lines,
    [old, fresh].map(({ kid }) => `changed to ${kid}`),
    'each change is told once',
  )
})

t.test('a key that takes the id of another is told from it', async (t) => {
  const [old, fresh] = [generate(), generate()]
  const server = await serveKeys(t, [old])
  const keySet = open(t, server.url, { ...calm, maxAge: 10 })
  await keySet.ready()
  const found = (await keySet.find(old.kid)) as NonNullable<Awaited<ReturnType<typeof keySet.find>>>
  t.ok(keySet.holds(old.kid, found))
  server.serve([{ ...fresh, kid: old.kid }])
  await eventually('the old key is gone', () => !keySet.holds(old.kid, found))
  t.equal(keySet.lines.length, 2, 'which is told')
  server.serve([old])
  await eventually('the same key is the same again', () => keySet.holds(old.kid, found))
  t.notOk(keySet.holds('unknown', found))
})

t.test('a server that is not there yet is asked again by itself', async (t) => {
  const server = await serveKeys(t)
  const good = server.respond
  server.respond = (response) => response.destroy()
  const keySet = open(t, server.url, { ...calm, maxAge: 5 })
  await eventually('several fetches', () => server.fetches > 2)
  t.match(keySet.lines, [/^failed: /])
  t.equal(keySet.lines.length, 1, 'told once')
  server.respond = good
  await eventually('the keys are there', () =>
    keySet.ready().then(
      () => true,
      () => false,
    ),
  )
})

type Opened = ReturnType<typeof openOnDemand>

/** Keys that nobody keeps fresh: they are fetched by whoever asks. */
function openOnDemand(t: Test, url: string, maxAge = 1_000) {
  const keySet = openKeySet({ jwks: url }, { algorithms: usualAlgorithms, importKey, maxAge })
  t.teardown(() => keySet.close())
  return keySet
}

t.test('without a background, keys are fetched when they are asked for, and again once they are too old', async (t) => {
  const pass = stopClock(t)
  const [old, fresh] = [generate(), generate()]
  const server = await serveKeys(t, [old])
  const keySet = openOnDemand(t, server.url)
  t.equal(server.fetches, 0)
  t.ok(await keySet.find(old.kid))
  server.serve([fresh])
  pass(999)
  t.notOk(keySet.find(old.kid) instanceof Promise, 'nobody waits for what is at hand')
  pass(1)
  t.equal(await keySet.find(old.kid), undefined, 'a key that was withdrawn ends')
  t.ok(await keySet.find(fresh.kid))
  t.equal(server.fetches, 2)
  await keySet.ready()
  t.equal(server.fetches, 2)
})

t.test('while the issuer is away, nobody waits for it more than once in that time', async (t) => {
  const pass = stopClock(t)
  const key = generate()
  const server = await serveKeys(t, [key])
  const keySet = openOnDemand(t, server.url)
  await keySet.ready()
  server.respond = (response) => response.writeHead(500).end()
  for (let round = 2; round < 5; round++) {
    pass(1_000)
    const first = Array.from({ length: 10 }, () => keySet.find(key.kid))
    t.ok(first.every((found) => found instanceof Promise))
    for (const found of await Promise.all(first)) t.ok(found, 'and the key stays in use')
    for (let n = 0; n < 10; n++) t.notOk(keySet.find(key.kid) instanceof Promise)
    t.equal(server.fetches, round)
  }
})

t.test('on Workers each request fetches by itself, as one that has ended would be waited for forever', async (t) => {
  replaceGlobal(t, 'navigator', { userAgent: 'Cloudflare-Workers' })
  const key = generate()
  const server = await serveKeys(t, [key])
  const keySet = openOnDemand(t, server.url)
  const good = server.respond
  server.respond = () => {}
  Promise.resolve(keySet.find(key.kid)).catch(() => {})
  await eventually('the first has asked', () => server.fetches === 1)
  server.respond = good
  t.ok(await keySet.find(key.kid))
  t.equal(server.fetches, 2)
})

t.test('a set that was closed has no keys, also if they were on their way', async (t) => {
  const key = generate()
  const server = await serveKeys(t, [key])
  const [used, waiting, unused] = [1, 2, 3].map(() => openOnDemand(t, server.url)) as [Opened, Opened, Opened]
  const own = await used.find(key.kid)
  if (!own) throw new Error('it was there')
  t.ok(used.holds(key.kid, own))
  const found = waiting.find(key.kid)
  for (const keySet of [used, waiting, unused]) keySet.close()
  t.equal(await found, undefined)
  for (const keySet of [used, waiting, unused])
    t.strictSame([await keySet.find(key.kid), keySet.holds(key.kid, own)], [undefined, false])
})

t.test('of very many keys the first hundred are looked at', async (t) => {
  const key = generate()
  const keys = Array.from({ length: 101 }, (_, index) => ({ ...key, kid: `key-${index}` }))
  const keySet = openOnDemand(t, (await serveKeys(t, keys)).url)
  t.ok(await keySet.find('key-99'))
  t.equal(await keySet.find('key-100'), undefined)
})

t.test('metadata say where the keys are, if they are of this issuer', async (t) => {
  t.equal(discoveryOf('https://a.test/realms/b'), 'https://a.test/realms/b/.well-known/openid-configuration')
  t.equal(discoveryOf('https://a.test/'), 'https://a.test/.well-known/openid-configuration')

  const key = generate()
  const issuer = 'https://login.test'
  const outcome = async (metadata: unknown, discovery = discoveryOf(issuer)) => {
    const asked: string[] = []
    replaceGlobal(t, 'fetch', async (url: string) => {
      asked.push(url)
      return Response.json(url === discovery ? metadata : { keys: [key] })
    })
    const lines: string[] = []
    const keySet = openKeySet(
      { discovery, issuer },
      {
        algorithms: usualAlgorithms,
        importKey,
        maxAge: never,
        onFailure: (error) => lines.push((error as Error).message),
      },
    )
    const found = await Promise.resolve(keySet.find(key.kid)).catch(({ code }) => code)
    return { found: typeof found === 'object' ? 'found' : found, asked: asked.length, why: lines[0] }
  }
  const jwks_uri = 'https://keys.test/jwks'
  t.match(await outcome({ issuer, jwks_uri }), { found: 'found', asked: 2 })
  t.match(await outcome({ issuer, jwks_uri }, 'http://127.0.0.1/metadata'), { found: 'found' }, 'safer than asked')
  t.match(await outcome({ issuer, jwks_uri: 'http://keys.test/' }, 'http://127.0.0.1/metadata'), { found: 'found' })
  const wrong: [object, RegExp][] = [
    [{ issuer: `${issuer}/`, jwks_uri }, /is of the issuer https:\/\/login.test\/$/],
    [{ issuer: 'https://evil.test', jwks_uri }, /is of the issuer https:\/\/evil.test$/],
    [{ issuer: 'x'.repeat(1_000), jwks_uri }, /is of the issuer x{200}$/],
    [{ jwks_uri }, /is of the issuer undefined$/],
    [{ issuer: [issuer], jwks_uri }, /is of the issuer/],
    [{ issuer }, /names no jwks_uri$/],
    [{ issuer, jwks_uri: 7 }, /names no jwks_uri$/],
    [{ issuer, jwks_uri: '/jwks' }, /names no jwks_uri$/],
    [{ issuer, jwks_uri: 'http://keys.test/' }, /that is not over https$/],
    [{ issuer, jwks_uri: 'file:///etc/passwd' }, /that is not over https$/],
    [{ issuer, jwks_uri: 'data:application/json,{}' }, /that is not over https$/],
  ]
  for (const [metadata, why] of wrong)
    t.match(await outcome(metadata), { found: 'UNAVAILABLE', asked: 1, why }, JSON.stringify(metadata).slice(0, 80))
})
