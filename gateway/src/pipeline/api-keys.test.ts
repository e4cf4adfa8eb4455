import { randomUUID } from 'node:crypto'
import { once } from 'node:events'
import { createServer, type IncomingMessage, type ServerResponse } from 'node:http'
import type { AddressInfo } from 'node:net'
import { createLogger, Problem } from '@sallyport/chassis'
import { apiKeyId, makeApiKey } from '@sallyport/identity'
import type { Issuer, Revocations } from '@sallyport/verify'
import t, { type Test } from 'tap'
import type { Caller, Verifier } from './access-token.ts'
import { openApiKeys } from './api-keys.ts'

/** A call to the auth service, which the test answers. */
interface Call {
  key: string
  authorization: string | undefined
  answer: (status: number, body: string | object, headers?: Record<string, string>) => void
}

/** An auth service that answers as the test wants: by itself with a token that names the key, or not at all. */
async function serveAuth(t: Test) {
  const state = {
    calls: [] as Call[],
    life: 900,
    respond: undefined as ((call: Call) => void) | undefined,
    url: '',
  }
  const server = createServer(async (request: IncomingMessage, response: ServerResponse) => {
    let body = ''
    for await (const chunk of request) body += chunk
    const { key } = JSON.parse(body)
    const call: Call = {
      key,
      authorization: request.headers.authorization,
      answer: (status, body, headers = {}) =>
        response.writeHead(status, headers).end(typeof body === 'string' ? body : JSON.stringify(body)),
    }
    state.calls.push(call)
    if (state.respond) state.respond(call)
    else call.answer(200, tokenFor(key, { life: state.life }))
  }).listen(0, '127.0.0.1')
  await once(server, 'listening')
  t.teardown(() => {
    server.closeAllConnections()
    server.close()
  })
  return Object.assign(state, { url: `http://127.0.0.1:${(server.address() as AddressInfo).port}/internal/api-keys` })
}

/** Tokens are JSON here: that they are verified is a matter of the verifier. */
const tokenFor = (key: string, { life = 900, caller = 'client', sid = apiKeyId(key) } = {}) => ({
  accessToken: JSON.stringify({ caller, sid, life, of: randomUUID() }),
})

/** API keys of a gateway, with the clock and the revocations in the hands of the test. */
function open(t: Test, url: string | undefined, timeout?: number) {
  const state = { stale: (_caller: Caller) => false, ended: (_caller: Caller) => false, retired: false }
  const clock = { now: Date.now() }
  t.intercept(Date, 'now', { value: () => clock.now })
  const issuer = { keySet: { holds: () => !state.retired } } as unknown as Issuer
  const read = (token: string) => {
    if (!token.startsWith('{')) throw new Problem(401, 'TOKEN_INVALID', 'The access token is not valid')
    const { caller, sid, life } = JSON.parse(token)
    if (life < 0) throw new Problem(401, 'TOKEN_EXPIRED', 'The access token has expired')
    const expiresAt = clock.now / 1000 + life
    return { token, identity: { caller, sessionId: sid }, issuer, expiresAt } as Caller
  }
  const lines: string[] = []
  const apiKeys = openApiKeys(
    { url, secret: 'hush' },
    {
      verifier: { read } as Partial<Verifier> as Verifier,
      revocations: {
        isStale: (caller: Caller) => state.stale(caller),
        hasEnded: (caller: Caller) => state.ended(caller),
      } as Partial<Revocations> as Revocations,
      logger: createLogger('test', 'info', { write: (line) => lines.push(line) }),
    },
    timeout,
  )
  /** The token of the caller, or the code of the refusal. */
  async function outcome(key: string): Promise<string> {
    try {
      return (await apiKeys.find(key)).token
    } catch (error) {
      return (error as Problem).code
    }
  }
  return Object.assign(state, {
    apiKeys,
    outcome,
    lines,
    pass(seconds: number) {
      clock.now += seconds * 1000
    },
  })
}

const newKey = () => makeApiKey(randomUUID())

async function eventually(what: string, check: () => boolean | Promise<boolean>): Promise<void> {
  for (let tries = 0; !(await check()); tries++) {
    if (tries > 2_000) throw new Error(`not in time: ${what}`)
    await new Promise((resolve) => setTimeout(resolve, 5))
  }
}

t.test('an API key is taken to the auth service once, with the secret', async (t) => {
  const auth = await serveAuth(t)
  const { apiKeys, outcome } = open(t, auth.url)
  const [key, other] = [newKey(), newKey()]
  const token = await outcome(key)
  t.equal(JSON.parse(token).sid, apiKeyId(key))
  for (let count = 0; count < 10; count++) t.equal(await outcome(key), token)
  t.not(await outcome(other), token)
  t.match(auth.calls, [
    { key, authorization: 'Bearer hush' },
    { key: other, authorization: 'Bearer hush' },
  ])
  t.match(apiKeys.cache, { size: 2, outcomes: { hit: 10, issued: 2, refused: 0, unavailable: 0, queue_full: 0 } })
  t.notOk(apiKeys.find(key) instanceof Promise, 'and nobody waits for one that is known')
})

