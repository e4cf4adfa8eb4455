import type { Worker } from 'node:cluster'
import { type Logger, openWorkers, type Primary } from '@sallyport/chassis'
import type { Config } from '../config.ts'
import type { Question, Questions, Told } from './ask-primary.ts'
import { OpenCounts } from './open-counts.ts'
import { Windows } from './windows.ts'

/** Counts of requests that are kept at most. */
const mostWindows = 150_000

/** Milliseconds for a worker to give back what it has left; of one that hangs it is used up. */
const reclaimTimeout = 1_000

/** What the primary knows of a worker. */
interface Known {
  worker: Worker
  /** What it has open, which is over when it ends. */
  open: OpenCounts
  /** What it was asked to give back, and did not yet. */
  reclaimed: Map<number, (left: number) => void>
}

/** The process that starts the workers of a gateway and counts for all of them. It reads no request. */
export function openPrimary(config: Config, logger: Logger): Primary {
  const open = new OpenCounts()
  const known = new Map<number, Known>()
  let reclaims = 0
  const windows = new Windows({ workers: config.workers, most: mostWindows, reclaim })

  const tell = (worker: Worker, told: Told) => void worker.send(told, () => {})

  /** One that has ended has nothing left. */
  async function reclaim(id: number, key: string, window: number): Promise<number> {
    const holder = known.get(id)
    if (!holder) return 0
    const number = reclaims++
    tell(holder.worker, { reclaim: number, key, window })
    return new Promise((resolve) => {
      const late = setTimeout(resolve, reclaimTimeout, 0)
      holder.reclaimed.set(number, (left) => {
        clearTimeout(late)
        resolve(left)
      })
    })
  }

  async function hear(question: Question, { worker, open: openThere, reclaimed }: Known): Promise<void> {
    if ('take' in question) {
      const { id, take, timeWindow, max } = question
      tell(worker, { answer: id, value: await windows.take(worker.id, take, timeWindow, max) })
    } else if ('givenBack' in question) {
      reclaimed.get(question.givenBack)?.(question.left)
      reclaimed.delete(question.givenBack)
    } else if ('close' in question) for (const counts of [open, openThere]) counts.close(question.close)
    else {
      const value = open.open(question.open)
      if (value === -1) openThere.open(question.open)
      tell(worker, { answer: question.id, value })
    }
  }

  const workers = openWorkers(config.workers, logger, {
    onMessage(message, worker) {
      const asking = known.get(worker.id) ?? { worker, open: new OpenCounts(), reclaimed: new Map() }
      known.set(worker.id, asking)
      for (const question of (message as Questions).questions) hear(question, asking)
    },
    onGone({ id }) {
      const gone = known.get(id)
      known.delete(id)
      for (const resolve of gone?.reclaimed.values() ?? []) resolve(0)
      for (const [key, count] of gone?.open.all ?? [])
        open.close(Array.from({ length: count }, () => ({ key, most: 0 })))
    },
  })
  return { config, logger, workers, ready: workers.ready, onHangup: workers.reload }
}
