import type { LiveSession } from '@sallyport/auth/sessions/session'
import fc from 'fast-check'

/** A refresh token. A rule that lets several successors of one token live tells them apart by `branch`. */
export interface Token {
  generation: number
  branch: number
}

export type Answer =
  | { kind: 'rotated' | 'repeated'; token: Token; session?: LiveSession }
  | { kind: 'replayed' }
  | { kind: 'ended'; reason: string }

export type Ending = 'logout' | 'password_changed' | 'disabled' | 'deleted'

/** What the model plays against: a rule over one row in memory, or the real functions over a real row. */
export interface Server {
  /** @param now in seconds since 1970 */
  refresh(token: Token, attempt: string | undefined, now: number): Promise<Answer>
  end(ending: Ending): Promise<void>
  /** A standby takes over that never heard of the last rotation. Endings are not forgotten; see docs/rotation.md. */
  failover(): Promise<void>
}

const tabs = ['tab 1 refreshes', 'tab 2 refreshes', 'tab 3 refreshes'] as const
const deliveries = ['the request arrives', 'the response arrives'] as const
const losses = [
  'the request is lost',
  'the response is lost',
  'the server crashes after the commit',
  '503 before the commit',
  '503 after the commit',
] as const
const disorder = [
  'the newest request arrives',
  'the newest response arrives',
  'the request is duplicated',
  'all requests of one generation arrive at once',
] as const
const seconds = { '1 s pass': 1, '9 s pass': 9, '11 s pass': 11, '14 min pass': 840, '8 h pass': 28_800 } as const
const times = Object.keys(seconds) as (keyof typeof seconds)[]
const endings = {
  'the user logs out': 'logout',
  'the password is changed': 'password_changed',
  'the user is disabled': 'disabled',
  'the session is deleted': 'deleted',
} as const
const theft = [
  'the thief copies the cookie',
  'the thief refreshes',
  'the thief refreshes without an attempt id',
  'the thief loses the response',
] as const

export type Step =
  | (typeof tabs)[number]
  | (typeof deliveries)[number]
  | (typeof losses)[number]
  | (typeof disorder)[number]
  | (typeof times)[number]
  | keyof typeof endings
  | (typeof theft)[number]
  | 'a failover forgets the last commit'

// Deliveries stand several times, so that most of what is sent arrives, and histories get past their first refresh.
const oneTab: Step[] = [...Array(4).fill(tabs[0]), ...Array(4).fill(deliveries).flat(), ...times]
const honest: Step[] = [
  ...Array(2).fill(tabs).flat(),
  ...Array(4).fill(deliveries).flat(),
  ...losses,
  ...disorder,
  ...times,
  'a failover forgets the last commit',
]
/** The kinds of histories, of so many steps at most. */
export function historiesOf(maxLength: number) {
  const history = (steps: Step[]) => fc.array(fc.constantFrom(...steps), { maxLength, size: 'max' })
  return {
    lostResponses: history([...oneTab, ...losses]),
    tabs: history([...oneTab, ...tabs.slice(1), ...tabs.slice(1), ...disorder]),
    honest: history(honest),
    theft: history([...honest, ...theft, ...theft]),
    ended: history([...honest, ...theft, ...(Object.keys(endings) as Step[])]),
  }
}

/**
 * What a network and a browser can do. By default they do what HTTP clients do: a browser aborts its older fetches
 * before it presents a newer token, so that a response to one of them no longer reaches the jar, and a request for an
 * older token no longer reaches the server once a newer one was carried out. (An older request may still overtake a
 * newer one, and arrive any time before it.) The two switches lift the one and the other; docs/rotation.md says what
 * then goes wrong.
 */
export interface Network {
  lateResponses?: boolean
  lateRequests?: boolean
}

