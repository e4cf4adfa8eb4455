/** A request to an upstream. */
export interface UpstreamRequest {
  method: string
  /** Path and query, as they are sent. */
  path: string
  /** Names and values in a flat list, without hop-by-hop headers; Host comes first, if it is not the upstream's own. */
  headers: string[]
  /**
   * A complete body in latin1, empty if there is none; or one still to be received, which has the length that the headers
   * say, or is sent in chunks if they say none.
   */
  body: string | AsyncIterable<Buffer>
  /** Milliseconds for the response to begin, those in the queue among them. */
  timeout: number
  /** Whose request it is, by whatever name; each may have a share of the connections. */
  client: string
  /** The route that it came by. */
  route: RouteBounds
}

/** What the requests of one route may have of an upstream, where that is less than what all may have together. */
export interface RouteBounds {
  name: string
  /** The most that are sent at once, that wait, and for how many milliseconds. */
  connections?: number
  queue?: number
  queueTimeout?: number
}

/** The connection that a request is sent on, as its listener uses it. Each call counts only while the request is served. */
export interface Connection {
  abort(listener: Listener): void
  /** Lets the response go on once the listener can take more. */
  resume(listener: Listener): void
  /** The response is a long-lived stream: it no longer takes an ordinary request's place. */
  release(listener: Listener): void
}

/** Is notified of what becomes of a request, and of its response as it is received. */
export interface Listener {
  /** The request waits for a connection. `leave` takes it out of the queue. */
  onWait(leave: () => void): void
  /** The request is being written: from now on it may have an effect. */
  onSent(connection: Connection): void
  /** An informational response (1xx) ahead of the one that counts. */
  onInformation(status: number, statusText: string, headers: string[]): void
  onHead(status: number, statusText: string, headers: string[]): void
  /** What came together with the head is over, and more is to come. */
  onPause(): void
  /** @returns whether more can be taken at once; if not, `resume` lets the response go on */
  onData(chunk: Buffer): boolean
  onEnd(trailers: string[]): void
  onFailure(error: Error): void
}

/** An upstream timed out: connecting, beginning its response, or going on with it. */
export class UpstreamTimeout extends Error {}

/**
 * A connection that was used before was closed before anything of a response came. Most likely the upstream did not keep
 * it any longer, just as the request was sent.
 */
export class StaleConnection extends Error {}
