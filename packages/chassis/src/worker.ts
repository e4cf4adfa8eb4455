import cluster from 'node:cluster'
import { collectDefaultMetrics, register } from 'prom-client'
import type { Serving } from './service.ts'

/** What the primary asks a worker. */
export type Question = { ask: 'ready' | 'metrics'; id: number } | { ask: 'close' }
/** What it is answered: what was asked for, or why not. */
export type Answer = { answer: number; value?: unknown; fault?: string }

/**
 * One of several processes of a service says to the one that started it whether it can serve and what it counts, and ends
 * when it is told to. What it counts has its number as the label `worker`.
 */
export function answerPrimary(ready: () => Promise<void>, close: () => void): Serving {
  collectDefaultMetrics()
  register.setDefaultLabels({ worker: process.env.SALLYPORT_WORKER })
  process.on('message', async (question: Question) => {
    if (question.ask === 'close') close()
    if (question.ask !== 'ready' && question.ask !== 'metrics') return
    const answer: Answer = { answer: question.id }
    try {
      answer.value = question.ask === 'ready' ? await ready() : await register.getMetricsAsJSON()
    } catch (error) {
      answer.fault = (error as Error).message
    }
    cluster.worker?.send(answer)
  })
  return { listen: async () => 0, close: async () => {} }
}
