import type { WebsocketHandler } from '@fastify/websocket'
import { type Application, Problem } from '@sallyport/chassis'
import type { Guard } from '@sallyport/identity/fastify'
import type { Audience } from './audience.ts'

/** Bytes that may wait for a slow reader. Beyond them nothing more is taken from it, and one that takes no changes is left. */
const mostWaiting = 1024 * 1024

/** Changes over a WebSocket, which also says who is connected and echoes what it is sent. */
export function webSocketRoute(
  app: Application,
  { audience, signedIn }: { audience: Audience; signedIn: Guard },
): void {
  const wsHandler: WebsocketHandler = (socket, { identity }) => {
    const send = (message: object) => {
      socket.send(JSON.stringify(message), () => {
        if (socket.bufferedAmount === 0) socket.resume()
      })
      if (socket.bufferedAmount > mostWaiting) socket.pause()
    }
    const user = { id: identity.userId, email: identity.email, roles: identity.roles }
    send({ type: 'welcome', user })
    const leave = audience.join({
      identity,
      send: (change) => {
        if (socket.bufferedAmount > mostWaiting) socket.terminate()
        else send({ type: 'appointment', ...change })
      },
      // 1001: going away (RFC 6455 section 7.4.1), so clients connect again.
      end: () => socket.close(1001, 'closing'),
    })
    socket.on('message', (data) => send({ type: 'echo', user, message: data.toString() }))
    socket.once('close', leave)
  }
  const handler = async () => {
    throw new Problem(426, 'UPGRADE_REQUIRED', 'This is a WebSocket', { headers: { upgrade: 'websocket' } })
  }
  app.route({ method: 'GET', url: '/api/notifications/ws', preHandler: signedIn, handler, wsHandler })
}