t.test('a hundred who come with an API key at once share one call', async (t) => {
  const auth = await serveAuth(t)
  const { outcome } = open(t, auth.url)
  const key = newKey()
  const tokens = await Promise.all(Array.from({ length: 100 }, () => outcome(key)))
  t.equal(new Set(tokens).size, 1)
  t.equal(auth.calls.length, 1)
})

t.test('without an address no API key is taken', async (t) => {
  t.equal(await open(t, undefined).outcome(newKey()), 'TOKEN_INVALID')
})

t.test('keys of a wrong form or checksum cost no call and no memory, however many come', async (t) => {
  const auth = await serveAuth(t)
  const { apiKeys, outcome } = open(t, auth.url)
  const good = newKey()
  for (const key of [
    'sp_',
    `${good}0`,
    good.slice(0, -1),
    `sp_${'0'.repeat(32)}_${'A'.repeat(49)}`,
    `sp_${'x'.repeat(16_000)}`,
  ])
    t.equal(await outcome(key), 'TOKEN_INVALID', key.slice(0, 90))
  const wrong = good.slice(0, 70)
  const tryAll = (count: number) => {
    let refused = 0
    for (let number = 0; number < count; number++)
      try {
        apiKeys.find(wrong + String(number).padStart(15, '0'))
      } catch {
        refused += 1
      }
    return refused
  }
  tryAll(10_000)
  global.gc?.()
  const before = process.memoryUsage().heapUsed
  t.equal(tryAll(200_000), 200_000)
  global.gc?.()
  // To remember them takes more than 500 bytes each. Without --expose-gc what is garbage still counts.
  t.ok(process.memoryUsage().heapUsed - before < 64 * 1024 * 1024)
  t.equal(auth.calls.length, 0)
  t.equal(apiKeys.cache.size, 0)
})

t.test('a key that is refused is asked for again after ten seconds, and no sooner', async (t) => {
  const auth = await serveAuth(t)
  const clock = { now: performance.now() }
  t.intercept(performance, 'now', { value: () => clock.now })
  const { apiKeys, outcome } = open(t, auth.url)
  auth.respond = ({ answer }) => answer(401, { code: 'API_KEY_INVALID' })
  const key = newKey()
  for (let count = 0; count < 5; count++) t.equal(await outcome(key), 'TOKEN_INVALID')
  clock.now += 9_000
  t.equal(await outcome(key), 'TOKEN_INVALID')
  t.equal(auth.calls.length, 1)
  clock.now += 1_100
  await eventually('it is asked for again', async () => {
    t.equal(await outcome(key), 'TOKEN_INVALID')
    return auth.calls.length === 2
  })
  t.match(apiKeys.cache, { size: 0, outcomes: { refused: 2 } })
})

t.test('whatever else the auth service answers, it counts as away', async (t) => {
  const auth = await serveAuth(t)
  const { outcome, apiKeys } = open(t, auth.url)
  const key = newKey()
  const answers: Record<string, Parameters<Call['answer']>> = {
    'a wrong secret': [401, { code: 'GATEWAY_ONLY' }],
    'an outage': [503, { code: 'UNAVAILABLE' }],
    'a refusal that is none': [403, { code: 'API_KEY_INVALID' }],
    'not found': [404, 'nothing'],
    'a redirect': [307, '', { location: auth.url }],
    'a redirect elsewhere': [302, '', { location: 'http://127.0.0.1:1/' }],
    'no content': [204, ''],
    'no JSON': [200, '<html>'],
    null: [200, 'null'],
    'a list': [200, []],
    'no token': [200, {}],
    'a token that is none': [200, { accessToken: 7 }],
    'a token that is not valid': [200, { accessToken: 'nonsense' }],
    'a token of a person': [200, tokenFor(key, { caller: 'user' })],
    'a token of another credential': [200, tokenFor(newKey())],
    'a token that has expired': [200, tokenFor(key, { life: -1 })],
    'more than 64 KiB': [200, { padding: 'x'.repeat(65_536), ...tokenFor(key) }],
  }
  for (const [what, answer] of Object.entries(answers)) {
    auth.respond = (call) => call.answer(...answer)
    const calls = auth.calls.length
    t.equal(await outcome(key), 'UNAVAILABLE', what)
    t.equal(auth.calls.length, calls + 1, what)
  }
  auth.respond = undefined
  t.ok(JSON.parse(await outcome(key)), 'and is asked again with the next request')
  t.match(apiKeys.cache.outcomes, { refused: 0 })
  t.equal(await open(t, 'http://127.0.0.1:1/').outcome(key), 'UNAVAILABLE')
})

t.test('an answer that does not come in three seconds counts as none', async (t) => {
  const auth = await serveAuth(t)
  const { outcome } = open(t, auth.url)
  auth.respond = () => {}
  const began = performance.now()
  t.equal(await outcome(newKey()), 'UNAVAILABLE')
  t.ok(performance.now() - began > 2_900)
})

