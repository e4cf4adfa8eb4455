import { mkdirSync, writeFileSync } from 'node:fs'
import { startLocalPeers } from '../lib/local-peers.ts'
import { namedPeers } from '../lib/named-peers.ts'
import { closeConnections, type Operation, operations, type Peer, Refused, type Session } from '../lib/peer.ts'
import { quantile } from '../lib/quantile.ts'
import { rangeChart, type Spread } from '../lib/range-chart.ts'

/**
 * What users and services do with an identity system, at Sallyport and at others, in turns of one run: the CPU time of all
 * processes of a system, PostgreSQL's included, and what callers see, each with its spread over the rounds. Draws
 * docs/graphs.
 *
 *   npm run bench                    (ROUNDS and SECONDS make it longer or shorter)
 *
 * Others that run elsewhere take part by their address: docs/performance.md has how.
 */
const rounds = Number(process.env.ROUNDS ?? 7)
const seconds = Number(process.env.SECONDS ?? 1)

const titles: Record<Operation, string> = {
  signIn: 'sign-in by password',
  refresh: 'refresh, with a refresh token that rotates',
  check: 'a service checks who calls',
  machineToken: 'token of a machine (client_credentials)',
  logOut: 'logout',
}
/** Few sign-ins at once: Sallyport sheds those that would wait for a core for more than a second. */
const callers: Record<Operation, number> = { signIn: 4, refresh: 16, check: 16, machineToken: 16, logOut: 16 }

interface Figures {
  /** Microseconds of CPU for each, of the whole system and of PostgreSQL in it. */
  cpu: number
  database: number
  perSecond: number
  /** Milliseconds within which half of them had a response, and 99 of 100. */
  half: number
  most: number
}

interface Contestant {
  peer: Peer
  /** A session for each caller, which lasts. */
  kept: Session[]
  /** Those that measured sign-ins began, for measured logouts to end. */
  begun: Session[]
  figures: Record<Operation, Figures[]>
}

const print = (line: string) => process.stdout.write(`${line}\n`)
const { peers: local, databaseUsed, stop } = await startLocalPeers()

async function perform({ peer, kept, begun }: Contestant, operation: Operation, caller: number, turn: number) {
  const own = kept[caller] as Session
  if (operation === 'signIn') begun.push(await peer.signIn(turn))
  else if (operation === 'refresh') kept[caller] = (await peer.refresh?.(own)) as Session
  else if (operation === 'check') await peer.check?.(own)
  else if (operation === 'machineToken') await peer.machineToken?.()
  else await peer.logOut?.(begun.pop() as Session)
}

/** Has callers do the same again and again, each as soon as it has a response. */
async function measure(contestant: Contestant, operation: Operation): Promise<Figures> {
  const { peer, kept, begun } = contestant
  const needsSession = operation === 'refresh' || operation === 'check'
  const atOnce = Math.min(callers[operation], needsSession ? kept.length : Number.POSITIVE_INFINITY)
  const times: number[] = []
  const [before, databaseBefore, beganAt] = [peer.used?.() ?? 0, databaseUsed(), performance.now()]
  const isOver = () =>
    operation === 'logOut' ? begun.length === 0 : performance.now() > beganAt + seconds * 1000 && times.length > 0
  await Promise.all(
    Array.from({ length: atOnce }, async (_, caller) => {
      for (let turn = caller; !isOver(); turn += atOnce) {
        const asked = performance.now()
        await perform(contestant, operation, caller, turn).catch((cause) => {
          throw new Error(`${peer.name}, ${titles[operation]}: ${cause.message}`, { cause })
        })
        times.push(performance.now() - asked)
      }
    }),
  )
  const took = performance.now() - beganAt
  const each = (spent: number) => (spent / times.length) * 1e6
  return {
    cpu: each((peer.used?.() ?? 0) - before),
    database: each(databaseUsed() - databaseBefore),
    perSecond: times.length / (took / 1000),
    half: quantile(times, 0.5),
    most: quantile(times, 0.99),
  }
}

/** By what begins them, since a peer may be there several times for the ways in which services check. */
const sessions = new Map<Peer['signIn'], Session[]>()

