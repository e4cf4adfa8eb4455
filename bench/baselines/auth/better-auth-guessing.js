import { once } from 'node:events'
import { createServer } from 'node:http'
import { betterAuth } from 'better-auth'
import { verifyPassword } from 'better-auth/crypto'
import { getMigrations } from 'better-auth/db/migration'
import { toNodeHandler } from 'better-auth/node'
import { createTransport } from 'nodemailer'
import pg from 'pg'

/**
 * better-auth as its manual sets it up for production: e-mail and password with the default hash (scrypt), reset by mail,
 * and its limits, which NODE_ENV=production turns on: 3 sign-ins in 10 seconds per client address. Its manual has no
 * limit per account; plugins that ask others (captcha) are left out. What is set beside the defaults:
 */
const { ORIGIN, SMTP_PORT, DATABASE_URL, PEOPLE, PASSWORD } = process.env
const transport = createTransport({ host: '127.0.0.1', port: Number(SMTP_PORT), ignoreTLS: true })
let wrong = 0
const options = {
  baseURL: ORIGIN,
  secret: 'a secret that protects nothing but this bench: b2N3Y2Vxd2Vy',
  database: new pg.Pool({ connectionString: DATABASE_URL, max: 10 }),
  // As by default, and said so: the limits are the subject.
  rateLimit: { enabled: true },
  // What the proxy in front of it sets, and clients cannot.
  advanced: { ipAddress: { ipAddressHeaders: ['x-forwarded-for'] } },
  emailAndPassword: {
    enabled: true,
    // Not awaited, as the manual advises: its time would say who has an account.
    sendResetPassword: async ({ user, url }) =>
      void transport.sendMail({
        from: 'no-reply@example.com',
        to: user.email,
        subject: 'Reset your password',
        text: url,
      }),
    // The default, and counted.
    password: {
      async verify(given) {
        const isRight = await verifyPassword(given)
        if (!isRight) wrong += 1
        return isRight
      },
    },
  },
  telemetry: { enabled: false },
  logger: { level: 'error' },
}
await (await getMigrations(options)).runMigrations()
const auth = betterAuth(options)
for (const email of JSON.parse(PEOPLE))
  await auth.api.signUpEmail({ body: { email, name: 'Some Person', password: PASSWORD } })
const server = createServer(toNodeHandler(auth)).listen(0, '127.0.0.1')
await once(server, 'listening')
process.on('message', () => process.send({ wrong }))
process.on('disconnect', process.exit)
process.send({ port: server.address().port })
