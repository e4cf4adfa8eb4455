import fc from 'fast-check'
import t from 'tap'
import { ServiceClientError } from './service-client-error.ts'
import { createTokenSource, type IssuedToken } from './token-source.ts'

/** A clock that goes where it is told, and an endpoint that answers when it is told. */
function watch(renews = true) {
  const seen = { now: 0, requests: 0, open: 0, mostOpen: 0 }
  const endsAt = new Map<string, number>()
  const waiting: { resolve: (issued: IssuedToken) => void; reject: (error: unknown) => void; askedAt: number }[] = []
  const source = createTokenSource(
    () => {
      seen.requests++
      seen.mostOpen = Math.max(seen.mostOpen, ++seen.open)
      return new Promise((resolve, reject) => waiting.push({ resolve, reject, askedAt: seen.now }))
    },
    { renews, now: () => seen.now },
  )
  const settle = async (outcome: (request: (typeof waiting)[number]) => void) => {
    const request = waiting.shift()
    if (request) {
      seen.open--
      outcome(request)
    }
    await new Promise((resolve) => setImmediate(resolve))
  }
  const issue = (expiresIn: number) =>
    settle(({ resolve, askedAt }) => {
      const accessToken = `token-${endsAt.size}`
      endsAt.set(accessToken, askedAt + expiresIn * 1000)
      resolve({ accessToken, expiresIn })
    })
  const refuse = (code = 'invalid_scope') => settle(({ reject }) => reject(new ServiceClientError(code, code)))
  return { seen, source, issue, refuse, endsAt }
}

t.test('many who ask at the same time share one request', async (t) => {
  const { seen, source, issue } = watch()
  const all = Array.from({ length: 100 }, () => source.get())
  await issue(60)
  t.strictSame(new Set(await Promise.all(all)), new Set(['token-0']))
  t.equal(seen.requests, 1)
})

t.test('a token is renewed in its last fifth, and in the last minute of a long one', async (t) => {
  for (const [lifetime, ahead] of [
    [1, 0.2],
    [60, 12],
    [300, 60],
    [3600, 60],
  ] as const) {
    const { seen, source, issue } = watch()
    const first = source.get()
    await issue(lifetime)
    t.equal(await first, 'token-0')
    seen.now = (lifetime - ahead) * 1000 - 1
    t.equal(await source.get(), 'token-0')
    t.equal(seen.requests, 1, `${lifetime} s: not yet`)
    seen.now += 1
    t.equal(await source.get(), 'token-0', 'nobody waits for it')
    t.equal(await source.get(), 'token-0')
    t.equal(seen.requests, 2, `${lifetime} s: once`)
    await issue(lifetime)
    t.equal(await source.get(), 'token-1')
  }
})

t.test('the old one is good until its end while none can be had, and then nothing is', async (t) => {
  const { seen, source, issue, refuse } = watch()
  const first = source.get()
  await issue(300)
  await first
  for (seen.now = 240_000; seen.now < 300_000; seen.now += 1_000) {
    t.equal(await source.get(), 'token-0')
    await refuse()
  }
  t.ok(seen.requests < 20, `${seen.requests} requests in a minute`)
  const late = t.rejects(source.get(), { code: 'invalid_scope' })
  await refuse()
  await late
})

t.test('one that cannot be renewed is kept until its end alone', async (t) => {
  const { seen, source, issue } = watch(false)
  const first = source.get()
  await issue(60)
  await first
  seen.now = 59_999
  t.equal(await source.get(), 'token-0')
  t.equal(seen.requests, 1)
  seen.now = 60_000
  const second = source.get()
  await issue(60)
  t.equal(await second, 'token-1')
})

t.test('a token that ends on its way is given to nobody', async (t) => {
  const { seen, source, issue } = watch()
  const late = t.rejects(source.get(), { code: 'unreachable', message: 'the token had ended before it came' })
  seen.now = 1_000
  await issue(1)
  await late
})

t.test('a signal ends the wait of one, and the request goes on for the others', async (t) => {
  const { seen, source, issue } = watch()
  const hurry = new AbortController()
  const aborted = t.rejects(source.get(hurry.signal), { message: 'no time' })
  const waits = source.get(new AbortController().signal)
  hurry.abort(new Error('no time'))
  await aborted
  await t.rejects(source.get(hurry.signal), { message: 'no time' })
  await issue(60)
  t.equal(await waits, 'token-0')
  t.equal(seen.requests, 1)
})

t.test('one that was refused is given up once, and not again at once', async (t) => {
  const { seen, source, issue } = watch()
  const first = source.get()
  await issue(60)
  await first
  t.equal(source.drop('token-0'), true)
  t.equal(source.drop('token-0'), true, 'another had it refused too')
  const second = source.get()
  await issue(60)
  t.equal(await second, 'token-1')
  t.equal(source.drop('token-0'), true, 'it was replaced already')
  t.equal(source.drop('token-1'), false, 'it is not the token')
  t.equal(await source.get(), 'token-1')
  seen.now += 1_000
  t.equal(source.drop('token-1'), true)
})

t.test('whatever happens when, nobody has a token that has ended, and no two are requested at once', async () => {
  const step = fc.oneof(
    { weight: 4, arbitrary: fc.constant({ kind: 'get' as const }) },
    fc.record({ kind: fc.constant('wait' as const), ms: fc.oneof(fc.nat(500), fc.nat(100_000), fc.nat(4_000_000)) }),
    {
      weight: 2,
      arbitrary: fc.record({
        kind: fc.constant('issue' as const),
        lifetime: fc.oneof(
          fc.constant(1),
          fc.integer({ min: 1, max: 3600 }),
          fc.double({ min: 0.001, max: 5, noNaN: true }),
        ),
      }),
    },
    fc.record({ kind: fc.constant('refuse' as const), code: fc.constantFrom('unreachable', 'invalid_scope') }),
    fc.constant({ kind: 'drop' as const }),
  )
  await fc.assert(
    fc.asyncProperty(fc.boolean(), fc.array(step, { maxLength: 60 }), async (renews, steps) => {
      const { seen, source, issue, refuse, endsAt } = watch(renews)
      const faults: string[] = []
      let last = ''
      const get = () =>
        source.get().then(
          (token) => {
            last = token
            if ((endsAt.get(token) as number) <= seen.now) faults.push(`${token} had ended`)
          },
          (error) => {
            if (!(error instanceof ServiceClientError)) faults.push(String(error))
          },
        )
      const all: Promise<void>[] = []
      for (const step of steps) {
        if (step.kind === 'get') all.push(get())
        else if (step.kind === 'wait') seen.now += step.ms
        else if (step.kind === 'issue') await issue(step.lifetime)
        else if (step.kind === 'refuse') await refuse(step.code)
        else source.drop(last)
        if (step.kind === 'get') await new Promise((resolve) => setImmediate(resolve))
      }
      while (seen.open > 0) await refuse()
      await Promise.all(all)
      if (seen.mostOpen > 1) faults.push(`${seen.mostOpen} requests at once`)
      if (faults.length > 0) throw new Error(faults.join(', '))
    }),
    { numRuns: 500 },
  )
})
