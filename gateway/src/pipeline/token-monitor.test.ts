import type { Revocations } from '@sallyport/verify'
import t from 'tap'
import type { Caller } from './access-token.ts'
import { createTokenMonitor, type InvalidReason } from './token-monitor.ts'

const held = new Set(['key-1', 'key-2'])
const issuer = { keySet: { holds: (id: string) => held.has(id) } }

const caller = (belongsTo: string[], userId = 'user-1', expiresAt = Date.now() / 1000 + 600) =>
  ({ belongsTo, identity: { userId }, expiresAt, issuer, keyId: 'key-1' }) as unknown as Caller

/** A monitor, and what its revocations say. */
function open() {
  const state = {
    isStale: false,
    hasEnded: false,
    say: (_revoked: { session: string } | { user: string }) => {},
    change: () => {},
  }
  const revocations: Partial<Revocations> = {
    isStale: () => state.isStale,
    hasEnded: () => state.hasEnded,
    onRevoked(listener) {
      state.say = listener
      return () => {}
    },
  }
  const issuers = {
    onChange(listener: () => void) {
      state.change = listener
    },
  }
  const monitor = createTokenMonitor(revocations as Revocations, issuers)
  return Object.assign(state, monitor)
}

t.test('what is open ends with any id that its token belongs to', async (t) => {
  const monitor = open()
  const ended: string[] = []
  const ids = ['session-1', 'token-1', 'key-a', 'grant-a']
  const stops = ids.map((id) => monitor.onInvalid(caller([id, `of ${id}`]), (reason) => ended.push(`${id} ${reason}`)))
  for (const id of ids) monitor.say({ session: id })
  t.strictSame(
    ended,
    ids.map((id) => `${id} session ended`),
  )
  for (const stop of stops) stop()
  monitor.say({ session: 'session-1' })
  t.equal(ended.length, ids.length, 'and is heard of no more')
})

t.test('what is open ends once its token is stale, and not by a change that it says already', async (t) => {
  const monitor = open()
  const ended: InvalidReason[] = []
  const stop = monitor.onInvalid(caller(['key-a'], 'client:a'), (reason) => ended.push(reason))
  monitor.say({ user: 'client:a' })
  monitor.isStale = true
  monitor.say({ user: 'client:b' })
  t.strictSame(ended, [])
  monitor.say({ user: 'client:a' })
  t.strictSame(ended, ['roles changed'])
  stop()
})

t.test('what is open ends when its token expires', async (t) => {
  const reason = await new Promise((resolve) => open().onInvalid(caller([], 'user-1', Date.now() / 1000), resolve))
  t.equal(reason, 'token expired')
})

t.test('what is open ends with the key of its token, and by no other key', async (t) => {
  const monitor = open()
  const ended: string[] = []
  const of = (keyId: string) => ({ ...caller([]), keyId }) as Caller
  const stops = ['key-1', 'key-2'].map((id) => monitor.onInvalid(of(id), (reason) => ended.push(`${id} ${reason}`)))
  monitor.change()
  t.strictSame(ended, [])
  held.delete('key-2')
  monitor.change()
  t.strictSame(ended, ['key-2 key withdrawn'])
  for (const stop of stops) stop()
})

t.test('what happened to a token while something took long to open ends that at once', async (t) => {
  const ended = (change: (monitor: ReturnType<typeof open>) => object) => {
    const monitor = open()
    const of = { ...caller(['session-1']), ...change(monitor) } as Caller
    return new Promise((resolve) => monitor.onInvalid(of, resolve))
  }
  t.equal(await ended((monitor) => Object.assign(monitor, { hasEnded: true }) && {}), 'session ended')
  t.equal(await ended((monitor) => Object.assign(monitor, { isStale: true }) && {}), 'roles changed')
  t.equal(await ended(() => ({ keyId: 'withdrawn' })), 'key withdrawn')
})
