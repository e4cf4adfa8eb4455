import { once } from 'node:events'
import { createServer } from 'node:http'
import { betterAuth } from 'better-auth'
import { getMigrations } from 'better-auth/db/migration'
import { toNodeHandler } from 'better-auth/node'
import pg from 'pg'

/** better-auth's session check as its manual shows it, on PostgreSQL; no limit that a bench would meet. */
const options = {
  baseURL: 'http://127.0.0.1',
  secret: 'a secret that protects nothing but this bench: b2N3Y2Vxd2Vy',
  database: new pg.Pool({ connectionString: process.env.DATABASE_URL, max: 10 }),
  emailAndPassword: { enabled: true },
  rateLimit: { enabled: false },
  telemetry: { enabled: false },
}
await (await getMigrations(options)).runMigrations()
const auth = betterAuth(options)
const cookies = await Promise.all(
  Array.from({ length: 20 }, async (_, index) => {
    const { headers } = await auth.api.signUpEmail({
      body: { email: `person${index}@example.com`, name: 'Some Person', password: 'correct-horse-battery-staple' },
      returnHeaders: true,
    })
    return headers.get('set-cookie').split(';', 1)[0]
  }),
)
const server = createServer(toNodeHandler(auth)).listen(0, '127.0.0.1')
await once(server, 'listening')
process.send({ port: server.address().port, cookies })
process.on('disconnect', process.exit)
