import { once } from 'node:events'
import { createServer, type IncomingMessage, type ServerResponse } from 'node:http'
import type { AddressInfo } from 'node:net'
import t, { type Test } from 'tap'
import type { VerifiedToken } from './access-token.ts'
import { actorsOf, type Identity } from './identity.ts'
import { openRevocations } from './revocations.ts'

const doctor: Identity = {
  caller: 'user',
  userId: 'user-1',
  email: 'doctor@example.com',
  role: 'doctor',
  roles: ['doctor', 'patient'],
  sessionId: 'session-1',
}
/** A caller with a token of this identity, for the whole API. */
const callerOf = (identity: Partial<Identity>, audiences = ['https://api.test']) => {
  const own = { ...doctor, ...identity }
  const ids = actorsOf(own.act).flatMap(({ sid, grant }) => [sid, grant].filter((id) => id !== undefined))
  return { identity: own, audiences, belongsTo: [own.sessionId, 'token-1', ...ids] } as unknown as VerifiedToken
}
const quick = { retryAfter: 5, silence: 60_000, sweepEvery: 5 }
const inSeconds = (seconds: number) => Math.floor(Date.now() / 1000) + seconds

const event = (name: string, data: object) => `event: ${name}\ndata: ${JSON.stringify(data)}\n\n`
/** As an auth service of an earlier version says it, which has no proofs. */
const current = event('current', {})
const currentAt = (at: number) => event('current', { at })
const aliveAt = (at: number | string) => event('alive', { at })
const alive = ': alive\n\n'
const ended = (session: string, reason = 'logout', until = inSeconds(900)) =>
  event('revoked', { at: inSeconds(0), session, reason, until })
const changed = (user: string, roles: string[], until = inSeconds(900)) =>
  event('revoked', { at: inSeconds(0), user, roles, until })

/** An auth service that tells what the test wants. Every connection begins with the snapshot. */
async function serveStream(t: Test, snapshot = current) {
  const requests: IncomingMessage[] = []
  const state = {
    snapshot,
    fault: undefined as ((response: ServerResponse) => void) | undefined,
    stream: undefined as ServerResponse | undefined,
  }
  const server = createServer((request, response) => {
    requests.push(request)
    if (state.fault) return state.fault(response)
    state.stream = response.writeHead(200, { 'content-type': 'text/event-stream' })
    response.write(state.snapshot)
  }).listen(0, '127.0.0.1')
  await once(server, 'listening')
  t.teardown(() => {
    server.closeAllConnections()
    server.close()
  })
  const url = `http://127.0.0.1:${(server.address() as AddressInfo).port}/internal/revocations`
  return Object.assign(state, { url, requests, send: (text: string | Buffer) => state.stream?.write(text) })
}

function open(
  t: Test,
  url: string | undefined,
  settings: { secret?: undefined; failClosed?: boolean; maxAge?: number } = {},
  timing = quick,
) {
  const lines: string[] = []
  const onLost = (error: unknown) => lines.push((error as Error).message)
  const revocations = openRevocations(
    { url, secret: 'hush', failClosed: false, maxAge: 30, ...settings },
    onLost,
    timing,
  )
  t.teardown(() => revocations.close())
  /** `ok`, or the refusal. */
  const outcome = (identity: Partial<Identity> = {}, audiences?: string[]): string => {
    try {
      revocations.check(callerOf(identity, audiences))
      return 'ok'
    } catch (error) {
      return (error as { code: string }).code
    }
  }
  return Object.assign(revocations, { lines, outcome })
}

async function eventually(what: string, check: () => boolean): Promise<void> {
  const deadline = Date.now() + 10_000
  while (!check()) {
    if (Date.now() > deadline) throw new Error(`not in time: ${what}`)
    await new Promise((resolve) => setTimeout(resolve, 5))
  }
}

