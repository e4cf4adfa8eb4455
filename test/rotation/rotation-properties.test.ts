import fc from 'fast-check'
import t, { type Test } from 'tap'
import { startDatabase } from '../support/system.ts'
import { historiesOf, type Network, play, type Report, type Step } from './rotation-model.ts'
import { databaseServer, memoryServer } from './rotation-servers.ts'

const runs = Number(process.env.ROTATION_RUNS ?? 20_000)
const databaseRuns = Number(process.env.ROTATION_DATABASE_RUNS ?? 400)
const start = 1_800_000_000
const histories = historiesOf(80)

const inMemory = (history: Step[], network?: Network) => play(memoryServer(start), history, start, network)

/** Adds up the reports of a property, for the line that its test prints. */
class Tally {
  interleavings = 0
  refreshes = 0
  thieves = 0
  lost = 0
  undetected = 0
  ended = 0
  issuedAfterEnd = 0
  retries = 0
  different = 0

  add(report: Report): void {
    this.interleavings += 1
    this.refreshes += report.refreshes
    this.thieves += Number(report.stolen)
    this.lost += Number(report.lost)
    this.undetected += Number(report.undetected)
    this.ended += Number(report.endedAndTried)
    this.issuedAfterEnd += report.issuedAfterEnd
    this.retries += report.retries
    this.different += report.different
  }

  toString(): string {
    return [
      `${this.interleavings} interleavings`,
      `${this.refreshes} refreshes`,
      `${this.thieves} thieves`,
      `${this.lost} lost`,
      `${this.undetected} undetected`,
      `${this.ended} ended and presented again`,
      `${this.issuedAfterEnd} tokens after the end`,
      `${this.retries} retries`,
      `${this.different} of them different`,
    ].join(', ')
  }
}

const keepsItsPromises = ({ lost, undetected, issuedAfterEnd, different }: Report) =>
  !lost && !undetected && issuedAfterEnd === 0 && different === 0

/** Plays a share of the runs. Every history is held to every promise; the name of a test says what its kind is for. */
async function check(t: Test, history: fc.Arbitrary<Step[]>, share: number): Promise<Tally> {
  const tally = new Tally()
  const property = fc.asyncProperty(history, async (steps) => {
    const report = await inMemory(steps)
    tally.add(report)
    return keepsItsPromises(report)
  })
  await fc.assert(property, { numRuns: Math.ceil(runs * share) })
  t.comment(`${tally}`)
  return tally
}

t.test('an honest history never ends a session', async (t) => {
  const tally = await check(t, histories.honest, 0.4)
  t.equal(tally.lost, 0)
})

t.test('every thief is noticed by the time thief and victim have both come back', async (t) => {
  const tally = await check(t, histories.theft, 0.3)
  t.ok(tally.thieves > tally.interleavings / 10)
  t.equal(tally.undetected, 0)
})

t.test('the same generation and attempt give the identical successor', async (t) => {
  const tally = await check(t, histories.tabs, 0.1)
  t.ok(tally.retries > tally.interleavings / 10)
  t.equal(tally.different, 0)
})

t.test('no token is issued after a revocation, and revoked is final', async (t) => {
  const tally = await check(t, histories.ended, 0.2)
  t.ok(tally.ended > tally.interleavings / 10)
  t.equal(tally.issuedAfterEnd, 0)
})

t.test('Postgres keeps all of these promises, and responds as the rule does', async (t) => {
  const database = await startDatabase(t)
  const tally = new Tally()
  // The sessions of a batch run at the same time.
  const batch = 8
  const { honest, theft, ended } = historiesOf(40)
  const any = fc.oneof(honest, theft, ended)
  const property = fc.asyncProperty(fc.array(any, { minLength: batch, maxLength: batch }), async (sessions) => {
    const playBoth = async (history: Step[]) => {
      // The database opens a session at its own now, and nothing in the history may lie before that.
      const now = Math.ceil(Date.now() / 1000) + 1
      const report = await play(await databaseServer(database), history, now)
      tally.add(report)
      const byTheRule = await play(memoryServer(now), history, now)
      return keepsItsPromises(report) && report.trace.join() === byTheRule.trace.join()
    }
    return (await Promise.all(sessions.map(playBoth))).every(Boolean)
  })
  await fc.assert(property, { numRuns: Math.ceil(databaseRuns / batch) })
  t.comment(`${tally}`)
  t.ok(tally.interleavings >= databaseRuns)
  t.strictSame([tally.lost, tally.undetected, tally.issuedAfterEnd, tally.different], [0, 0, 0, 0])
})

t.test('what the rule cannot tell from a theft, as fast-check found it', async (t) => {
  const lateRequest: Step[] = [
    'tab 1 refreshes',
    'tab 2 refreshes',
    'the request arrives',
    'the response arrives',
    'tab 1 refreshes',
    'the newest request arrives',
    'the request arrives',
  ]
  t.equal((await inMemory(lateRequest)).lost, false)
  t.equal((await inMemory(lateRequest, { lateRequests: true })).lost, true, 'a request two generations late')
  const lateResponse: Step[] = [
    'tab 1 refreshes',
    'tab 2 refreshes',
    'the request arrives',
    'the response arrives',
    'tab 1 refreshes',
    'the request arrives',
    'the request arrives',
    'the newest response arrives',
    'the response arrives',
    '11 s pass',
  ]
  t.equal((await inMemory(lateResponse)).lost, false)
  t.equal(
    (await inMemory(lateResponse, { lateResponses: true })).lost,
    true,
    'an older response that overwrites the jar',
  )
})
