import type { IncomingMessage } from 'node:http'
import { Webhook } from 'standardwebhooks'
import type { Outbound } from '../outbound.ts'
import { readRetryAfter } from './schedule.ts'

/** Milliseconds for one attempt, with all that the receiver responds. */
export const timeout = 15_000

/** The most bytes of a response that are read. None is kept. */
const longest = 64 * 1024

export interface Message {
  /** The same at every attempt. */
  id: string
  type: string
  at: Date
  data: unknown
}

export interface Outcome {
  /** Of the response, if there was one. */
  status: number | null
  /** Why it is not delivered, in a word or a line. */
  error: string | null
  /** Seconds for which the receiver wants no more. */
  pause?: number | undefined
}

export interface Target {
  url: string
  /** One or two. */
  secrets: string[]
}

export interface Sender {
  /** One attempt, as Standard Webhooks has it. @throws nothing; an outcome without an error is a delivery */
  send(target: Target, message: Message, within?: number): Promise<Outcome>
  /** Aborts every attempt. */
  stop(): void
}

/** What the attempts end with that were aborted. */
export const stopped = 'STOPPED'

export function createSender(outbound: Outbound): Sender {
  const attempts = new Set<AbortController>()
  let isStopped = false

  async function post({ url, secrets }: Target, { id, type, at, data }: Message, signal: AbortSignal) {
    const body = JSON.stringify({ type, timestamp: at.toISOString(), data })
    const now = new Date()
    const response = await outbound.request(url, {
      method: 'POST',
      headers: {
        'content-type': 'application/json',
        'content-length': String(Buffer.byteLength(body)),
        'user-agent': 'Sallyport-Webhooks',
        'webhook-id': id,
        'webhook-timestamp': String(Math.floor(now.getTime() / 1000)),
        'webhook-signature': secrets.map((secret) => new Webhook(secret).sign(id, now, body)).join(' '),
      },
      body,
      signal,
    })
    await skim(response)
    return response
  }

  return {
    async send(target, message, within = timeout) {
      if (target.secrets.length === 0) return { status: null, error: 'SECRET_UNREADABLE' }
      const attempt = new AbortController()
      attempts.add(attempt)
      const timer = setTimeout(() => attempt.abort(), within)
      const outcome = await post(target, message, attempt.signal).then(judge, ({ code, message }) => ({
        status: null,
        error: attempt.signal.aborted ? (isStopped ? stopped : 'TIMEOUT') : (code ?? message),
      }))
      clearTimeout(timer)
      attempts.delete(attempt)
      return outcome
    },
    stop() {
      isStopped = true
      for (const attempt of attempts) attempt.abort()
    },
  }
}

const isSuccess = (status: number) => status >= 200 && status < 300

function judge({ statusCode, headers }: IncomingMessage): Outcome {
  const status = statusCode as number
  if (isSuccess(status)) return { status, error: null }
  const pause = status === 429 || status === 503 ? readRetryAfter(headers['retry-after']) : undefined
  return { status, error: 'STATUS', pause }
}

/** Waits until a response has ended, was longer than it may be, or had no more time: its status counts either way. */
function skim(response: IncomingMessage): Promise<void> {
  let left = longest
  response.on('data', (part: Buffer) => {
    left -= part.length
    if (left < 0) response.destroy()
  })
  response.on('error', () => {})
  return new Promise((resolve) => response.once('close', resolve))
}
