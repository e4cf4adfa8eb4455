import type { EventEmitter } from 'node:events'
import type { Logger } from '@sallyport/chassis'
import { Counter } from 'prom-client'

const contained = new Counter({
  name: 'sallyport_contained_errors_total',
  help: 'Errors thrown while an event of a connection was handled; each ended its own connection and nothing else',
})
contained.inc(0)

/**
 * Keeps what is thrown in an event of a connection from ending the process: it ends that connection alone, once all
 * listeners to the event were notified, so that what they hold is let go.
 *
 * Node has no other place for it than the whole process (`uncaughtException`), which no longer knows whose event it
 * was. It covers what listeners throw while they run, of whatever event, also of listeners that are added later; it
 * does not cover rejected promises or timers.
 *
 * @param emitter a socket, or a request or response on it
 * @param end ends the connection; it gets what was thrown, for the log
 */
export function contain(emitter: EventEmitter, end: (error: unknown) => void): void {
  emitter.emit = (event, ...values) => {
    // Node's own order: those who listen as the event comes.
    const listeners = emitter.rawListeners(event)
    for (const listener of listeners)
      try {
        listener.apply(emitter, values)
      } catch (error) {
        contained.inc()
        end(error)
      }
    return listeners.length > 0
  }
}

/** The same for a response that could not be written: it ends the connection of its request. */
export function endConnection(connection: { destroy(): void }, err: unknown, logger: Logger): void {
  contained.inc()
  logger.error({ event: 'connection_ended', err }, 'no response could be written to a request')
  connection.destroy()
}