/** What happened to one session. */
export interface Report {
  refreshes: number
  /** The session ended because of reuse, and no thief had presented anything; or the browser could not go on. */
  lost: boolean
  /** A thief presented a copy. */
  stolen: boolean
  /** Stolen, both came back later than the grace, and the session was still alive. */
  undetected: boolean
  /** Tokens issued after the session had ended. */
  issuedAfterEnd: number
  /** The same generation and attempt presented again, and how often the successor was not the same row. */
  retries: number
  different: number
  /** The session had ended and a token was presented once more. */
  endedAndTried: boolean
  /** Every response in order, for comparing two servers. */
  trace: string[]
}

interface Fetch {
  tab: string
  token: Token
  attempt: string
}

/** Plays one history against a server, and brings the browser, and the thief if there is one, back at its end. */
export async function play(server: Server, history: Step[], start: number, network: Network = {}): Promise<Report> {
  const world = new World(server, start, network)
  for (const step of history) {
    // Most steps send the server nothing; awaiting those would take most of the time of a run.
    const pending = world.step(step)
    if (pending) await pending
  }
  await world.settle()
  return world.report
}

class World {
  readonly report: Report = {
    refreshes: 0,
    lost: false,
    stolen: false,
    undetected: false,
    issuedAfterEnd: 0,
    retries: 0,
    different: 0,
    endedAndTried: false,
    trace: [],
  }
  readonly server: Server
  readonly network: Network
  now: number
  ended = false
  attempts = 0
  /** The browser: a jar, a stored attempt id, and for each tab the fetch it waits for. */
  jar: Token = { generation: 0, branch: 0 }
  stored: string | undefined
  fetches = new Map<string, Fetch>()
  requests: Fetch[] = []
  responses: { to: Fetch; response: Answer | '503' }[] = []
  thief: Token | undefined
  successors = new Map<string, string>()

  constructor(server: Server, start: number, network: Network) {
    this.server = server
    this.now = start
    this.network = network
  }

  step(step: Step): Promise<void> | undefined {
    if (step in seconds) {
      this.now += seconds[step as keyof typeof seconds]
      return
    }
    if (step in endings) {
      return this.end(endings[step as keyof typeof endings])
    }
    switch (step) {
      case 'tab 1 refreshes':
      case 'tab 2 refreshes':
      case 'tab 3 refreshes':
        this.send(step)
        return
      case 'the request arrives':
        return this.arrive(this.requests.shift())
      case 'the newest request arrives':
        return this.arrive(this.requests.pop())
      case 'all requests of one generation arrive at once':
        return this.arriveAtOnce()
      case 'the request is duplicated':
        if (this.requests[0]) this.requests.push(this.requests[0])
        return
      case 'the request is lost':
        this.requests.shift()
        return
      case 'the server crashes after the commit':
        return this.arrive(this.requests.shift(), 'no response')
      case '503 before the commit': {
        const request = this.requests.shift()
        if (request) this.responses.push({ to: request, response: '503' })
        return
      }
      case '503 after the commit':
        return this.arrive(this.requests.shift(), '503')
      case 'the response arrives':
        this.receive(this.responses.shift())
        return
      case 'the newest response arrives':
        this.receive(this.responses.pop())
        return
      case 'the response is lost':
        this.responses.shift()
        return
      case 'a failover forgets the last commit':
        this.successors.clear()
        return this.server.failover()
      case 'the thief copies the cookie':
        this.thief = this.jar
        return
      case 'the thief refreshes':
        return this.steal(this.newAttempt())
      case 'the thief refreshes without an attempt id':
        return this.steal(undefined)
      case 'the thief loses the response':
        return this.steal(this.newAttempt(), 'no response')
    }
  }

  async end(ending: Ending): Promise<void> {
    await this.server.end(ending)
    this.ended = true
  }

  newAttempt(): string {
    this.attempts += 1
    return `attempt-${this.attempts}`
  }

