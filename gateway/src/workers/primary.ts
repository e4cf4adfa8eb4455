import type { Worker } from 'node:cluster'
import { type Logger, openWorkers, type Primary } from '@sallyport/chassis'
import { createLocalStore } from '@sallyport/chassis/rate-limit'
import type { Config } from '../config.ts'
import type { Answers, Question, Questions, RequestCount } from './ask-primary.ts'
import { OpenCounts } from './open-counts.ts'

/** Counts of requests that are kept at most; the one that was not used for longest goes first. */
const mostCounts = 150_000

/** The process that starts the workers of a gateway and counts for all of them. It reads no request. */
export function openPrimary(config: Config, logger: Logger): Primary {
  const open = new OpenCounts()
  const requests = createLocalStore(mostCounts)
  /** What each has open, which is over when it ends. */
  const openIn = new Map<Worker, OpenCounts>()

  function answer(question: Question, worker: Worker): Answers['answers'] {
    if ('count' in question) {
      let counted: RequestCount | undefined
      requests.incr(
        question.count,
        (_, count) => {
          counted = count as RequestCount
        },
        question.timeWindow,
        0,
      )
      const { current, ttl } = counted as unknown as RequestCount
      return [[question.id, { current, ttl }]]
    }
    const ofWorker = openIn.get(worker) ?? new OpenCounts()
    openIn.set(worker, ofWorker)
    if ('close' in question) {
      for (const counts of [open, ofWorker]) counts.close(question.close)
      return []
    }
    const reached = open.open(question.open)
    if (reached === -1) ofWorker.open(question.open)
    return [[question.id, reached]]
  }

  const workers = openWorkers(config.workers, logger, {
    onMessage(message, worker) {
      const answers = (message as Questions).questions.flatMap((question) => answer(question, worker))
      if (answers.length > 0) worker.send({ answers } satisfies Answers, () => {})
    },
    onGone(worker) {
      for (const [key, count] of openIn.get(worker)?.all ?? [])
        open.close(Array.from({ length: count }, () => ({ key, most: 0 })))
      openIn.delete(worker)
    },
  })
  return { config, logger, workers, ready: workers.ready, onHangup: workers.reload }
}
