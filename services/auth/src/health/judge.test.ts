import { randomUUID } from 'node:crypto'
import t from 'tap'
import {
  judgeDatabase,
  judgeKeys,
  judgeMail,
  judgeQueue,
  judgeReplica,
  judgeRevocations,
  type ReplicaRow,
  worstOf,
} from './judge.ts'

function replica(
  kind: 'auth' | 'gateway',
  changes: Partial<ReplicaRow> = {},
  state: Partial<ReplicaRow['state']> = {},
) {
  const known =
    kind === 'auth'
      ? { signingKeys: ['k1', 'k2'], activeKey: 'k1', listening: true }
      : { streamAge: 0.5, keys: ['k1', 'k2'], routesDigest: 'aa' }
  const [startedAt, seenAt] = ['2026-12-01T00:00:00Z', '2026-12-01T02:00:00Z'].map((time) => new Date(time)) as [
    Date,
    Date,
  ]
  const row: ReplicaRow = {
    ...{ id: randomUUID(), kind, version: '1.0.0', startedAt, seenAt, age: 4, ...changes },
    state: { clockSkewMs: 0, ...known, ...state },
  }
  return row
}
const later = new Date('2026-12-01T01:00:00Z')
const well = { judgement: 'ok', advice: null }

t.test('the first of the worst is that of the whole', async (t) => {
  t.strictSame(worstOf([]), well)
  const [one, two, three] = (['warning', 'failure', 'failure'] as const).map((judgement, at) => ({
    judgement,
    advice: String(at),
  }))
  t.equal(worstOf([one, two, three].flatMap((each) => each ?? [])), two)
})

t.test('a process that has said nothing yet has no keys to tell of', async (t) => {
  const silent = { ...replica('auth'), state: { clockSkewMs: 0 } }
  t.match(judgeKeys(['k1'], [silent, replica('gateway', {}, { keys: ['k1'] })]), { gatewaysWithout: [] })
})

t.test('a process that says what the others say is well', async (t) => {
  const all = [replica('auth'), replica('auth', { startedAt: later }), replica('gateway'), replica('gateway')]
  for (const each of all) t.strictSame(judgeReplica(each, all), well)
})

t.test('one that has gone is worth a warning for an hour, and a failure if it was the last', async (t) => {
  const gone = replica('gateway', { age: 31 })
  t.match(judgeReplica(gone, [gone, replica('gateway')]), { judgement: 'warning', advice: /goodbye.*REPLICAS_URL/ })
  t.match(judgeReplica(gone, [gone, replica('auth')]), { judgement: 'failure', advice: /No process of gateway/ })
  const longGone = replica('auth', { age: 3_601 })
  t.strictSame(judgeReplica(longGone, [longGone, replica('auth')]), well)
  t.match(judgeReplica(longGone, [longGone]), { judgement: 'failure' })
  const auth = replica('auth', { age: 60 })
  t.match(judgeReplica(auth, [auth, replica('auth')]), { advice: /reaches the database/ })
  const barely = replica('gateway', { age: 30 })
  t.strictSame(judgeReplica(barely, [barely]), well, 'thirty seconds are the time for two reports')
})

t.test(
  'a clock that is off, another version, another route file, and no word from the database are said',
  async (t) => {
    const newest = replica('gateway', { startedAt: later })
    const judge = (changes: Partial<ReplicaRow>, state: Partial<ReplicaRow['state']>) => {
      const each = replica('gateway', changes, state)
      return judgeReplica(each, [each, newest])
    }
    t.match(judge({}, { clockSkewMs: 3_200 }), { judgement: 'warning', advice: /3\.2 s ahead of/ })
    t.match(judge({}, { clockSkewMs: -6_000 }), { judgement: 'failure', advice: /6\.0 s behind/ })
    t.match(judge({ version: '0.9.0' }, {}), { judgement: 'warning', advice: /runs 1\.0\.0/ })
    t.match(judge({}, { routesDigest: 'bb' }), { judgement: 'warning', advice: /route file/ })
    const deaf = replica('auth', {}, { listening: false })
    t.match(judgeReplica(deaf, [deaf]), { judgement: 'failure', advice: /LISTEN/ })
  },
)

t.test('a process is not judged by what it says before it has connected to others', async (t) => {
  const changes = { seenAt: new Date('2026-12-01T00:00:04.999Z') }
  const deaf = replica('auth', changes, { listening: false })
  t.strictSame(judgeReplica(deaf, [deaf]), well)
  t.strictSame(judgeKeys(['k1'], [replica('gateway', changes, { keys: [] })]).gatewaysWithout, [])
})

