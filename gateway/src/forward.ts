import type { Readable } from 'node:stream'
import { Problem } from '@sallyport/chassis'
import type { FastifyReply, FastifyRequest } from 'fastify'
import type { Dispatcher } from 'undici'
import { type Body, beginBody, discardRest, hasBody } from './body.ts'
import { answerHeaders } from './headers.ts'
import { openEventStreams } from './measure.ts'
import type { Upstream } from './upstreams.ts'
import type { Caller } from './verify.ts'
import type { Watch } from './watch.ts'

/** Milliseconds for an answer that has begun to go on. */
const goOnWithin = 300_000

/** Bytes of an answer that is sent in one piece with its headers. */
const small = 16_384

/** What may be sent twice, as nothing happens twice (RFC 9110 section 9.2.2). */
const idempotent = new Set(['GET', 'HEAD', 'OPTIONS', 'PUT', 'DELETE'])

/** A request on its way. */
export interface Passage {
  request: FastifyRequest
  reply: FastifyReply
  /** Names and values in turn, as the upstream gets them. */
  headers: string[]
  /** Names and values in turn that the answer gets, unless the upstream gives its own. */
  ownHeaders: string[]
  caller: Caller | undefined
  watch: Watch
}

/**
 * Sends a request on and its answer back, both as streams; a slow reader slows the writer down.
 *
 * @throws 413 for a body over the route's limit, 408 for one that does not come; 502 or 504 when the upstream gives no
 *   answer. Once an answer has begun, the only way left to say that it is not whole is to break it off.
 */
export async function forward(passage: Passage): Promise<void> {
  const { request, reply } = passage
  const { raw, route } = request
  const body = hasBody(raw) ? await beginBody(raw, reply.raw, route.bodyLimit) : undefined
  return new Promise((resolve, reject) => new Exchange(passage, body, resolve, reject).start())
}

/**
 * One request with one upstream, or with a second one if the first could not be reached.
 *
 * It takes undici's events in their plain form: the newer one builds an object of an answer's headers each time, only
 * for us to take it apart again.
 */
class Exchange implements Dispatcher.DispatchHandler {
  readonly #passage: Passage
  readonly #body: Body | undefined
  readonly #resolve: () => void
  readonly #reject: (problem: Problem) => void
  readonly #client: FastifyReply['raw']
  #upstream: Upstream
  #isRetry = false
  /** Set once the request is being written to an upstream: from then on it may have had an effect. */
  #abort: ((error: Error) => void) | undefined
  /** Why the exchange ends, if it is we who end it. */
  #ending: Error | undefined
  #hasBegun = false
  /** Lets the upstream go on once a client that could not take more can again. */
  #resume: (() => void) | undefined
  #isOver = false
  /** The length the upstream gives its answer, and the answer, if it is small and came in one piece. */
  #length = -1
  #whole: Buffer | undefined

  constructor(passage: Passage, body: Body | undefined, resolve: () => void, reject: (problem: Problem) => void) {
    this.#passage = passage
    this.#body = body
    this.#resolve = resolve
    this.#reject = reject
    this.#client = passage.reply.raw
    this.#upstream = passage.request.route.pick()
  }