async function prepare(peer: Peer): Promise<Contestant> {
  const kept = sessions.get(peer.signIn) ?? []
  sessions.set(peer.signIn, kept)
  const wanted = peer.measured.every((operation) => operation === 'machineToken')
    ? 0
    : (peer.sessions ?? callers.refresh)
  while (kept.length < Math.min(callers.refresh, wanted)) kept.push(await peer.signIn(kept.length))
  return { peer, kept, begun: [], figures: { signIn: [], refresh: [], check: [], machineToken: [], logOut: [] } }
}

/** Does everything once at a peer that others run, and leaves out what it refuses, since nobody here knows its settings. */
async function prepareNamed(peer: Peer): Promise<Contestant> {
  const leaveOut = (what: string, error: unknown) => {
    if (!(error instanceof Refused)) throw error
    print(`${peer.name}: ${what} is left out, as the response is ${error.message}`)
  }
  const contestant = await prepare(peer).catch((error) => {
    leaveOut('what needs a session', error)
    return prepare({ ...peer, measured: peer.measured.filter((operation) => operation === 'machineToken') })
  })
  const measured: Operation[] = []
  for (const operation of contestant.peer.measured)
    await perform(contestant, operation, 0, 0).then(
      () => measured.push(operation),
      (error) => leaveOut(titles[operation], error),
    )
  return { ...contestant, peer: { ...peer, measured } }
}

const contestants: Contestant[] = []
for (const peer of local) contestants.push(await prepare(peer))
for (const peer of await namedPeers(process.env)) contestants.push(await prepareNamed(peer))
for (let round = -1; round < rounds; round++)
  for (const operation of operations)
    for (const contestant of round % 2 === 0 ? contestants : contestants.toReversed()) {
      if (!contestant.peer.measured.includes(operation)) continue
      const figures = await measure(contestant, operation)
      // The first round warms up.
      if (round >= 0) contestant.figures[operation].push(figures)
    }
await closeConnections()
await stop()

const spreadOf = (figures: Figures[], of: (figures: Figures) => number): Spread => {
  const [lowest, median, highest] = [0, 0.5, 1].map((share) => quantile(figures.map(of), share)) as [
    number,
    number,
    number,
  ]
  return { lowest, median, highest }
}
const cell = (spread: Spread, digits: number, unit = '') => {
  const [median, lowest, highest] = [spread.median, spread.lowest, spread.highest].map((value) => value.toFixed(digits))
  return `${median}${unit} (${lowest} to ${highest})`
}
const labelOf = ({ name, remarks }: Peer, operation: Operation) =>
  remarks?.[operation] ? `${name} (${remarks[operation]})` : name
print(`${rounds} rounds of ${seconds} s: the median of the rounds, and in parentheses the lowest and the highest`)
const groups = operations.map((operation) => ({
  operation,
  rows: contestants.filter(({ figures }) => figures[operation].length > 0),
}))
for (const { operation, rows } of groups) {
  print(
    `\n| ${titles[operation]} | CPU of all processes | PostgreSQL's part | a second | half within | 99 of 100 within |`,
  )
  print('| --- | ---: | ---: | ---: | ---: | ---: |')
  for (const { peer, figures } of rows) {
    const spread = (column: keyof Figures) => spreadOf(figures[operation], (each) => each[column])
    const cells = [
      peer.used ? cell(spread('cpu'), 0, ' us') : 'not known',
      // Of others' processes it is not known which are PostgreSQL's.
      local.includes(peer) ? `${spread('database').median.toFixed(0)} us` : 'not known',
      cell(spread('perSecond'), 0),
      cell(spread('half'), 1, ' ms'),
      cell(spread('most'), 1, ' ms'),
    ]
    print(`| ${labelOf(peer, operation)} | ${cells.join(' | ')} |`)
  }
}

// One round has no spread to draw.
if (rounds > 1) {
  const graphs = new URL('../../../docs/graphs/', import.meta.url)
  mkdirSync(graphs, { recursive: true })
  const picture = rangeChart(
    'CPU of all processes: the median round, the lowest and the highest',
    groups.map(({ operation, rows }) => ({
      title: titles[operation],
      unit: 'us',
      bars: rows
        .filter(({ peer }) => peer.used)
        .map(({ peer, figures }) => ({
          label: labelOf(peer, operation),
          spread: spreadOf(figures[operation], ({ cpu }) => cpu),
          ours: peer.ours === true,
        })),
    })),
  )
  writeFileSync(new URL('peers.svg', graphs), picture)
}
