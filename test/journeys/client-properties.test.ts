import { type AuthClient, type Channel, createAuthClient, type Locks } from '@sallyport/client'
import { type Clock, install } from '@sinonjs/fake-timers'
import fc from 'fast-check'
import t from 'tap'
import type { Answer, Token } from '../rotation/rotation-model.ts'
import { memoryServer } from '../rotation/rotation-servers.ts'
import { createLocks } from '../support/browser.ts'

const runs = Number(process.env.CLIENT_RUNS ?? 150)
const start = 1_800_000_000

const tabs = ['tab 1', 'tab 2', 'tab 3'] as const
const deeds = ['asks', 'wakes up', 'is reloaded'] as const
const deliveries = ['the request arrives', 'the response arrives'] as const
const faults = [
  'the newest request arrives',
  'the newest response arrives',
  'the request is duplicated',
  'the connection breaks',
  'the response is lost',
  'the server crashes after the commit',
  '503 before the commit',
  '503 after the commit',
  'a failover forgets the last commit',
] as const
const seconds = { '0.3 s pass': 0.3, '1 s passes': 1, '9 s pass': 9, '16 s pass': 16 } as const
/** The machine sleeps: the clock goes on, timers do not, and connections do not outlive it. */
const sleeps = { '14 min of sleep': 840, '8 h of sleep': 28_800 } as const

type Step =
  | { tab: number; deed: (typeof deeds)[number] }
  | (typeof deliveries)[number]
  | (typeof faults)[number]
  | keyof typeof seconds
  | keyof typeof sleeps

const someTab = fc.record({ tab: fc.nat(tabs.length - 1), deed: fc.constantFrom(...deeds) })
const others = fc.constantFrom<Step[]>(
  ...Array(4).fill(deliveries).flat(),
  ...faults,
  ...(Object.keys(seconds) as Step[]),
  ...(Object.keys(sleeps) as Step[]),
)
const histories = fc.array(fc.oneof({ weight: 1, arbitrary: someTab }, { weight: 3, arbitrary: others }), {
  maxLength: 60,
  size: 'max',
})

/** What kind of browser it is. */
interface Kind {
  locks: 'in line' | 'none' | 'never'
  /** How long a message takes from one tab to another, in ms. */
  lag: number
  /** How wrong its clock is, in minutes. */
  clock: number
  storage: 'localStorage' | 'memory'
  /** Whether its client makes a new attempt id for each try. Ours does not. */
  forgetful?: boolean
}

// Locks are held until the message is everywhere. Without locks it has to be there at once.
const ties = fc.constantFrom<Pick<Kind, 'locks' | 'lag'>[]>(
  { locks: 'in line', lag: 0 },
  { locks: 'in line', lag: 50 },
  { locks: 'none', lag: 0 },
  { locks: 'never', lag: 0 },
)
const kinds = fc
  .record({
    ties,
    clock: fc.constantFrom(-10, 0, 10),
    storage: fc.constantFrom('localStorage' as const, 'memory' as const),
  })
  .map(({ ties, ...kind }): Kind => ({ ...ties, ...kind }))

interface Fetch {
  token: Token
  attempt: string
  signal: AbortSignal
  resolve(response: Response): void
  reject(error: Error): void
}

interface Tab {
  client: AuthClient
  window: EventTarget
  /** What it sees of storage. */
  view: Map<string, string>
  channels: Set<Channel>
  /** Ends it, with whatever it waits for. */
  unload: AbortController
}

/** Three tabs with the real client, a network that loses and reorders, and the real rule. */
class World {
  readonly kind: Kind
  readonly clock: Clock
  readonly server = memoryServer(start)
  readonly tabs: Tab[] = []
  readonly locks: Locks | undefined
  /** By the server's clock, in ms; the browser's may differ. */
  jar: Token = { generation: 0, branch: 0 }
  requests: Fetch[] = []
  responses: { to: Fetch; response: Answer | '503' }[] = []
  refreshes = 0
  signOuts: string[] = []

  constructor(kind: Kind, clock: Clock) {
    this.kind = kind
    this.clock = clock
    this.locks = { 'in line': createLocks(), none: undefined, never }[kind.locks]
    const known = new Map([
      ['accessToken', this.accessToken()],
      ['role', 'doctor'],
    ])
    for (const _ of tabs) this.tabs.push(this.open(this.tabs[0]?.view ?? known))
  }

  get now(): number {
    return Date.now() / 1_000 - this.kind.clock * 60
  }

