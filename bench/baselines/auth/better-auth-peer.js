import { once } from 'node:events'
import { createServer } from 'node:http'
import { hash, verify } from 'argon2'
import { betterAuth } from 'better-auth'
import { getMigrations } from 'better-auth/db/migration'
import { toNodeHandler } from 'better-auth/node'
import pg from 'pg'

/**
 * better-auth on PostgreSQL as its manual sets it up, with the same password hash as the others and no limit that a bench
 * would meet. /check is a service that looks the session up, /check-cached one with the cookie cache of the manual,
 * which takes the cookie's word for the session until it is older than `maxAge` (five minutes there).
 */
const { DATABASE_URL, USERS, PASSWORD } = process.env
const database = new pg.Pool({ connectionString: DATABASE_URL, max: 10 })
const parameters = { memoryCost: 19_456, timeCost: 2, parallelism: 1 }
const stored = await hash(PASSWORD, parameters)
const options = {
  baseURL: 'http://127.0.0.1',
  secret: 'a secret that protects nothing but this bench: b2N3Y2Vxd2Vy',
  database,
  emailAndPassword: {
    enabled: true,
    password: { hash: async () => stored, verify: (given) => verify(given.hash, given.password) },
  },
  rateLimit: { enabled: false },
  telemetry: { enabled: false },
}
await (await getMigrations(options)).runMigrations()
const plain = betterAuth(options)
// Cookies hold both, so that one session can be checked in either way.
const cached = betterAuth({ ...options, session: { cookieCache: { enabled: true, maxAge: 3600 } } })
for (let number = 0; number < Number(USERS); number++)
  await plain.api.signUpEmail({
    body: { email: `user-${number}@example.com`, name: 'Some Person', password: PASSWORD },
  })
await database.query('DELETE FROM session')

const handle = toNodeHandler(cached)
const services = { '/check': plain, '/check-cached': cached }
const server = createServer(async (request, response) => {
  const auth = services[request.url]
  if (!auth) return handle(request, response)
  const session = await auth.api.getSession({ headers: new Headers({ cookie: request.headers.cookie ?? '' }) })
  if (!session) return response.writeHead(401).end()
  response.setHeader('content-type', 'application/json').end(JSON.stringify({ hello: session.user.id }))
}).listen(0, '127.0.0.1')
await once(server, 'listening')
process.send({ port: server.address().port })
process.on('disconnect', process.exit)