t.test('a session that ended is refused with the reason, and others are not', async (t) => {
  const server = await serveStream(t, ended('session-0', 'disabled') + current)
  const view = open(t, server.url)
  await eventually('the view is current', () => view.age() < 30)
  t.equal(view.outcome({ sessionId: 'session-0' }), 'SESSION_ENDED', 'by the snapshot')
  t.equal(view.outcome(), 'ok')
  server.send(ended('session-1', 'logout_all'))
  await eventually('it ends', () => view.outcome() === 'SESSION_ENDED')
  t.throws(() => view.check(callerOf({})), {
    name: 'Problem',
    statusCode: 401,
    headers: { 'www-authenticate': 'Bearer error="invalid_token"' },
    options: { members: { reason: 'logout_all' } },
  })
  t.equal(view.outcome({ sessionId: 'session-2' }), 'ok', 'another session of the same user')
})

t.test('tokens with roles that a user no longer has are stale, others are not', async (t) => {
  const server = await serveStream(t, changed('user-1', ['doctor', 'patient']) + current)
  const view = open(t, server.url)
  await eventually('the view is current', () => view.age() < 30)
  t.equal(view.outcome(), 'ok', 'the token says what is')
  server.send(changed('user-1', ['patient']))
  await eventually('the token is stale', () => view.outcome() === 'TOKEN_STALE')
  t.equal(view.outcome({ role: 'patient', roles: ['patient'] }), 'ok', 'a new token')
  t.equal(view.outcome({ userId: 'user-2' }), 'ok', 'another user')
  const foreign = { issuer: 'https://login.test' }
  t.equal(view.outcome(foreign), 'ok', 'a user of another issuer, with the same id')
  t.strictSame([callerOf({}), callerOf(foreign)].map(view.isStale), [true, false])
  t.throws(() => view.check(callerOf({})), {
    name: 'Problem',
    statusCode: 401,
    headers: { 'www-authenticate': 'Bearer error="invalid_token"' },
    options: { detail: 'Refresh and try again.' },
  })
})

t.test('a token ends with whatever it belongs to: itself, and what each of its actors has', async (t) => {
  const act = {
    sub: 'client:a',
    sid: 'key-a',
    grant: 'grant-a',
    act: { sub: 'client:b', sid: 'key-b', grant: 'grant-b' },
  }
  for (const id of ['session-1', 'token-1', 'key-a', 'grant-a', 'key-b', 'grant-b']) {
    const server = await serveStream(t)
    const view = open(t, server.url)
    await eventually('the view is current', () => view.age() < 30)
    t.equal(view.outcome({ act }), 'ok')
    t.notOk(view.hasEnded(callerOf({ act })))
    server.send(ended('another') + ended(id, 'revoked'))
    await eventually(`${id} ends it`, () => view.outcome({ act }) === 'SESSION_ENDED')
    t.ok(view.hasEnded(callerOf({ act })))
    t.equal(
      view.outcome({ sessionId: 'session-2', act: { sub: 'client:c' } }),
      id === 'token-1' ? 'SESSION_ENDED' : 'ok',
    )
  }
})

