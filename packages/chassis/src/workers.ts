import cluster, { type Worker } from 'node:cluster'
import { once } from 'node:events'
import {
  AggregatorRegistry,
  Counter,
  Gauge,
  type MetricObjectWithValues,
  type MetricValue,
  register,
} from 'prom-client'
import type { Logger } from './logging.ts'
import type { Serving } from './service.ts'
import { ConfigurationError } from './settings.ts'
import type { Answer, Question } from './worker.ts'

/** Milliseconds from the end of a worker to the start of the next, and for the answer of one. */
const restartAfter = 1_000
const answerTimeout = 3_000

interface Listeners {
  /** What a worker says beside what this file asks it. */
  onMessage(message: unknown, worker: Worker): void
  onGone(worker: Worker): void
}

type Metrics = MetricObjectWithValues<MetricValue<string>>[]

/**
 * Serves with so many processes of this program on one port (`node:cluster`): connections go to each in turn. One that
 * ends is replaced. Each has its number in `SALLYPORT_WORKER`.
 *
 * A route file is read by each of them, so `reload` passes SIGHUP on.
 */
export function openWorkers(count: number, logger: Logger, { onMessage, onGone }: Listeners) {
  const listening = new Map<Worker, number>()
  const waiting = new Map<number, (answer: Answer) => void>()
  let asked = 0
  let isStarted = false
  let isClosing = false

  const ended = new Counter({ name: 'sallyport_workers_ended_total', help: 'Workers that ended by themselves' })
  new Gauge({
    name: 'sallyport_workers',
    help: 'Workers that serve',
    collect() {
      this.set(listening.size)
    },
  })

  function start(number: number): Worker {
    const worker = cluster.fork({ SALLYPORT_WORKER: String(number) })
    worker.on('message', (message: Partial<Answer> & { event?: string; port?: number }) => {
      if (message.event === 'listening') {
        listening.set(worker, message.port as number)
        worker.emit('serving')
      } else if (message.answer !== undefined) waiting.get(message.answer)?.(message as Answer)
      else onMessage(message, worker)
    })
    worker.once('exit', (code, signal) => {
      const hasServed = listening.delete(worker)
      onGone(worker)
      if (isClosing || (!hasServed && !isStarted)) return
      ended.inc()
      logger.error({ event: 'worker_ended', worker: number, code, signal }, 'another one takes its place')
      setTimeout(() => {
        if (!isClosing) start(number)
      }, restartAfter)
    })
    return worker
  }

  /** @throws ConfigurationError if it ends before it serves; it says why itself */
  const serves = (worker: Worker): Promise<void> =>
    new Promise((resolve, reject) => {
      worker.once('serving', resolve)
      worker.once('exit', () => {
        if (!isClosing) reject(new ConfigurationError('a worker did not start, and says why above'))
      })
    })

  async function ask(worker: Worker, question: 'ready' | 'metrics'): Promise<unknown> {
    const id = asked++
    const gone = new AbortController()
    const end = () => gone.abort()
    const late = setTimeout(end, answerTimeout)
    worker.once('exit', end)
    try {
      const answered = new Promise<Answer>((resolve) => waiting.set(id, resolve))
      const unanswered = once(gone.signal, 'abort').then(() => ({ fault: `worker ${worker.id} does not answer` }))
      worker.send({ ask: question, id } satisfies Question, () => {})
      const { value, fault }: Partial<Answer> = await Promise.race([answered, unanswered])
      if (fault !== undefined) throw new Error(fault)
      return value
    } finally {
      clearTimeout(late)
      worker.off('exit', end)
      waiting.delete(id)
    }
  }

  return {
    async listen() {
      // One after the other, so that what is wrong is said once.
      const first = start(1)
      await serves(first)
      await Promise.all(Array.from({ length: count - 1 }, (_, at) => serves(start(at + 2))))
      isStarted = true
      return listening.get(first) as number
    },

    async close() {
      isClosing = true
      const all = cluster.workers as NodeJS.Dict<Worker>
      await Promise.all(
        (Object.values(all) as Worker[]).map(async (worker) => {
          const exit = once(worker, 'exit')
          // One that does not serve yet does not hear it.
          if (listening.has(worker)) worker.send({ ask: 'close' } satisfies Question, () => {})
          else worker.process.kill()
          await exit
        }),
      )
    },

    /** Whether each that serves is ready, and there is one. */
    async ready(): Promise<void> {
      if (listening.size === 0) throw new Error('no worker serves')
      await Promise.all([...listening.keys()].map((worker) => ask(worker, 'ready')))
    },

    /** What this process counts, and what each worker does. */
    async metrics(): Promise<string> {
      const answers = await Promise.allSettled([...listening.keys()].map((worker) => ask(worker, 'metrics')))
      const ofWorkers = answers.flatMap((answer) => (answer.status === 'fulfilled' ? [answer.value as Metrics] : []))
      return AggregatorRegistry.aggregate([await register.getMetricsAsJSON(), ...ofWorkers]).metrics()
    },

    reload(): void {
      for (const worker of listening.keys()) worker.process.kill('SIGHUP')
    },
  } satisfies Serving & Record<string, unknown>
}
