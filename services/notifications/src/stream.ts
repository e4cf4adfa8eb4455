import { type Application, openEventStream } from '@sallyport/chassis'
import type { Guard } from '@sallyport/identity/fastify'
import type { Audience, Change } from './audience.ts'

/** How often a quiet stream is written to, so that no proxy takes it for dead, in milliseconds. */
const heartbeat = 15_000

/** Bytes that may wait for a client that does not read; beyond them its connection is cut, and it may connect again. */
const mostWaiting = 1024 * 1024

interface Events {
  welcome: { user: string }
  appointment: Change
}

/** Changes as server-sent events. */
export function streamRoute(app: Application, { audience, signedIn }: { audience: Audience; signedIn: Guard }): void {
  app.get('/api/notifications/stream', { preHandler: signedIn }, async ({ identity }, reply) => {
    const stream = openEventStream<Events>(reply, { mostWaiting })
    stream.send('welcome', { user: identity.userId })
    const leave = audience.join({ identity, send: (change) => stream.send('appointment', change), end: stream.end })
    const beat = setInterval(stream.keepAlive, heartbeat)
    stream.onClose(() => {
      clearInterval(beat)
      leave()
    })
  })
}