  open(known: Map<string, string>): Tab {
    const unload = new AbortController()
    const window = new EventTarget()
    const view = new Map(known)
    const channels = new Set<Channel>()
    const spread = (change: (values: Map<string, string>) => void) => {
      if (unload.signal.aborted) return
      change(view)
      // Also for the page that is there by then.
      for (const [index, other] of this.tabs.entries())
        if (other.view !== view)
          this.later(() => {
            change(this.tabs[index]?.view as Map<string, string>)
            this.tabs[index]?.window.dispatchEvent(new Event('storage'))
          })
    }
    const localStorage = {
      getItem: (key: string) => view.get(key) ?? null,
      setItem: (key: string, value: string) => {
        spread((values) => values.set(key, value))
      },
      removeItem: (key: string) => spread((values) => values.delete(key)),
    }
    const world = this
    class TabChannel implements Channel {
      onmessage: Channel['onmessage'] = null
      constructor() {
        channels.add(this)
      }
      postMessage(message: unknown) {
        const data = structuredClone(message)
        for (const other of world.tabs)
          if (other.view !== view)
            world.later(() => {
              for (const { onmessage } of other.channels) onmessage?.({ data })
            })
      }
      close() {
        channels.delete(this)
      }
    }
    const fetch = this.fetchOf(unload.signal)
    const platform = { fetch, localStorage, locks: this.locks, BroadcastChannel: TabChannel, window }
    const client = createAuthClient({ baseUrl: 'https://api.test', storage: this.kind.storage, platform })
    client.subscribe(() => {
      const { status, signOut } = client.getSnapshot()
      if (status === 'signed-out' && !unload.signal.aborted) this.signOuts.push(signOut?.code ?? '')
    })
    client.startTokenMonitoring()
    return { client, window, view, channels, unload }
  }

  later(deliver: () => void): void {
    if (this.kind.lag === 0) queueMicrotask(deliver)
    else setTimeout(deliver, this.kind.lag)
  }

  fetchOf(unloaded: AbortSignal) {
    return (_input: unknown, init: RequestInit = {}) =>
      new Promise<Response>((resolve, reject) => {
        const signal = AbortSignal.any([init.signal as AbortSignal, unloaded])
        if (signal.aborted) return reject(signal.reason)
        signal.addEventListener('abort', () => reject(signal.reason))
        const kept = new Headers(init.headers).get('x-refresh-attempt') as string
        const attempt = this.kind.forgetful ? `${this.refreshes}` : kept
        this.refreshes += 1
        this.requests.push({ token: this.jar, attempt, signal, resolve, reject })
      })
  }

  accessToken(): string {
    const iat = Math.floor(this.now)
    const claims = { iat, exp: iat + 900, sub: 'user', sid: 'session', email: 'd@example.com', roles: ['doctor'] }
    return `e30.${Buffer.from(JSON.stringify({ ...claims, jti: Math.random() })).toString('base64url')}.c2ln`
  }

  async step(step: Step): Promise<void> {
    if (typeof step === 'object') await this.act(step.tab, step.deed)
    else if (step in seconds) await this.pass(seconds[step as keyof typeof seconds])
    else if (step in sleeps) await this.sleep(sleeps[step as keyof typeof sleeps])
    else await this.happen(step as (typeof deliveries)[number] | (typeof faults)[number])
    await settled()
  }

  async act(index: number, deed: (typeof deeds)[number]): Promise<void> {
    const tab = this.tabs[index] as Tab
    if (deed === 'asks') tab.client.refresh().catch(() => {})
    else if (deed === 'wakes up') tab.window.dispatchEvent(new Event('online'))
    else {
      tab.client.stopTokenMonitoring()
      tab.unload.abort()
      this.tabs[index] = this.open(tab.view)
    }
  }

  async happen(step: (typeof deliveries)[number] | (typeof faults)[number]): Promise<void> {
    if (step === 'the request arrives') await this.carryOut(this.requests.shift())
    else if (step === 'the newest request arrives') await this.carryOut(this.requests.pop())
    else if (step === 'the response arrives') this.receive(this.responses.shift())
    else if (step === 'the newest response arrives') this.receive(this.responses.pop())
    else if (step === 'the request is duplicated') this.requests.push(...this.requests.slice(0, 1))
    else if (step === 'the connection breaks') this.requests.shift()?.reject(new TypeError('broken'))
    else if (step === 'the response is lost') this.responses.shift()
    else if (step === 'the server crashes after the commit') await this.carryOut(this.requests.shift(), 'no response')
    else if (step === '503 after the commit') await this.carryOut(this.requests.shift(), '503')
    else if (step === '503 before the commit') {
      const to = this.requests.shift()
      if (to) this.responses.push({ to, response: '503' })
    } else await this.server.failover()
  }

