import type { OutgoingHttpHeaders } from 'node:http'
import type { FastifyReply } from 'fastify'

export interface EventStream<Events> {
  /** Sends an event by its name, with data that becomes JSON. */
  send<Name extends keyof Events & string>(name: Name, data: Events[Name]): void
  /** Sends a comment, which clients pass over, so that no proxy takes a quiet connection for a dead one. */
  keepAlive(): void
  end(): void
  /** Calls back when the connection is closed; at once if it is already. */
  onClose(listener: () => void): void
}

interface Options {
  /** Bytes that may wait for a client that does not read; beyond them its connection is cut. No limit if not given. */
  mostWaiting?: number
}

/**
 * A response of server-sent events (WHATWG HTML, section 9.2), with the headers that the reply has. It begins with what is
 * sent first: an error before that gets a response as any other does.
 *
 * @typeParam Events the data of each event, by its name
 */
export function openEventStream<Events>(
  reply: FastifyReply,
  { mostWaiting = Number.POSITIVE_INFINITY }: Options = {},
): EventStream<Events> {
  const { raw } = reply
  function write(text: string): void {
    if (!raw.headersSent) {
      reply.hijack()
      const headers = { ...reply.getHeaders(), 'content-type': 'text/event-stream', 'cache-control': 'no-store' }
      raw.writeHead(200, headers as OutgoingHttpHeaders)
    }
    if (raw.writableLength > mostWaiting) raw.destroy()
    else raw.write(text)
  }
  return {
    send: (name, data) => write(`event: ${name}\ndata: ${JSON.stringify(data)}\n\n`),
    keepAlive: () => write(': alive\n\n'),
    end: () => raw.end(),
    onClose(listener) {
      if (raw.destroyed) listener()
      else raw.once('close', listener)
    },
  }
}
