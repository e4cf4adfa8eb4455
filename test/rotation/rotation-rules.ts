import type { Server, Token } from './rotation-model.ts'

/** What a rule does with a token: what it knows afterwards, and what it hands out; undefined ends the session. */
type Rule<State> = (state: State, token: Token, now: number) => { state: State; token: Token } | undefined

/** Another rule than ours, over a state in memory. None of them knows attempt ids. */
function ruleServer<State>(initial: State, rule: Rule<State>): Server {
  let state = initial
  let ended = false
  const commits: State[] = []
  return {
    async refresh(token, _attempt, now) {
      if (ended) return { kind: 'ended', reason: 'ended' }
      const next = rule(state, token, now)
      if (!next) {
        ended = true
        return { kind: 'replayed' }
      }
      if (next.state !== state) commits.push(state)
      state = next.state
      return { kind: 'rotated', token: next.token }
    },
    async end() {
      ended = true
    },
    async failover() {
      state = commits.pop() ?? state
    },
  }
}

const tokenOf = (generation: number): Token => ({ generation, branch: 0 })
const grace = 10

/** A token is good once; a second use ends the session. */
export const strict = () =>
  ruleServer(0, (newest, { generation }) =>
    generation === newest ? { state: newest + 1, token: tokenOf(newest + 1) } : undefined,
  )

/** A used token is good for a grace period, and each use gives another successor, all of them live. */
export const graceByFork = () => {
  const id = ({ generation, branch }: Token) => `${generation}/${branch}`
  const initial = { issued: 0, usedAt: new Map<string, number | undefined>([['0/0', undefined]]) }
  return ruleServer(initial, ({ issued, usedAt }, token, now) => {
    const first = usedAt.get(id(token))
    if (!usedAt.has(id(token)) || (first !== undefined && now - first > grace)) return undefined
    const successor = { generation: token.generation + 1, branch: issued + 1 }
    const known = new Map(usedAt).set(id(token), first ?? now).set(id(successor), undefined)
    return { state: { issued: issued + 1, usedAt: known }, token: successor }
  })
}

/**
 * The parent of the active token gets the active token, at any time; an older one only for a grace period after its
 * use.
 */
export const parentAllowed = () =>
  ruleServer({ active: 0, usedAt: [] as number[] }, (state, { generation }, now) => {
    const { active, usedAt } = state
    if (generation === active) {
      return { state: { active: active + 1, usedAt: [...usedAt.slice(0, active), now] }, token: tokenOf(active + 1) }
    }
    const recent = now - (usedAt[generation] ?? Number.NEGATIVE_INFINITY) <= grace
    return generation === active - 1 || recent ? { state, token: tokenOf(active) } : undefined
  })
