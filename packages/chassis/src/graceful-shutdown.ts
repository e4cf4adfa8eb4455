import closeWithGrace from 'close-with-grace'
import type { Primary, Service, Serving } from './service.ts'

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
  { config, logger, onHangup }: Pick<Service | Primary, 'config' | 'logger' | 'onHangup'>,
  serving: Serving,
  { onDrain, onClosed }: Options,
): () => void {
  let isClosing = false
  const { close } = closeWithGrace(
    { delay: config.shutdownWait + closeTimeout, logger, skip: onHangup ? ['SIGHUP'] : [] },
    async ({ err, signal }) => {
      isClosing = true
      onDrain()
      if (err) logger.fatal({ event: 'crashed', err }, 'an error that nothing handled')
      await serving.close(err ? 0 : config.shutdownWait)
      await onClosed()
      logger.info({ event: 'stopped', signal })
    },
  )
  return () => {
    if (!isClosing) close()
  }
}