t.test('a token is refreshed before it ends, while the old one goes on', async (t) => {
  const auth = await serveAuth(t)
  const { outcome, pass } = open(t, auth.url)
  const key = newKey()
  const token = await outcome(key)
  pass(700)
  t.equal(await outcome(key), token)
  t.equal(auth.calls.length, 1)
  // The last fifth.
  pass(21)
  for (let count = 0; count < 10; count++) t.equal(await outcome(key), token, 'nobody waits')
  await eventually('there is a new one', async () => (await outcome(key)) !== token)
  t.equal(auth.calls.length, 2)
})

t.test(
  'a token that lives for minutes is refreshed in its last minute, and a short one once it is half over',
  async (t) => {
    for (const [life, early] of [
      [150, 89],
      [40, 19],
    ] as const) {
      const auth = await serveAuth(t)
      auth.life = life
      const { outcome, pass } = open(t, auth.url)
      const key = newKey()
      const token = await outcome(key)
      pass(early)
      t.equal(await outcome(key), token)
      t.equal(auth.calls.length, 1)
      pass(2)
      t.equal(await outcome(key), token)
      await eventually('it is refreshed', () => auth.calls.length === 2)
    }
  },
)

t.test('while the auth service is away known keys go on until their tokens end', async (t) => {
  const auth = await serveAuth(t)
  const { outcome, lines, pass } = open(t, auth.url)
  const key = newKey()
  const token = await outcome(key)
  auth.respond = ({ answer }) => answer(503, {})
  pass(800)
  t.equal(await outcome(key), token)
  await eventually('it was tried', () => lines.length === 1)
  t.match(lines[0], /"level":"warn".*"api_keys_unavailable".*answered 503/)
  for (let count = 0; count < 10; count++) t.equal(await outcome(key), token)
  t.equal(auth.calls.length, 2, 'and not at each request')
  pass(2)
  t.equal(await outcome(key), token)
  await eventually('it is tried again', () => auth.calls.length === 3)
  t.equal(await outcome(newKey()), 'UNAVAILABLE')
  pass(100)
  t.equal(await outcome(key), 'UNAVAILABLE')
  auth.respond = undefined
  t.not(await outcome(key), token)
  t.equal(lines.length, 1, 'the log says it once')
})

t.test('a key that was refused in the background is refused from then on', async (t) => {
  const auth = await serveAuth(t)
  const { outcome, lines, pass } = open(t, auth.url)
  const key = newKey()
  const token = await outcome(key)
  auth.respond = ({ answer }) => answer(401, { code: 'API_KEY_INVALID' })
  pass(800)
  t.equal(await outcome(key), token)
  await eventually('it is refused', async () => (await outcome(key)) === 'TOKEN_INVALID')
  t.strictSame(lines, [])
})

t.test('a revoked key keeps its caller, of whom the gateway knows that it has ended', async (t) => {
  const auth = await serveAuth(t)
  const keys = open(t, auth.url)
  const key = newKey()
  const token = await keys.outcome(key)
  keys.ended = () => true
  keys.pass(800)
  t.equal(await keys.outcome(key), token)
  t.equal(auth.calls.length, 1, 'there is no token to ask for')
})

t.test('whoever has an API key never hears of its token', async (t) => {
  const auth = await serveAuth(t)

  await t.test('that it is stale', async (t) => {
    const keys = open(t, auth.url)
    const key = newKey()
    const token = await keys.outcome(key)
    keys.stale = (caller) => caller.token === token
    const next = await keys.outcome(key)
    t.not(next, token)
    t.equal(await keys.outcome(key), next)
  })

  await t.test('that it was of before a change when it came', async (t) => {
    const keys = open(t, auth.url)
    const stale: string[] = []
    keys.stale = ({ token }) => stale.length === 0 && stale.push(token) > 0
    const calls = auth.calls.length
    t.notOk(stale.includes(await keys.outcome(newKey())))
    t.equal(auth.calls.length, calls + 2)
    keys.stale = () => true
    t.equal(await keys.outcome(newKey()), 'UNAVAILABLE', 'which is not tried for ever')
  })

  await t.test('that it has expired, or its key was retired', async (t) => {
    const keys = open(t, auth.url)
    const key = newKey()
    const token = await keys.outcome(key)
    keys.pass(901)
    const next = await keys.outcome(key)
    t.not(next, token)
    keys.retired = true
    t.not(await keys.outcome(key), next)
  })
})

t.test('32 keys are looked up at once, the others wait their turn', async (t) => {
  const auth = await serveAuth(t)
  const { outcome, apiKeys } = open(t, auth.url, 600_000)
  auth.respond = () => {}
  const under = Array.from({ length: 32 + 1_000 }, () => outcome(newKey()))
  t.equal(await outcome(newKey()), 'UNAVAILABLE', 'one too many')
  t.match(apiKeys.cache.outcomes, { queue_full: 1 })
  await eventually('as many as may are asked for', () => auth.calls.length === 32)
  auth.respond = ({ answer, key }) => answer(200, tokenFor(key))
  for (const { answer, key } of auth.calls.splice(0)) answer(200, tokenFor(key))
  t.notOk((await Promise.all(under)).includes('UNAVAILABLE'))
  t.ok(JSON.parse(await outcome(newKey())))
})