  async carryOut(request: Fetch | undefined, fault?: 'no response' | '503'): Promise<void> {
    if (!request) return
    const response = await this.server.refresh(request.token, request.attempt, this.now)
    // What docs/rotation.md takes as given of networks: a request does not arrive after a newer one was carried out.
    this.requests = this.requests.filter(({ token }) => token.generation >= request.token.generation)
    if (fault !== 'no response') this.responses.push({ to: request, response: fault ?? response })
  }

  receive(arrived: World['responses'][number] | undefined): void {
    // A response to an aborted fetch does not reach the jar.
    if (!arrived || arrived.to.signal.aborted) return
    const { to, response } = arrived
    if (response === '503') to.resolve(problem(503, 'UNAVAILABLE'))
    else if ('token' in response) {
      this.jar = response.token
      to.resolve(Response.json({ accessToken: this.accessToken(), role: 'doctor', roles: ['doctor'] }))
    } else to.resolve(problem(401, response.kind === 'replayed' ? 'REFRESH_REUSED' : 'SESSION_ENDED'))
  }

  async pass(duration: number): Promise<void> {
    for (let passed = 0; passed < duration * 1_000; passed += 250) {
      this.clock.tick(250)
      await settled()
    }
  }

  async sleep(duration: number): Promise<void> {
    this.requests = []
    this.responses = []
    this.clock.setSystemTime(Date.now() + duration * 1_000)
    await this.pass(1)
  }

  /** A quarter of an hour later, with a network that carries everything: every tab gets one more token. */
  async end(): Promise<void> {
    await this.sleep(900)
    for (let round = 0; round < 120 && !this.isWell; round += 1) {
      while (this.requests.length + this.responses.length > 0) {
        await this.happen('the request arrives')
        await this.happen('the response arrives')
        await settled()
      }
      await this.pass(1)
    }
    for (const { client } of this.tabs) client.stopTokenMonitoring()
  }

  get isWell(): boolean {
    return this.tabs.every(({ client }) => {
      const { status, trouble, expiresAt } = client.getSnapshot()
      return status === 'signed-in' && trouble === null && (expiresAt ?? 0) > Date.now() + 600_000
    })
  }
}

/** A browser that forgot the request altogether, and that it was aborted. */
const never: Locks = { request: () => new Promise(() => {}) }

const problem = (status: number, code: string) =>
  Response.json({ code, title: code }, { status, headers: { 'retry-after': '1' } })

/** Until everything that waits for nothing but its turn has had it. */
async function settled(): Promise<void> {
  for (let turn = 0; turn < 3; turn += 1) await new Promise((resolve) => setImmediate(resolve))
}

async function play(kind: Kind, history: Step[]): Promise<World> {
  const now = (start + kind.clock * 60) * 1_000
  const clock = install({ now, toFake: ['setTimeout', 'clearTimeout', 'setInterval', 'clearInterval', 'Date'] })
  try {
    const world = new World(kind, clock)
    for (const step of history) await world.step(step)
    await world.end()
    return world
  } finally {
    clock.uninstall()
  }
}

const staysSignedIn = ({ signOuts, isWell }: World) => signOuts.length === 0 && isWell

t.test('no history of tabs, losses, sleep and disorder signs anybody out', { timeout: 600_000 }, async (t) => {
  let [played, refreshes] = [0, 0]
  const property = fc.asyncProperty(kinds, histories, async (kind, history) => {
    const world = await play(kind, history)
    played += 1
    refreshes += world.refreshes
    return staysSignedIn(world)
  })
  await fc.assert(property, { numRuns: runs })
  t.comment(`${played} histories, ${refreshes} refreshes`)
  t.ok(played >= runs && refreshes > runs)
})

t.test('and the model would notice: a client that forgot its attempt ids signs users out', async (t) => {
  const forgetful = kinds.map((kind) => ({ ...kind, forgetful: true }))
  const property = fc.asyncProperty(forgetful, histories, async (kind, history) =>
    staysSignedIn(await play(kind, history)),
  )
  const { failed } = await fc.check(property, { numRuns: 2_000, endOnFailure: true })
  t.ok(failed)
})