  start(): void {
    // A listener for each answer: it closes once.
    this.#client.on('close', () => {
      if (!this.#isOver) this.#end(new Error('the client went away'))
    })
    this.#dispatch()
  }

  #dispatch(): void {
    const { request, headers } = this.#passage
    const { raw, route, target } = request
    this.#upstream.pool.dispatch(
      {
        path: target.path + target.query,
        method: raw.method as Dispatcher.HttpMethod,
        headers,
        // undici reads any iterable; its types know of streams only.
        body: (this.#body?.() ?? null) as Readable | null,
        headersTimeout: route.timeout,
        bodyTimeout: goOnWithin,
      },
      this,
    )
  }

  #end(why: Error): void {
    this.#ending ??= why
    this.#abort?.(why)
  }

  onConnect(abort: (error?: Error) => void): void {
    this.#abort = abort
    if (this.#ending) abort(this.#ending)
  }

  onHeaders(status: number, answered: Buffer[], resume: () => void, statusText: string): boolean {
    // An early hint is no answer.
    if (status < 200) return true
    const { reply, ownHeaders, caller, watch } = this.#passage
    const client = this.#client
    this.#upstream.answered()
    const headers = answerHeaders(answered, ownHeaders)
    this.#length = Number(headerOf('content-length', headers) ?? -1)
    if (headerOf('content-type', headers)?.startsWith('text/event-stream')) {
      openEventStreams.add(client)
      // A stream lasts longer than the check of its token; its end is an ordinary one, so that clients come back.
      const end = () => {
        client.end()
        this.#end(new Error('the token no longer holds'))
      }
      if (caller) client.once('close', watch.over(caller, end))
    }
    reply.hijack()
    this.#hasBegun = true
    client.writeHead(status, statusText, headers)
    this.#resume = resume
    // If the body did not come together with them, the headers go ahead.
    process.nextTick(flushHeaders, this)
    return true
  }

  flushHeaders(): void {
    if (!this.#isOver && !this.#whole) this.#client.flushHeaders()
  }

  onData(chunk: Buffer): boolean {
    if (chunk.length === this.#length && chunk.length <= small) {
      this.#whole = chunk
      return true
    }
    if (this.#client.write(chunk)) return true
    this.#client.once('drain', this.#resume as () => void)
    return false
  }

  onComplete(trailers: Buffer[] | string[] | null): void {
    this.#isOver = true
    const client = this.#client
    if (trailers?.length) client.addTrailers(pairs(answerHeaders(trailers as Buffer[], [])))
    // In latin1 every byte is one character: as text the body shares one write with the headers.
    if (this.#whole) client.end(this.#whole.toString('latin1'), 'latin1')
    else client.end()
    discardRest(this.#passage.request.raw)
    this.#resolve()
  }

  onError(error: Error): void {
    const { request, reply } = this.#passage
    const reached = this.#abort !== undefined
    // What ends the exchange may be the body: too large, or too slow.
    if (!this.#ending && !(error instanceof Problem)) {
      this.#upstream.failed()
      if (!reached && !this.#isRetry && idempotent.has(request.raw.method as string)) {
        this.#isRetry = true
        this.#upstream = request.route.pick(this.#upstream)
        this.#dispatch()
        return
      }
    }
    this.#isOver = true
    if (!this.#hasBegun && !this.#client.destroyed) {
      this.#reject(explain(this.#ending ?? error))
      return
    }
    reply.hijack()
    // Where an answer has begun, breaking it off is the only way left to say that it is not whole.
    if (!this.#client.writableEnded) this.#client.destroy()
    this.#resolve()
  }
}

const flushHeaders = (exchange: Exchange) => exchange.flushHeaders()

/** A value in a flat list of names in lower case and values. */
function headerOf(name: string, headers: string[]): string | undefined {
  for (let at = 0; at < headers.length; at += 2) if (headers[at] === name) return headers[at + 1]
  return undefined
}

function pairs(flat: string[]): [string, string][] {
  return flat.flatMap((name, at) => (at % 2 === 0 ? [[name, flat[at + 1] as string]] : []))
}

const timeouts = ['UND_ERR_HEADERS_TIMEOUT', 'UND_ERR_BODY_TIMEOUT', 'UND_ERR_CONNECT_TIMEOUT']

function explain(error: Error): Problem {
  if (error instanceof Problem) return error
  const { code } = error as { code?: string }
  if (code !== undefined && timeouts.includes(code))
    return new Problem(504, 'UPSTREAM_TIMEOUT', 'The service did not answer in time', { cause: error })
  return new Problem(502, 'UPSTREAM_UNREACHABLE', 'The service could not be reached', { cause: error })
}
