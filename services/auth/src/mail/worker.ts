import { EventEmitter } from 'node:events'
import { setTimeout as sleep } from 'node:timers/promises'
import { ConfigurationError, type Logger } from '@sallyport/chassis'
import { createPool } from '@sallyport/database'
import { type JobHelpers, Logger as QueueLogger, type Runner, run, type TaskList } from 'graphile-worker'
import type { TicketSecrets } from '../accounts/tickets.ts'
import type { MailConfig } from '../config.ts'
import type { DerivedKeys } from '../tokens/derived-keys.ts'
import type { Mail } from './mails.ts'
import { openTemplates, type Render } from './overrides.ts'
import { mailTask } from './queue.ts'
import { createSend, NotSent, type Reason } from './smtp.ts'
import { startUpkeep } from './upkeep.ts'

/** One listens for new jobs, one does the rest. A job that is being sent holds none. */
const connections = 2

/** How many mails are sent at once. */
const concurrency = 4

/** Milliseconds for mails that are being sent when the process ends: it has 4.5 seconds for everything. */
const stopTimeout = 2_500

/** Milliseconds after which the queue is opened again that has ended by itself. */
const restartAfter = 1_000

/** Milliseconds for which a server is left alone that could not be reached. */
const away = 5_000

/** What became of the last mails, since this process began. */
export interface MailLog {
  mailSentAt?: string
  /** The code is not the server's words, which may hold an address. */
  mailFailure?: { at: string; reason: Reason; code: string }
}

/** Work that requests queue, by the names of its tasks: it ends in mails. */
export type Tasks = Record<string, (payload: never) => Promise<void>>

interface Dependencies {
  databaseUrl: string
  mail: MailConfig
  keys: DerivedKeys
  logger: Logger
  tasks: Tasks
}

/**
 * Sends queued mails, and does what else is queued, for as long as this process runs. Every process of the service does;
 * each mail is sent by one of them.
 *
 * @returns how to stop, and what became of the last mails
 * @throws ConfigurationError if the queue cannot be used, or a template of MAIL_TEMPLATES is wrong
 */
export async function startMailWorker({
  databaseUrl,
  mail,
  keys,
  logger,
  tasks,
}: Dependencies): Promise<{ stop: () => Promise<void>; log: Readonly<MailLog> }> {
  const render = await openTemplates(mail.templates, mail.app)
  const onError = (err: unknown) => logger.warn({ event: 'mail_queue_lost', err })
  const pgPool = createPool(databaseUrl, { connections, onError })
  const log: MailLog = {}
  const mailer = createMailer(mail, render, keys, { logger, log })
  async function open(): Promise<Runner> {
    const events = new EventEmitter()
    const opened = await run({
      pgPool,
      events,
      schema: 'graphile_worker',
      concurrency,
      noHandleSignals: true,
      taskList: {
        ...(Object.fromEntries(
          Object.entries(tasks).map(([name, perform]) => [name, (payload) => perform(payload as never)]),
        ) satisfies TaskList),
        [mailTask]: (payload, helpers) => mailer.send(payload as Mail, helpers),
      },
      forbiddenFlags: () => (mailer.isAway ? [mailTask] : []),
      // What it says of a failed job is said below, without what the server said.
      logger: new QueueLogger(() => (level, _message, meta) => {
        if (level === 'error' && !meta?.failure) onError(meta?.error)
      }),
      // What became of a job is only waited for at the end where it is written in batches.
      preset: { worker: { gracefulShutdownAbortTimeout: stopTimeout, completeJobBatchDelay: 0, failJobBatchDelay: 0 } },
    })
    // It keeps the first look-up of its tasks for good, also one that failed, and then never finds a job.
    const reopen = ({ error }: { error: unknown }) => {
      onError(error)
      void Promise.allSettled([opened.stop()])
    }
    events.on('worker:getJob:error', reopen)
    for (const event of ['worker:getJob:empty', 'job:start'])
      events.once(event, () => events.off('worker:getJob:error', reopen))
    return opened
  }
  let runner: Runner
  try {
    runner = await open()
  } catch (cause) {
    await pgPool.end()
    throw new ConfigurationError(
      `the queue of mails cannot be used (${(cause as Error).message}); run \`npm run migrate\` with the role of DATABASE_URL in AUTH_DATABASE_ROLE`,
      { cause },
    )
  }
  const stopping = new AbortController()
  /** It also ends when it cannot note what became of a job. */
  async function keepRunning(): Promise<void> {
    for (;;) {
      await runner.promise.catch(onError)
      await sleep(restartAfter, undefined, { signal: stopping.signal }).catch(() => {})
      if (stopping.signal.aborted) return
      runner = await open().catch((error) => ({ ...runner, promise: Promise.reject(error) }))
    }
  }
  const running = keepRunning()
  const stopUpkeep = startUpkeep(pgPool, onError)
  async function stop(): Promise<void> {
    stopping.abort()
    // One that has ended by itself cannot be stopped.
    await Promise.allSettled([runner.stop(), stopUpkeep()])
    await running
    await pgPool.end()
  }
  return { stop, log }
}

