import type { FastifyRateLimitStoreCtor } from '@fastify/rate-limit'
import type { Bound, Counts } from './open-counts.ts'

/** A question of a worker. What is closed has no answer. */
export type Question =
  | { id: number; open: Bound[] }
  | { close: Bound[] }
  | { id: number; count: string; timeWindow: number }

/** How many requests a key has in its window, which goes on for `ttl` milliseconds. */
export interface RequestCount {
  current: number
  ttl: number
}

/** Questions that came up together, and their answers: a message between processes costs more than what is in it. */
export interface Questions {
  questions: Question[]
}
export interface Answers {
  answers: [id: number, answer: number | RequestCount][]
}

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
  const ask = <Answer extends number | RequestCount>(question: (id: number) => Question) =>
    new Promise<Answer>((resolve) => {
      const id = asked++
      waiting.set(id, resolve)
      send(question(id))
    })

  process.on('message', ({ answers }: Partial<Answers>) => {
    for (const [id, answer] of answers ?? []) {
      waiting.get(id)?.(answer as never)
      waiting.delete(id)
    }
  })

  return {
    open: (bounds) => ask<number>((id) => ({ id, open: bounds })),
    close: (bounds) => send({ close: bounds }),

    /** A store for @fastify/rate-limit; one for a route, which the plugin would ask it for, is never needed here. */
    storeOf: (name) =>
      class PrimaryStore {
        incr(key: string, done: (error: Error | null, count?: RequestCount) => void, timeWindow: number): void {
          ask<RequestCount>((id) => ({ id, count: `${name} ${key}`, timeWindow })).then((count) => done(null, count))
        }
      } as unknown as FastifyRateLimitStoreCtor,
  }
}
