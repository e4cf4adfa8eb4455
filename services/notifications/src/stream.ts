import type { Application } from '@sallyport/chassis'
import type { Guard } from '@sallyport/identity'
import type { Audience } from './audience.ts'

/** How often a quiet stream is written to, so that nothing on the way takes it for dead, in milliseconds. */
const heartbeat = 15_000

/** Bytes that may wait for a reader that takes nothing; beyond them it is left, and may come back. */
const mostWaiting = 1024 * 1024

/** Changes as server-sent events. */
export function streamRoute(app: Application, { audience, signedIn }: { audience: Audience; signedIn: Guard }): void {
  app.get('/api/notifications/stream', { preHandler: signedIn }, async ({ identity }, reply) => {
    reply.hijack()
    const { raw } = reply
    raw.writeHead(200, {
      ...reply.getHeaders(),
      'content-type': 'text/event-stream',
      'cache-control': 'no-store',
    } as never)
    raw.write(`event: welcome\ndata: ${JSON.stringify({ user: identity.userId })}\n\n`)
    const leave = audience.join({
      identity,
      send: (change) => {
        if (raw.writableLength > mostWaiting) raw.destroy()
        else raw.write(`event: appointment\ndata: ${JSON.stringify(change)}\n\n`)
      },
      end: () => raw.end(),
    })
    const beat = setInterval(() => raw.write(': alive\n\n'), heartbeat)
    raw.once('close', () => {
      clearInterval(beat)
      leave()
    })
  })
}
