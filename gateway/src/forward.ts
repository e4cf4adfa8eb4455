import { once } from 'node:events'
import { Problem } from '@sallyport/chassis'
import type { FastifyReply, FastifyRequest } from 'fastify'
import { Agent, type Dispatcher } from 'undici'
import { meteredBody } from './body.ts'
import { connectionNames, isForClient } from './headers.ts'
import type { Caller } from './verify.ts'
import type { Watch } from './watch.ts'

/** Milliseconds: to connect to an upstream, and for a body that has begun to go on. */
const connectWithin = 3_000
const goOnWithin = 300_000

/** Connections kept to each upstream. */
const connections = 128

/** Sends requests on and answers back, both as streams; a slow reader slows the writer down. */
export function createForwarder(watch: Watch) {
  const agent = new Agent({ connections, pipelining: 1, connect: { timeout: connectWithin } })

  /**
   * @param headers names and values in turn, as the upstream gets them
   * @throws 413 for a body over the route's limit; 502 or 504 when the upstream gives no answer
   */
  function forward(
    request: FastifyRequest,
    reply: FastifyReply,
    headers: string[],
    caller: Caller | undefined,
  ): Promise<FastifyReply> {
    const { raw, route, target } = request
    const tooLarge = () => new Problem(413, 'BODY_TOO_LARGE', 'The body is too large')
    if (Number(raw.headers['content-length'] ?? 0) > route.bodyLimit) throw tooLarge()

    return new Promise((resolve, reject) => {
      const body = hasBody(request) ? meteredBody(raw, route.bodyLimit, tooLarge) : null
      const options = {
        origin: route.pick(),
        path: target.path + target.query,
        method: raw.method as Dispatcher.HttpMethod,
        headers,
        body,
        headersTimeout: route.timeout,
        bodyTimeout: goOnWithin,
      }
      const client = reply.raw
      let abandon: (() => void) | undefined

      agent.dispatch(options, {
        onRequestStart(controller) {
          abandon = () => {
            if (!client.writableFinished) controller.abort(new Error('the client went away'))
          }
          client.once('close', abandon)
        },
        onResponseStart(controller, status, answered, statusText) {
          if (status < 200) return
          if (caller && String(answered['content-type']).startsWith('text/event-stream')) {
            // A stream lasts longer than the check of its token; its end is an ordinary one, so that clients come back.
            const end = () => {
              client.end()
              controller.abort(new Error('the token no longer holds'))
            }
            client.once('close', watch.over(caller, end))
          }
          reply.hijack()
          client.writeHead(status, statusText as string, answerHeaders(reply, controller.rawHeaders as Buffer[]))
        },
        onResponseData(controller, chunk) {
          if (client.write(chunk)) return
          controller.pause()
          once(client, 'drain').then(
            () => controller.resume(),
            () => {},
          )
        },
        onResponseEnd() {
          client.off('close', abandon as () => void)
          client.end()
          resolve(reply)
        },
        onResponseError(_controller, error) {
          if (abandon) client.off('close', abandon)
          body?.destroy()
          if (!client.headersSent) return reject(explain(error))
          if (client.writableEnded) return resolve(reply)
          // The answer has begun, so the only way left to say that it is not whole is to break it off.
          client.destroy()
          resolve(reply)
        },
      })
    })
  }

  return { forward, close: () => agent.close() }
}

function hasBody({ raw }: FastifyRequest): boolean {
  return raw.headers['transfer-encoding'] !== undefined || Number(raw.headers['content-length'] ?? 0) > 0
}

/** The upstream's headers and our own; where both speak, the upstream knows its answer better. */
function answerHeaders(reply: FastifyReply, rawHeaders: Buffer[]): string[] {
  const headers: string[] = []
  const seen = new Set<string>()
  const upstream = rawHeaders.map((value) => value.toString('latin1'))
  const connection = upstream.findIndex((value, at) => at % 2 === 0 && value.toLowerCase() === 'connection')
  const named = connection === -1 ? undefined : connectionNames(upstream[connection + 1])
  for (let at = 0; at < upstream.length; at += 2) {
    const name = (upstream[at] as string).toLowerCase()
    if (!isForClient(name, named)) continue
    seen.add(name)
    headers.push(name, upstream[at + 1] as string)
  }
  for (const [name, value] of Object.entries(reply.getHeaders()))
    if (name === 'vary' || name === 'x-request-id' || !seen.has(name)) headers.push(name, String(value))
  return headers
}

const timeouts = ['UND_ERR_HEADERS_TIMEOUT', 'UND_ERR_BODY_TIMEOUT', 'UND_ERR_CONNECT_TIMEOUT']

function explain(error: Error): Problem {
  if (error instanceof Problem) return error
  const { code } = error as { code?: string }
  if (code !== undefined && timeouts.includes(code))
    return new Problem(504, 'UPSTREAM_TIMEOUT', 'The service did not answer in time', { cause: error })
  return new Problem(502, 'UPSTREAM_UNREACHABLE', 'The service could not be reached', { cause: error })
}
