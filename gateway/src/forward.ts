import { Problem } from '@sallyport/chassis'
import type { Answer } from './answer.ts'
import type { Call } from './call.ts'
import { answerHeaders } from './headers.ts'
import { openEventStreams } from './measure.ts'
import { type Listener, type OutgoingRequest, UpstreamTimeout } from './upstream-connections.ts'
import type { Upstream } from './upstreams.ts'
import type { Watch } from './watch.ts'

/** Bytes of an answer that is sent in one piece with its headers. */
const small = 16_384

/** What may be sent twice, as nothing happens twice (RFC 9110 section 9.2.2). */
const idempotent = new Set(['GET', 'HEAD', 'OPTIONS', 'PUT', 'DELETE'])

/** A call that goes on to an upstream. */
export interface Passage {
  call: Call
  answer: Answer
  /** Names and values in turn, as the upstream gets them. */
  headers: string[]
  /** In latin1 where it is there as a whole. */
  body: OutgoingRequest['body']
  /** Names and values in turn that the answer gets, unless the upstream gives its own. */
  ownHeaders: string[]
  watch: Watch
}

/**
 * Sends a call on and its answer back, both as streams; a slow reader slows the writer down.
 *
 * @throws 413 for a body over the route's limit, 408 for one that does not come; 502 or 504 when the upstream gives no
 *   answer. Once an answer has begun, the only way left to say that it is not whole is to break it off.
 */
export function forward(passage: Passage): Promise<void> {
  return new Promise((resolve, reject) => new Exchange(passage, resolve, reject).start())
}

/** One call with one upstream, or with a second one if the first could not be reached. */
class Exchange implements Listener {
  readonly #passage: Passage
  readonly #resolve: () => void
  readonly #reject: (problem: Problem) => void
  readonly #answer: Answer
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

  constructor(passage: Passage, resolve: () => void, reject: (problem: Problem) => void) {
    this.#passage = passage
    this.#resolve = resolve
    this.#reject = reject
    this.#answer = passage.answer
    this.#upstream = passage.call.route.pick()
  }

  start(): void {
    this.#answer.onClose(() => {
      if (!this.#isOver) this.#end(new Error('the client went away'))
    })
    this.#send()
  }

  #send(): void {
    const { call, headers, body } = this.#passage
    const { method, route, upstreamTarget: path } = call
    this.#upstream.send({ method, path, headers, body, timeout: route.timeout }, this)
  }

  #end(why: Error): void {
    this.#ending ??= why
    this.#abort?.(why)
  }

  onSent(abort: (error: Error) => void): void {
    this.#abort = abort
    if (this.#ending) abort(this.#ending)
  }

  onHead(status: number, statusText: string, answered: string[], resume: () => void): void {
    const { call, ownHeaders, watch } = this.#passage
    const answer = this.#answer
    this.#upstream.answered()
    const headers = answerHeaders(answered, ownHeaders, status)
    this.#length = Number(headerOf('content-length', headers) ?? -1)
    if (headerOf('content-type', headers)?.startsWith('text/event-stream')) {
      openEventStreams.add(call)
      // A stream lasts longer than the check of its token; its end is an ordinary one, so that clients come back.
      const end = () => {
        answer.end()
        this.#end(new Error('the token no longer holds'))
      }
      if (call.caller) answer.onClose(watch.over(call.caller, end))
    }
    this.#hasBegun = true
    answer.begin(status, statusText, headers)
    this.#resume = resume
  }

  /** The headers go ahead. */
  onPause(): void {
    if (!this.#isOver && !this.#whole && this.#answer.isOpen) this.#answer.flush()
  }

  onData(chunk: Buffer): boolean {
    if (chunk.length === this.#length && chunk.length <= small) {
      this.#whole = chunk
      return true
    }
    return this.#answer.write(chunk, this.#resume as () => void)
  }

  onEnd(trailers: string[]): void {
    this.#isOver = true
    this.#answer.end(this.#whole, trailers.length > 0 ? answerHeaders(trailers, []) : undefined)
    this.#resolve()
  }

  onFailure(error: Error): void {
    const { call } = this.#passage
    const reached = this.#abort !== undefined
    // What ends the exchange may be the body: too large, or too slow.
    if (!this.#ending && !(error instanceof Problem)) {
      this.#upstream.failed()
      if (!reached && !this.#isRetry && idempotent.has(call.method)) {
        this.#isRetry = true
        this.#upstream = call.route.pick(this.#upstream)
        this.#send()
        return
      }
    }
    this.#isOver = true
    if (!this.#hasBegun && this.#answer.isOpen) {
      this.#reject(explain(this.#ending ?? error))
      return
    }
    if (this.#answer.isOpen) this.#answer.cut()
    this.#resolve()
  }
}

/** A value in a flat list of names in lower case and values. */
function headerOf(name: string, headers: string[]): string | undefined {
  for (let at = 0; at < headers.length; at += 2) if (headers[at] === name) return headers[at + 1]
  return undefined
}

function explain(error: Error): Problem {
  if (error instanceof Problem) return error
  if (error instanceof UpstreamTimeout)
    return new Problem(504, 'UPSTREAM_TIMEOUT', 'The service did not answer in time', { cause: error })
  return new Problem(502, 'UPSTREAM_UNREACHABLE', 'The service could not be reached', { cause: error })
}
