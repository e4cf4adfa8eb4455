import { setTimeout as sleep } from 'node:timers/promises'
import closeWithGrace from 'close-with-grace'
import type { Service } from './service.ts'

/** How long a process may take to finish what it began once it takes no more connections, in milliseconds. */
const closeTimeout = 4_500

interface Options {
  /** Called first: from here on the process is not ready. */
  onDrain: () => void
  /** Closes the rest, once every request has its response. */
  onClosed: () => Promise<void>
}

/**
 * Graceful shutdown. On SIGTERM or SIGINT the process is no longer ready, serves on until load balancers have seen
 * that, takes no more connections, finishes the requests in flight and exits with 0; after an unhandled error it does
 * the same, without waiting for load balancers, and exits with 1. A second signal ends it at once.
 *
 * @returns how to end it without a signal
 */
export function shutDownGracefully(
  { app, config, logger, onHangup, onClosing }: Service,
  { onDrain, onClosed }: Options,
): () => void {
  const { close } = closeWithGrace(
    { delay: config.shutdownWait + closeTimeout, logger, skip: onHangup ? ['SIGHUP'] : [] },
    async ({ err, signal }) => {
      onDrain()
      if (err) logger.fatal({ event: 'crashed', err }, 'an error that nothing handled')
      onClosing?.()
      // From here each response ends its connection, so that the client's next one goes to another process.
      app.server.prependListener('request', (_request, response) => {
        response.shouldKeepAlive = false
      })
      if (!err) await sleep(config.shutdownWait)
      // A connection whose request ends after this point would stay open, waiting for the next one.
      const sweep = setInterval(() => app.server.closeIdleConnections(), 50)
      await app.close()
      clearInterval(sweep)
      await onClosed()
      logger.info({ event: 'stopped', signal })
    },
  )
  return close
}
