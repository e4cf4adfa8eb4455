import type { AddressInfo } from 'node:net'
import { setTimeout as sleep } from 'node:timers/promises'
import type { FastifyInstance } from 'fastify'
import type { Serving } from './service.ts'
import { ConfigurationError } from './settings.ts'

interface Options {
  app: FastifyInstance
  host: string
  port: number
  /** The variable that sets the port. */
  variable: string
  onClosing?: (() => void) | undefined
}

/** Serves a Fastify application. `listen` throws ConfigurationError where it cannot. */
export function serveApplication({ app, host, port, variable, onClosing }: Options): Serving {
  return {
    async listen() {
      try {
        await app.listen({ host, port })
      } catch (error) {
        const taken = (error as { code?: string }).code === 'EADDRINUSE'
        throw new ConfigurationError(
          taken
            ? `port ${port} is taken; set ${variable} to a free one, or stop what listens there`
            : `cannot listen on ${host} port ${port} (${(error as Error).message}); correct HOST or ${variable}`,
        )
      }
      return (app.server.address() as AddressInfo).port
    },

    async close(wait) {
      onClosing?.()
      // From here each response ends its connection, so that the client's next one goes to another process.
      app.server.prependListener('request', (_request, response) => {
        response.shouldKeepAlive = false
      })
      await sleep(wait)
      // A connection whose request ends after this point would stay open, waiting for the next one.
      const sweep = setInterval(() => app.server.closeIdleConnections(), 50)
      await app.close()
      clearInterval(sweep)
    },
  }
}
