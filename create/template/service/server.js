import { fileURLToPath } from 'node:url'
import fastifyStatic from '@fastify/static'
import { requireIdentity, requireRole } from '@sallyport/identity/fastify'
import Fastify from 'fastify'

const { HOST = '127.0.0.1', SERVICE_PORT = '5010', IDENTITY_PUBLIC_KEY } = process.env

// Who is calling says the gateway, in a signed header.
const trust = { verify: true, publicKeys: [IDENTITY_PUBLIC_KEY], audience: 'service' }

const app = Fastify({ logger: true })

app.get('/api/public', async () => ({ hello: 'everyone' }))

app.get('/api/hello', { preHandler: requireIdentity(trust) }, async ({ identity }) => ({
  hello: identity.email ?? identity.userId,
  roles: identity.roles,
}))

app.get('/api/reports', { preHandler: requireRole(['admin'], trust) }, async () => ({ reports: [] }))

// The page, which runs its own files alone.
const connects = process.env.GATEWAY_ORIGIN ?? ''
app.addHook('onRequest', async (_request, reply) => {
  reply.header('content-security-policy', `default-src 'self'; connect-src 'self' ${connects}; frame-ancestors 'none'`)
})
const folderOf = (path) => fileURLToPath(new URL(path, import.meta.url))
app.register(fastifyStatic, { root: folderOf('../page') })
const client = folderOf(new URL('.', import.meta.resolve('@sallyport/client'))) //? own
app.register(fastifyStatic, { root: client, prefix: '/client/', decorateReply: false }) //? own

process.once('SIGTERM', () => app.close().then(() => process.exit()))
await app.listen({ host: HOST, port: Number(SERVICE_PORT) })

// `npm start` waits for this, and ends what it started.
process.once('disconnect', () => process.exit())
process.send?.({ port: app.server.address().port })
