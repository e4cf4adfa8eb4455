import { createLogger } from '@sallyport/chassis'
import { parseRequest } from '@sallyport/gateway/http1/parser'
import type { Listener, UpstreamRequest } from '@sallyport/gateway/http1/upstream-request'
import { normalise } from '@sallyport/gateway/pipeline/path'
import { UpstreamClient } from '@sallyport/gateway/proxy/upstream-client'

/* The parts of the gateway that `readers` compares with Node's: all that these programs know of its insides. */

export interface ReadRequest {
  method: string
  url: string
  /** Names and values in a flat list. */
  headers: string[]
  /** In latin1. */
  body: string
  length: number
}

/** What the fast path takes. @returns undefined for what it leaves to Node */
export function readRequest(piece: Buffer): ReadRequest | undefined {
  const parsed = parseRequest(piece)
  if (typeof parsed === 'string') return undefined
  // The path is looked at next, so it is timed with the rest.
  normalise(parsed.url)
  const { method, url, rawHeaders: headers, body, length } = parsed
  return { method, url, headers, body, length }
}

export interface ReadResponse {
  status: number
  statusText: string
  headers: string[]
  body: string
  trailers: string[]
}

/** The connections to one upstream, each of their timeouts in milliseconds. */
export function openConnections(origin: string, timeout: number) {
  const connections = new UpstreamClient(origin, createLogger('readers', 'silent'), {
    connectTimeout: timeout,
    idleTimeout: timeout,
    keepAliveTimeout: timeout,
  })
  return {
    /** @returns an Error for a response that is rejected */
    read(method: string, path: string): Promise<ReadResponse | Error> {
      return new Promise((resolve) => {
        const read: ReadResponse = { status: 0, statusText: '', headers: [], body: '', trailers: [] }
        const request: UpstreamRequest = {
          method,
          path,
          headers: [],
          body: '',
          timeout,
          client: 'readers',
          route: { name: '/' },
        }
        const listener: Listener = {
          onWait() {},
          onSent() {},
          onInformation() {},
          onHead: (status, statusText, headers) => Object.assign(read, { status, statusText, headers }),
          onPause() {},
          onData(chunk) {
            read.body += chunk.toString('latin1')
            return true
          },
          onEnd: (trailers) => resolve({ ...read, trailers }),
          onFailure: resolve,
        }
        connections.send(request, listener)
      })
    },
    close: () => connections.close(),
  }
}
