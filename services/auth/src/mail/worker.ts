import { ConfigurationError, type Logger } from '@sallyport/chassis'
import { createPool } from '@sallyport/database'
import { type JobHelpers, Logger as QueueLogger, run, type TaskList } from 'graphile-worker'
import { createTransport } from 'nodemailer'
import type { TicketSecrets } from '../accounts/tickets.ts'
import type { MailConfig } from '../config.ts'
import type { DerivedKeys } from '../tokens/derived-keys.ts'
import type { Mail } from './mails.ts'
import { mailTask } from './queue.ts'
import { render } from './templates.ts'

/** One listens for new jobs, one does the rest. A job that is being sent holds none. */
const connections = 2

/** How many mails are sent at once. */
const concurrency = 4

/** Milliseconds for mails that are being sent when the process ends: it has 4.5 seconds for everything. */
const stopTimeout = 2_500

/** Milliseconds without a word from the server. */
const timeouts = { connectionTimeout: 10_000, greetingTimeout: 10_000, socketTimeout: 30_000, dnsTimeout: 10_000 }

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
 * @returns how to stop
 * @throws ConfigurationError if the queue cannot be used
 */
export async function startMailWorker({
  databaseUrl,
  mail,
  keys,
  logger,
  tasks,
}: Dependencies): Promise<() => Promise<void>> {
  const onError = (err: unknown) => logger.warn({ event: 'mail_queue_lost', err })
  const pgPool = createPool(databaseUrl, { connections, onError })
  const send = createSender(mail, keys, logger)
  try {
    const runner = await run({
      pgPool,
      schema: 'graphile_worker',
      concurrency,
      noHandleSignals: true,
      taskList: {
        ...(Object.fromEntries(
          Object.entries(tasks).map(([name, perform]) => [name, (payload) => perform(payload as never)]),
        ) satisfies TaskList),
        [mailTask]: (payload, helpers) => send(payload as Mail, helpers),
      },
      // What it says of a failed job is said below, without what the server said.
      logger: new QueueLogger(() => (level, _message, meta) => {
        if (level === 'error' && !meta?.failure) onError(meta?.error)
      }),
      // What became of a job is only waited for at the end where it is written in batches.
      preset: { worker: { gracefulShutdownAbortTimeout: stopTimeout, completeJobBatchDelay: 0, failJobBatchDelay: 0 } },
    })
    return async () => {
      await runner.stop()
      await pgPool.end()
    }
  } catch (cause) {
    await pgPool.end()
    throw new ConfigurationError(
      `the queue of mails cannot be used (${(cause as Error).message}); run \`npm run migrate\` with the role of DATABASE_URL in AUTH_DATABASE_ROLE`,
      { cause },
    )
  }
}

/** A reply of the server has a number; a connection that fails, and a mail of a newer version, has a code. */
function codeOf(error: unknown): string | number | undefined {
  const { responseCode, code } = error as { responseCode?: number; code?: string }
  return responseCode ?? code
}

function createSender({ server, from, app }: MailConfig, keys: DerivedKeys, logger: Logger) {
  const { host, port, tls, auth } = server
  const transport = createTransport({
    host,
    port,
    secure: tls === 'implicit',
    requireTLS: tls === 'required',
    ignoreTLS: tls === 'off',
    ...(auth && { auth }),
    ...timeouts,
    disableFileAccess: true,
    disableUrlAccess: true,
  })
  const domain = from.address.slice(from.address.lastIndexOf('@') + 1)

  /** @throws if they were sealed with a secret that is gone: the ticket's time is over too */
  function secretsOf(mail: Mail): TicketSecrets | undefined {
    if (!('secrets' in mail)) return undefined
    const opened = keys.open(mail.secrets)
    if (opened === undefined) throw Object.assign(new Error('sealed with an unknown secret'), { code: 'UNSEALABLE' })
    return JSON.parse(opened)
  }

  return async (mail: Mail, { job, abortPromise, abortSignal }: JobHelpers): Promise<void> => {
    try {
      const sending = transport.sendMail({
        from,
        // Not as text, which could hold several.
        to: { name: '', address: mail.to },
        ...render(mail, app, secretsOf(mail)),
        // The same at every try, so that a mail that was sent and not noted as sent is one. Ids begin anew in a new database.
        messageId: `<${job.id}.${job.created_at.getTime()}@${domain}>`,
        headers: { 'Auto-Submitted': 'auto-generated' },
      })
      await Promise.race([sending, abortPromise])
    } catch (error) {
      const code = abortSignal?.aborted ? 'STOPPED' : codeOf(error)
      logger.warn({ event: 'mail_failed', job: job.id, code })
      // The queue keeps the message, and what a server says may hold the address.
      throw new Error(String(code))
    }
    logger.info({ event: 'mail_sent', job: job.id })
  }
}
