import websocket from '@fastify/websocket'
import { createApplication, type Logger, ownCallers } from '@sallyport/chassis'
import { listen } from '@sallyport/database'
import { createServiceClient } from '@sallyport/identity'
import { requireIdentity } from '@sallyport/identity/fastify'
import { createAudience } from './audience.ts'
import type { Config } from './config.ts'
import { streamRoute } from './stream.ts'
import { upcomingRoute } from './upcoming.ts'
import { webSocketRoute } from './web-socket.ts'

/**
 * The sample for long-lived connections: changes of appointments, as they happen, to those they concern. And of a service
 * that calls another, on behalf of whoever called it.
 */
export async function buildApp({ config, logger }: { config: Config; logger: Logger }) {
  const app = createApplication({ ...config, logger, bodyLimit: 1024 })
  const audience = createAudience()
  const listener = listen(config.databaseUrl, 'sallyport_appointments', {
    onMessage: (message) => audience.tell(JSON.parse(message)),
    // Clients of a sample can bear to miss a change; what they see next is read from the database.
    onDisconnect: () => logger.warn({ event: 'appointment_channel_away' }),
    onError: (err) => logger.warn({ event: 'appointment_channel_lost', err }),
  })
  app.addHook('preClose', async () => {
    audience.dismiss()
    await listener.close()
  })
  await app.register(websocket, { options: { maxPayload: 16 * 1024 } })

  const signedIn = ownCallers(requireIdentity(config.trust))
  streamRoute(app, { audience, signedIn })
  webSocketRoute(app, { audience, signedIn })
  upcomingRoute(app, { client: config.serviceAccount && createServiceClient(config.serviceAccount), signedIn })
  const ready = async () => {
    if (!listener.connected) throw new Error('the database does not answer')
  }
  return { app, ready }
}