  /** A tab aborts the fetch it waits for, if any, and presents what the jar holds with the attempt that is stored. */
  send(tab: string): void {
    this.stored ??= this.newAttempt()
    const request = { tab, token: this.jar, attempt: this.stored }
    if (!this.network.lateResponses)
      for (const fetch of this.fetches.values())
        if (fetch.token.generation < request.token.generation) this.fetches.delete(fetch.tab)
    this.fetches.set(tab, request)
    this.requests.push(request)
  }

  arrive(request: Fetch | undefined, fault?: 'no response' | '503'): Promise<void> | undefined {
    return request && this.carryOut(request, fault)
  }

  async carryOut(request: Fetch, fault: 'no response' | '503' | undefined): Promise<void> {
    const response = await this.present(request.token, request.attempt)
    this.abortOlder(request)
    if (fault !== 'no response') this.responses.push({ to: request, response: fault ?? response })
  }

  async arriveAtOnce(): Promise<void> {
    const [first] = this.requests
    if (!first) return
    const same = (request: Fetch) => request.token === first.token && request.attempt === first.attempt
    const together = this.requests.filter(same)
    this.requests = this.requests.filter((request) => !same(request))
    const before = this.report.trace.length
    const responses = await Promise.all(together.map(({ token, attempt }) => this.present(token, attempt)))
    // Which of them came first is left to the server.
    this.report.trace.push(...this.report.trace.splice(before).sort())
    this.abortOlder(first)
    for (const [index, to] of together.entries()) this.responses.push({ to, response: responses[index] as Answer })
  }

  abortOlder({ token }: Fetch): void {
    if (!this.network.lateRequests)
      this.requests = this.requests.filter((request) => request.token.generation >= token.generation)
  }

  receive(arrived: { to: Fetch; response: Answer | '503' } | undefined): void {
    // A fetch that was aborted has nobody who would take its response.
    if (!arrived || this.fetches.get(arrived.to.tab) !== arrived.to) return
    this.fetches.delete(arrived.to.tab)
    // A 503 says nothing: the attempt is kept.
    if (arrived.response === '503') return
    if ('token' in arrived.response) this.jar = arrived.response.token
    if (this.stored === arrived.to.attempt) this.stored = undefined
  }

  async steal(attempt: string | undefined, fault?: 'no response'): Promise<void> {
    if (!this.thief) return
    this.report.stolen ||= !this.ended
    const response = await this.present(this.thief, attempt)
    if ('token' in response && fault !== 'no response') this.thief = response.token
  }

  async present(token: Token, attempt: string | undefined): Promise<Answer> {
    const { report } = this
    const endedBefore = this.ended
    const response = await this.server.refresh(token, attempt, this.now)
    report.refreshes += 1
    report.trace.push('token' in response ? `${response.kind} ${response.token.generation}` : 'refused')
    if (endedBefore) report.endedAndTried = true
    if ('token' in response) {
      if (endedBefore) report.issuedAfterEnd += 1
      if (attempt !== undefined && response.session) this.compare(`${token.generation} ${attempt}`, response.session)
    } else {
      if (!endedBefore && !report.stolen) report.lost = true
      this.ended = true
    }
    return response
  }

  compare(refresh: string, session: LiveSession): void {
    const row = JSON.stringify(session)
    const before = this.successors.get(refresh)
    if (before !== undefined) this.report.retries += 1
    if (before !== undefined && before !== row) this.report.different += 1
    this.successors.set(refresh, row)
  }

  /** Both come back, each later than the grace after the other, and nothing is lost any more. */
  async settle(): Promise<void> {
    this.requests = []
    await this.comeBack()
    if (!this.thief) return
    this.now += 11
    await this.steal(this.newAttempt())
    this.now += 11
    await this.comeBack()
    this.report.undetected = this.report.stolen && !this.ended
  }

  async comeBack(): Promise<void> {
    this.responses = []
    this.send('tab 1 refreshes')
    await this.arrive(this.requests.shift())
    this.receive(this.responses.shift())
  }
}
