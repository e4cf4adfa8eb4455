import { type Application, openEventStream } from '@sallyport/chassis'
import type { Guard } from '@sallyport/identity'
import type { Audience, Change } from './audience.ts'

/** How often a quiet stream is written to, so that nothing on the way takes it for dead, in milliseconds. */
const heartbeat = 15_000

/** Bytes that may wait for a reader that takes nothing; beyond them it is left, and may come back. */
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