t.test('a token is stale once it says what its caller may no longer have', async (t) => {
  const server = await serveStream(
    t,
    event('revoked', {
      user: 'client:a',
      roles: ['nurse'],
      scopes: ['read', 'write'],
      audiences: ['x', 'y'],
      holds: 900,
    }) +
      event('revoked', { user: 'client:b', roles: [], holds: 900 }) +
      changed('user-1', ['doctor', 'patient', 'nurse']) +
      current,
  )
  const view = open(t, server.url)
  await eventually('the view is current', () => view.age() < 30)
  const cases: [expected: string, identity: Partial<Identity>, audiences?: string[]][] = [
    ['ok', { userId: 'client:a', roles: ['nurse'], scopes: ['read', 'write'] }, ['x', 'y']],
    ['ok', { userId: 'client:a', roles: ['nurse'], scopes: [] }, ['y']],
    ['TOKEN_STALE', { userId: 'client:a', roles: [], scopes: ['read'] }, ['x']],
    ['TOKEN_STALE', { userId: 'client:a', roles: ['nurse', 'admin'], scopes: ['read'] }, ['x']],
    ['TOKEN_STALE', { userId: 'client:a', roles: ['nurse'], scopes: ['read', 'admin'] }, ['x']],
    ['TOKEN_STALE', { userId: 'client:a', roles: ['nurse'], scopes: ['read'] }, ['x', 'z']],
    ['ok', { userId: 'client:b', roles: [], scopes: ['any'] }, ['any']],
    ['TOKEN_STALE', { userId: 'user-1', roles: ['doctor'] }],
    // What was taken over from the subject is some of its roles, for an audience of the registration.
    ['ok', { userId: 'user-1', roles: ['doctor'], scopes: ['any'], act: { sub: 'client:a' } }, ['z']],
    ['ok', { userId: 'user-1', roles: ['nurse', 'doctor'], scopes: [], act: { sub: 'client:a' } }],
    ['TOKEN_STALE', { userId: 'user-1', roles: ['doctor', 'admin'], scopes: [], act: { sub: 'client:a' } }],
    ['ok', { userId: 'client:a', roles: [], scopes: ['read'], act: { sub: 'client:b' } }, ['z']],
    ['TOKEN_STALE', { userId: 'client:a', roles: [], scopes: ['admin'], act: { sub: 'client:b' } }, ['z']],
  ]
  for (const [expected, identity, audiences] of cases) {
    t.equal(view.outcome(identity, audiences), expected, JSON.stringify(identity))
    t.equal(view.isStale(callerOf(identity, audiences)), expected === 'TOKEN_STALE')
  }
})

t.test('the gateway shows its secret, and asks without one if none is set', async (t) => {
  const server = await serveStream(t)
  open(t, server.url)
  await eventually('it asks', () => server.requests.length === 1)
  t.equal(server.requests[0]?.headers.authorization, 'Bearer hush')
  open(t, server.url, { secret: undefined })
  await eventually('it asks', () => server.requests.length === 2)
  t.equal(server.requests[1]?.headers.authorization, undefined)
})

t.test('events are understood however the stream is cut, within a character too', async (t) => {
  const server = await serveStream(t)
  const view = open(t, server.url)
  await eventually('the view is current', () => view.age() < 30)
  const bytes = Buffer.from(alive + ended('séssion-😀', 'logout') + alive + ended('session-1'))
  for (const byte of bytes) {
    server.send(Buffer.from([byte]))
    await new Promise((resolve) => setImmediate(resolve))
  }
  await eventually('the last has come', () => view.outcome() === 'SESSION_ENDED')
  t.equal(view.outcome({ sessionId: 'séssion-😀' }), 'SESSION_ENDED')
})

t.test('what has expired by itself is forgotten, what has not is kept', async (t) => {
  const past = inSeconds(-1)
  const soon = inSeconds(1)
  const server = await serveStream(
    t,
    ended('session-1', 'logout', past) + changed('user-1', [], past) + ended('session-2', 'logout', soon) + current,
  )
  const view = open(t, server.url)
  await eventually('the view is current', () => view.age() < 30)
  await eventually('both are forgotten', () => view.outcome() === 'ok' && view.held.users === 0)
  server.send(ended('session-3'))
  await eventually('time passes', () => view.outcome({ sessionId: 'session-2' }) === 'ok')
  await eventually('what still matters is kept', () => view.outcome({ sessionId: 'session-3' }) === 'SESSION_ENDED')
  t.strictSame(view.held, { sessions: 1, users: 0 })
})

