import type { FastifyRateLimitStoreCtor } from '@fastify/rate-limit'
import { Leases, type RequestCount } from './leases.ts'
import type { Bound, Counts } from './open-counts.ts'
import type { Grant } from './windows.ts'

/** Leases that a worker keeps at most. */
const mostLeases = 50_000

/** What a worker asks or says. What is closed or given back has no answer. */
export type Question =
  | { id: number; open: Bound[] }
  | { close: Bound[] }
  | { id: number; take: string; timeWindow: number; max: number }
  | { givenBack: number; left: number }

/** What it says at once: a message between processes costs more than what is in it. */
export interface Questions {
  questions: Question[]
}
/** What it is told: answers, or that it is to give back what is left of a window. */
export type Told = { answer: number; value: number | Grant } | { reclaim: number; key: string; window: number }

/**
 * Where several workers are one gateway, its limits are those of all of them together: the primary counts, and each worker
 * asks it.
 */
export function askPrimary(): Counts & { storeOf(name: string): FastifyRateLimitStoreCtor } {
  const waiting = new Map<number, (answer: never) => void>()
  let together: Question[] = []
  let asked = 0

  function send(question: Question): void {
    if (together.length === 0)
      setImmediate(() => {
        process.send?.({ questions: together } satisfies Questions)
        together = []
      })
    together.push(question)
  }
  const ask = <Answer extends number | Grant>(question: (id: number) => Question) =>
    new Promise<Answer>((resolve) => {
      const id = asked++
      waiting.set(id, resolve)
      send(question(id))
    })
  const leases = new Leases((take, timeWindow, max) => ask<Grant>((id) => ({ id, take, timeWindow, max })), mostLeases)

  process.on('message', (told: Told) => {
    if ('reclaim' in told) send({ givenBack: told.reclaim, left: leases.giveBack(told.key, told.window) })
    else if ('answer' in told) {
      waiting.get(told.answer)?.(told.value as never)
      waiting.delete(told.answer)
    }
  })

  return {
    open: (bounds) => ask<number>((id) => ({ id, open: bounds })),
    close: (bounds) => send({ close: bounds }),

    /** A store for @fastify/rate-limit; one for a route, which the plugin would ask it for, is never needed here. */
    storeOf: (name) =>
      class PrimaryStore {
        incr(key: string, done: (error: null, count: RequestCount) => void, timeWindow: number, max: number): void {
          leases.count(`${name} ${key}`, timeWindow, max, (count) => done(null, count))
        }
      } as unknown as FastifyRateLimitStoreCtor,
  }
}
