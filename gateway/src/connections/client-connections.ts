import type { Server } from 'node:http'
import type { Socket } from 'node:net'
import type { Logger } from '@sallyport/chassis'
import { countLimit } from '../limits.ts'
import type { IsTrusted } from '../pipeline/request-context.ts'
import type { Counts } from '../workers/open-counts.ts'
import { contain } from './contain.ts'
import { openPerClient } from './open-per-client.ts'

/** Bytes that are read from a connection beyond the request or the upgrade that is being served. */
export const maxReadAhead = 65_536

interface Options {
  /** Connections of one client at once; those of proxies that we trust are not counted, as they are of many clients. */
  connectionsPerClient: number
  counts: Counts
  isTrusted: IsTrusted
  logger: Logger
}

/** Takes a connection in. `peer` is the address at the other end. */
export type Serve = (socket: Socket, peer: string) => void

/**
 * Stands before a server that does not listen yet, and owns every connection for all of its life, whichever server reads
 * it: there is always a listener for its errors, what is thrown in its events ends it alone, and it is counted.
 */
export function ownConnections(server: Server, { connectionsPerClient, counts, isTrusted, logger }: Options) {
  const [serveByNode] = server.listeners('connection') as [(socket: Socket) => void]
  server.removeAllListeners('connection')
  const noteOpen = openPerClient('connection', connectionsPerClient, counts)
  const byNode = new Set<Socket>()

  return {
    /** The connections that Node's own server reads. */
    byNode: byNode as ReadonlySet<Socket>,

    /** Gives a connection to Node's own server, with what came on it and was not read. */
    serveByNode: (socket: Socket, received?: Buffer): void => {
      serveByNode.call(server, socket)
      if (!byNode.has(socket)) socket.once('close', () => byNode.delete(socket))
      byNode.add(socket)
      if (!received) return
      socket.unshift(received)
      socket.resume()
    },

    /** From now on `serve` gets every connection. */
    begin(serve: Serve): void {
      server.on('connection', async (socket: Socket) => {
        socket.on('error', (err) => logger.debug({ event: 'socket_failed', err }))
        contain(socket, (err) => {
          logger.error({ event: 'connection_ended', err }, 'an error in an event of a connection')
          socket.destroy()
        })
        const peer = socket.remoteAddress
        // It was reset before we came to it.
        if (peer === undefined) socket.destroy()
        else if (!isTrusted(peer) && !(await noteOpen(peer, socket))) {
          countLimit('connections_per_client')
          socket.destroy()
        } else if (!socket.destroyed) serve(socket, peer)
      })
    },
  }
}