t.test('a lost stream is opened again, and what was missed is in the snapshot', async (t) => {
  const server = await serveStream(t)
  const view = open(t, server.url)
  await eventually('the view is current', () => view.age() < 30)
  const ends: ((response: ServerResponse | undefined) => void)[] = [
    (response) => response?.end(),
    (response) => response?.destroy(),
    (response) => response?.write('event: revoked\ndata: nonsense\n\n'),
    (response) => response?.write('event: revoked\ndata: {"user":"user-1","until":1}\n\n'),
    (response) => response?.write('event: revoked\ndata: {"user":"user-1","roles":[],"scopes":"a","until":1}\n\n'),
    (response) => response?.write('event: revoked\ndata: {"user":"user-1","roles":[],"audiences":{},"until":1}\n\n'),
  ]
  for (const [n, end] of ends.entries()) {
    server.snapshot = ended(`missed-${n}`) + current
    end(server.stream)
    await eventually('it is heard of', () => view.outcome({ sessionId: `missed-${n}` }) === 'SESSION_ENDED')
  }
  t.equal(view.outcome({ sessionId: 'missed-0' }), 'SESSION_ENDED', 'what was known stays known')
  t.ok(view.lines.length > 0)
})

t.test('a response that is no stream is logged, and requested again', async (t) => {
  const server = await serveStream(t, ended('session-1') + current)
  for (const status of [401, 404, 503]) {
    server.fault = (response) => response.writeHead(status).end(ended('session-1'))
    const view = open(t, server.url)
    const before = server.requests.length
    await eventually('it asks more than once', () => server.requests.length > before + 2)
    t.match(view.lines, [new RegExp(`answered ${status}$`)])
    t.equal(view.lines.length, 1, 'once')
    t.equal(view.outcome(), 'ok', 'an error tells nothing')
    server.fault = undefined
    await eventually('the stream is there', () => view.outcome() === 'SESSION_ENDED')
  }
})

t.test('a response that ends and was no stream is a loss, one that was is opened again without a word', async (t) => {
  const server = await serveStream(t)
  server.fault = (response) => response.end('<html>')
  const view = open(t, server.url)
  await eventually('it asks again', () => server.requests.length > 2)
  t.match(view.lines, [/answered with no stream of revocations$/])
  server.fault = undefined
  for (let n = 0; n < 3; n++) {
    await eventually('the view is current', () => view.isCurrent)
    server.stream?.end()
    await eventually('it is lost', () => !view.isCurrent)
  }
  t.equal(view.lines.length, 1)
  await eventually('it is back', () => view.isCurrent)
  server.fault = (response) => response.end('<html>')
  server.stream?.end()
  await eventually('the next loss is told', () => view.lines.length === 2)
})

t.test('however long a stream is away, nothing is left of the tries', async (t) => {
  const server = await serveStream(t)
  server.fault = (response) => response.writeHead(503).end()
  const warnings: Error[] = []
  const onWarning = (warning: Error) => warnings.push(warning)
  process.on('warning', onWarning)
  t.teardown(() => process.off('warning', onWarning))
  open(t, server.url)
  await eventually('it asks often', () => server.requests.length > 20)
  t.strictSame(warnings, [])
})

t.test('a view that is closed between two tries makes no other', async (t) => {
  const server = await serveStream(t)
  server.fault = (response) => response.writeHead(503).end()
  const view = open(t, server.url, {}, { ...quick, retryAfter: 60_000 })
  await eventually('it waits', () => view.lines.length === 1)
  view.close()
  await new Promise((resolve) => setTimeout(resolve, 20))
  t.equal(server.requests.length, 1)
})

t.test('a view that is not current lets pass, or refuses where that is asked for', async (t) => {
  const server = await serveStream(t, ended('session-2'))
  const lenient = open(t, server.url)
  const strict = open(t, server.url, { failClosed: true })
  await eventually('the snapshot has begun', () => lenient.outcome({ sessionId: 'session-2' }) === 'SESSION_ENDED')
  t.equal(lenient.outcome(), 'ok')
  t.equal(lenient.age(), Number.POSITIVE_INFINITY)
  t.throws(() => strict.check(callerOf({})), { statusCode: 503, code: 'UNAVAILABLE', headers: { 'retry-after': '1' } })
})

t.test('a strict view is good while the stream lives, and refuses when it has been silent', async (t) => {
  const server = await serveStream(t)
  const view = open(t, server.url, { failClosed: true, maxAge: 0.25 })
  for (let n = 0; n < 2; n++) {
    await eventually('the view is current', () => view.outcome() === 'ok')
    await eventually('it is too old', () => view.outcome() === 'UNAVAILABLE')
    server.send(alive)
  }
})

