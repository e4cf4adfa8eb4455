import type { Server } from 'node:http'
import type { AddressInfo, Socket } from 'node:net'
import { buildApp as buildAuth } from '@sallyport/auth/app'
import { readConfig as readAuthConfig } from '@sallyport/auth/config'
import { openBreached } from '@sallyport/auth/passwords/breached'
import { createPasswords } from '@sallyport/auth/passwords/passwords'
import { openKeySet } from '@sallyport/auth/tokens/key-set'
import { createLogger } from '@sallyport/chassis'
import { openRateLimitStore } from '@sallyport/chassis/rate-limit'
import { createDatabase, isOutage, waitForDatabase } from '@sallyport/database'
import { buildApp as buildGateway } from '@sallyport/gateway/app'
import { readConfig as readGatewayConfig } from '@sallyport/gateway/config'

/*
 * The gateway and the auth service in the test's own process, built as their server.ts builds them. Starting a process
 * takes a second of CPU; what a process adds (signals, the management port, metrics of its own, memory to look at) is
 * for tests that start one.
 */

type Environment = Record<string, string | undefined>

export interface InProcess {
  port: number
  close: () => Promise<void>
}

/**
 * @param onLine gets every line it logs
 * @param together what counts for it and for others beside it
 */
export async function openGatewayHere(
  environment: Environment,
  onLine: (line: string) => void,
  together?: Parameters<typeof buildGateway>[3],
) {
  const config = readGatewayConfig(environment)
  const logger = loggerOf('gateway', config.logLevel, onLine)
  const { app, forwardAuthPort, onClosing } = await buildGateway(config, environment, logger, together)
  const { port, close } = await listen(app, config)
  return {
    port,
    forwardAuthPort,
    async close() {
      onClosing()
      await close()
    },
  }
}

/** @param onLine gets every line it logs */
export async function openAuthHere(environment: Environment, onLine: (line: string) => void): Promise<InProcess> {
  const config = readAuthConfig(environment)
  const logger = loggerOf('auth', config.logLevel, onLine)
  const breached = await openBreached(config.breachedPasswords)
  const onError = (err: Error) => logger.warn({ event: 'database_connection_lost', err })
  const { forLogins, others } = config.databaseConnections
  const reaching = { onError, pooled: config.databasePooled }
  const database = createDatabase(config.databaseUrl, { ...reaching, connections: others })
  const loginDatabase = createDatabase(config.databaseUrl, { ...reaching, connections: forLogins })
  await waitForDatabase(database, config.databaseWait)
  const keys = openKeySet(() => readAuthConfig(environment), logger)
  const passwords = await createPasswords(breached)
  const rateLimitStore = config.redisUrl === undefined ? undefined : await openRateLimitStore(config.redisUrl, logger)
  const dependencies = { config, database, loginDatabase, isOutage, logger, passwords, keys }
  const app = await buildAuth({ ...dependencies, rateLimitStore })
  const { port, close } = await listen(app, config)
  return {
    port,
    async close() {
      keys.close()
      await close()
      await Promise.all([database.$disconnect(), loginDatabase.$disconnect(), passwords.close()])
    },
  }
}

interface Listener {
  server: Server
  listen: (where: { host: string; port: number }) => Promise<string>
  close: () => Promise<undefined>
}

async function listen(app: Listener, { host, port }: { host: string; port: number }) {
  const sockets = new Set<Socket>()
  app.server.on('connection', (socket: Socket) => {
    sockets.add(socket)
    socket.once('close', () => sockets.delete(socket))
  })
  await app.listen({ host, port })
  return {
    port: (app.server.address() as AddressInfo).port,
    // A process that ends takes its connections along, also those that are opened meanwhile. Otherwise clients keep idle
    // ones for as long as they may, which is a minute.
    async close() {
      const cut = setInterval(() => {
        for (const socket of sockets) socket.destroy()
      }, 10)
      await app.close()
      clearInterval(cut)
    },
  }
}

function loggerOf(name: string, level: string, onLine: (line: string) => void) {
  return createLogger(name, level, { write: (line) => onLine(line.trimEnd()) })
}