t.test('the view of ended sessions is judged by the gateway whose is oldest', async (t) => {
  const fresh = replica('gateway')
  t.strictSame(judgeRevocations([replica('auth'), fresh]), {
    ...well,
    gateways: 1,
    withoutStream: 0,
    oldestSeconds: 0.5,
  })
  const old = replica('gateway', {}, { streamAge: 16 })
  t.match(judgeRevocations([fresh, old]), { judgement: 'failure', gateways: 2, oldestSeconds: 16 })
  const without = replica('gateway', {}, { streamAge: null })
  t.match(judgeRevocations([fresh, without]), { judgement: 'warning', withoutStream: 1, advice: /REVOCATIONS_URL/ })
  const gone = replica('gateway', { age: 99 }, { streamAge: 99 })
  t.match(judgeRevocations([gone]), { judgement: 'warning', gateways: 0, oldestSeconds: null, advice: /REPLICAS_URL/ })
})

t.test(
  'a gateway without a key that signs refuses tokens; without one that does not yet, it need only wait',
  async (t) => {
    const own = ['k1', 'k2']
    t.strictSame(judgeKeys(own, [replica('auth'), replica('gateway')]), {
      ...well,
      active: 'k1',
      published: own,
      gatewaysWithout: [],
    })
    const without = (keys: string[], changes = {}) => replica('gateway', changes, { keys })
    const lacking = without(['k2'])
    t.match(judgeKeys(own, [lacking]), { judgement: 'failure', gatewaysWithout: [{ id: lacking.id, missing: ['k1'] }] })
    t.match(judgeKeys(own, [without(['k1'])]), { judgement: 'warning', advice: /wait before you switch/ })
    t.match(judgeKeys(own, [without([], { age: 31 })]), { judgement: 'ok' }, 'one that has gone needs none')
    const other = replica('auth', {}, { activeKey: 'k3', signingKeys: ['k3', 'k1'] })
    t.match(judgeKeys(own, [other, without(['k1', 'k2', 'k3'])]), {
      judgement: 'warning',
      published: ['k1', 'k2', 'k3'],
      advice: /sign with different keys/,
    })
    t.match(
      judgeKeys(own, [other, replica('gateway')]),
      { judgement: 'failure' },
      'also one that another process signs with',
    )
  },
)

t.test('what waits for long or was given up lately is worth a warning', async (t) => {
  const empty = { waiting: 0, failing: 0, dead: 0, deadLately: 0, oldestSeconds: 0 }
  t.strictSame(judgeQueue({ ...empty, dead: 7, oldestSeconds: 900 }, true), well)
  t.match(judgeQueue({ ...empty, oldestSeconds: 901 }, true), { judgement: 'warning', advice: /MailDelayed/ })
  t.match(judgeQueue({ ...empty, oldestSeconds: 901 }, false), { judgement: 'warning', advice: /SMTP_URL/ })
  t.match(judgeQueue({ ...empty, deadLately: 2 }, true), { judgement: 'warning', advice: /^2 given up/ })
})

t.test('mail is well unless the last one failed', async (t) => {
  const [one, two] = ['2026-12-01T00:00:00.000Z', '2026-12-01T00:00:01.000Z'] as const
  const lastFailure = { at: one, reason: 'unreachable', code: 'ECONNECTION' }
  t.strictSame(judgeMail({ configured: false, lastSentAt: null, lastFailure: null }), well)
  t.strictSame(judgeMail({ configured: true, lastSentAt: null, lastFailure: null }), well)
  t.strictSame(judgeMail({ configured: true, lastSentAt: two, lastFailure }), well)
  t.match(judgeMail({ configured: true, lastSentAt: one, lastFailure: { ...lastFailure, at: two } }), {
    judgement: 'warning',
    advice: /could not be reached/,
  })
  for (const [reason, advice] of [
    ['refused', /refused a mail for good/],
    ['failed', /mail_failed/],
  ] as const)
    t.match(judgeMail({ configured: true, lastSentAt: null, lastFailure: { ...lastFailure, reason } }), { advice })
})

t.test('a database is judged by its connections and its clock', async (t) => {
  const facts = { connections: 80, maxConnections: 100, clockSkewMs: 40 }
  t.strictSame(judgeDatabase(facts), well)
  t.match(judgeDatabase({ ...facts, connections: 81 }), { judgement: 'warning', advice: /81 of 100/ })
  t.match(judgeDatabase({ ...facts, connections: 96 }), { judgement: 'failure' })
  t.match(judgeDatabase({ ...facts, clockSkewMs: -5_100 }), { judgement: 'failure', advice: /NTP/ })
})
