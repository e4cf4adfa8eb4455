import { randomUUID } from 'node:crypto'
import { type Logger, repeat } from '@sallyport/chassis'

/**
 * Milliseconds until the first report, when there are keys as a rule; between two; that one may take; and that the end of
 * this process waits for the last.
 */
const usualTiming = { first: 1_000, every: 10_000, timeout: 3_000, goodbye: 500 }

/** The most keys that are named, and characters of an id: auth takes no more. */
const mostKeys = 50
const longestId = 200

interface Settings {
  /** The auth service's `/internal/replicas`. Undefined: nobody is told. */
  url: string | undefined
  secret: string | undefined
}

interface State {
  version: string
  /** Seconds since the view of ended sessions was last proved, if it ever was; null if there is no stream of them. */
  streamAge: () => number | null
  keys: () => readonly string[]
  routesDigest: () => string
}

/**
 * Tells the auth service every ten seconds that this gateway runs and what it knows, for admins to see. No request waits
 * for it, and nothing changes when it fails.
 *
 * @returns how to stop, which tells the auth service that this gateway ends
 */
export function startReports(
  { url, secret }: Settings,
  { version, streamAge, keys, routesDigest }: State,
  logger: Logger,
  { first, every, timeout, goodbye } = usualTiming,
): () => Promise<void> {
  if (url === undefined) return async () => {}
  const id = randomUUID()
  const begun = performance.now()
  const closing = new AbortController()
  const headers = { authorization: `Bearer ${secret}` }

  async function send(to: string, options: RequestInit): Promise<void> {
    const response = await fetch(to, { redirect: 'error', ...options })
    await response.body?.cancel()
    if (response.status !== 204) throw new Error(`${to} answered ${response.status}`)
  }
  async function report(): Promise<void> {
    const uptime = (performance.now() - begun) / 1000
    const age = streamAge()
    await send(url as string, {
      method: 'POST',
      headers: { ...headers, 'content-type': 'application/json' },
      body: JSON.stringify({
        ...{ id, version, uptime, time: Date.now(), streamAge: age === null ? null : Math.min(age, uptime) },
        keys: keys()
          .filter((kid) => kid.length <= longestId)
          .slice(0, mostKeys),
        routesDigest: routesDigest(),
      }),
      signal: AbortSignal.any([closing.signal, AbortSignal.timeout(timeout)]),
    })
  }
  const onError = (err: unknown) => logger.debug({ event: 'report_failed', err })
  const stop = repeat(report, {
    pause: every,
    first,
    onError: (error) => {
      if (!closing.signal.aborted) onError(error)
    },
  })

  return async () => {
    closing.abort()
    await stop()
    await send(`${url}/${id}`, { method: 'DELETE', headers, signal: AbortSignal.timeout(goodbye) }).catch(onError)
  }
}