t.test('a view is as old as its last proof, whatever else comes', async (t) => {
  const server = await serveStream(t, currentAt(1_000))
  const view = open(t, server.url, { failClosed: true, maxAge: 0.5 })
  await eventually('the view is current', () => view.outcome() === 'ok')
  server.send(alive + ended('session-2') + aliveAt(1_000))
  await eventually('this has come', () => view.outcome({ sessionId: 'session-2' }) !== 'ok')
  const chatter = setInterval(() => server.send(alive + aliveAt(1_000)), 20)
  t.teardown(() => clearInterval(chatter))
  await eventually('it is too old', () => view.outcome() === 'UNAVAILABLE')
  const age = view.age()
  await eventually('it grows', () => view.age() > age + 0.2)
  server.send(aliveAt(1_000 + age))
  await eventually('a proof makes it younger', () => view.age() < age)
})

t.test('a stream that proves nothing is given up, however much it says', async (t) => {
  const server = await serveStream(t, currentAt(1_000))
  const view = open(t, server.url, {}, { ...quick, silence: 300 })
  await eventually('the view is current', () => view.isCurrent)
  const chatter = setInterval(() => server.send(alive), 20)
  t.teardown(() => clearInterval(chatter))
  await eventually('it is given up', () => server.requests.length > 1)
  t.match(view.lines[0], /proves nothing$/)
})

t.test('a proof without a time is nonsense, and makes no view young', async (t) => {
  const server = await serveStream(t, currentAt(1_000))
  const view = open(t, server.url, { failClosed: true })
  await eventually('the view is current', () => view.outcome() === 'ok')
  server.send(aliveAt('now'))
  await eventually('the stream is given up', () => server.requests.length > 1)
  t.match(view.lines[0], /a proof without a time/)
  t.ok(view.age() >= 0, 'the age is a number')
})

t.test('how long an entry is kept is no question of clocks', async (t) => {
  const now = Date.now
  t.teardown(() => {
    Date.now = now
  })
  for (const minutes of [5, -5]) {
    const entry = (session: string, holds: number) => event('revoked', { session, reason: 'logout', holds, until: 1 })
    const server = await serveStream(t, entry('session-1', 900) + entry('session-2', 0.2) + currentAt(1_000))
    const view = open(t, server.url)
    await eventually('the view is current', () => view.isCurrent)
    Date.now = () => now() + minutes * 60_000
    await eventually('what is over is forgotten', () => view.outcome({ sessionId: 'session-2' }) === 'ok')
    t.equal(view.outcome(), 'SESSION_ENDED', 'what is not is kept')
    Date.now = now
  }
})

t.test('open connections hear of what concerns them, until they stop listening', async (t) => {
  const server = await serveStream(t)
  const view = open(t, server.url)
  const heard: object[] = []
  const stop = view.onRevoked((revoked) => heard.push(revoked))
  await eventually('the view is current', () => view.age() < 30)
  server.send(ended('session-1') + changed('user-1', ['patient']))
  await eventually('both are heard of', () => heard.length === 2)
  t.match(heard, [{ session: 'session-1' }, { user: 'user-1' }])
  stop()
  server.send(ended('session-2'))
  await eventually('the next is known', () => view.outcome({ sessionId: 'session-2' }) === 'SESSION_ENDED')
  t.equal(heard.length, 2)
})

t.test('without a stream tokens hold until they expire, however strict', async (t) => {
  const view = open(t, undefined, { failClosed: true, maxAge: 0 })
  t.equal(view.outcome(), 'ok')
  t.equal(view.age(), 0)
})

t.test('a view that was closed lets go of its stream, and is no fault', async (t) => {
  const server = await serveStream(t)
  const view = open(t, server.url)
  await eventually('the view is current', () => view.age() < 30)
  view.close()
  await eventually('the connection ends', () => server.requests[0]?.socket.destroyed === true)
  t.strictSame(view.lines, [])
})