/** What becomes of a mail that was not sent, besides the wait that the queue makes of its tries. */
const settle: Partial<Record<Reason, string>> = {
  // Costs no try, and little time once the server is back: the wait stays at 20 s. It ends as the tries would.
  unreachable: "CASE WHEN created_at > now() - interval '22 hours' THEN least(attempts, 3) ELSE max_attempts END",
  refused: 'max_attempts',
}

/** Sends mails, one at a time for each job. */
function createMailer(
  { server, from }: MailConfig,
  render: Render,
  keys: DerivedKeys,
  { logger, log }: { logger: Logger; log: MailLog },
) {
  const send = createSend(server)
  const domain = from.address.slice(from.address.lastIndexOf('@') + 1)
  /** As performance.now() has it. Until then nothing is sent, as nothing could be a moment ago. */
  let awayUntil = 0

  /** @throws if they were sealed with a secret that is gone: the ticket's time is over too */
  function secretsOf(mail: Mail): TicketSecrets | undefined {
    if (!('secrets' in mail)) return undefined
    const opened = keys.open(mail.secrets)
    if (opened === undefined) throw new NotSent('refused', 'UNSEALABLE')
    return JSON.parse(opened)
  }

  return {
    get isAway() {
      return performance.now() < awayUntil
    },
    async send(mail: Mail, { job, query, abortSignal }: JobHelpers): Promise<void> {
      try {
        const message = {
          from,
          // Not as text, which could hold several.
          to: { name: '', address: mail.to ?? from.address },
          ...render(mail, secretsOf(mail)),
          // The same at every try, so that a mail that was sent and not noted as sent is one. Ids begin anew in a new database.
          messageId: `<${job.id}.${job.created_at.getTime()}@${domain}>`,
          headers: { 'Auto-Submitted': 'auto-generated' },
        }
        await send(message, { signal: abortSignal as AbortSignal, withhold: mail.to === null })
      } catch (error) {
        const { reason, message } = asNotSent(error, abortSignal as AbortSignal)
        logger.warn({ event: 'mail_failed', job: job.id, code: message, reason })
        log.mailFailure = { at: new Date().toISOString(), reason, code: message }
        if (reason === 'unreachable') awayUntil = performance.now() + away
        const attempts = settle[reason]
        if (attempts)
          await query(
            `UPDATE graphile_worker._private_jobs SET attempts = ${attempts} WHERE id = $1 AND locked_by = $2`,
            [job.id, job.locked_by],
          )
        // The queue keeps the message.
        throw new Error(message)
      }
      awayUntil = 0
      if (mail.to !== null) log.mailSentAt = new Date().toISOString()
      logger.info({ event: mail.to === null ? 'mail_withheld' : 'mail_sent', job: job.id })
    },
  }
}

/** A template of a newer version has a code. */
function asNotSent(error: unknown, stopping: AbortSignal): NotSent {
  if (stopping.aborted) return new NotSent('failed', 'STOPPED')
  return error instanceof NotSent ? error : new NotSent('failed', (error as { code?: string }).code)
}
