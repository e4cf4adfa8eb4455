import { once } from 'node:events'
import { setTimeout as sleep } from 'node:timers/promises'
import { demoPassword } from '@sallyport/database'
import { endChild, installBaselines, startBaseline } from './auth-servers.ts'
import type { Device, DeviceResponse } from './device.ts'
import { startMailingSystem } from './mailing-system.ts'
import type { Smtp } from './smtp.ts'

/** What became of a login: refused by a limit per client, or as a wrong password is. */
export type Login = 'in' | 'limited' | 'refused'

/** A system with people who sign in by e-mail and password, all with `demoPassword`. */
export interface Target {
  name: string
  logIn(device: Device, email: string, password: string): Promise<Login>
  /** Whether a device that signed in is still signed in. */
  isSignedIn(device: Device): Promise<boolean>
  /** Asks for a mail, opens it, and chooses a password. @returns whether it was taken */
  resetByMail(device: Device, email: string, password: string): Promise<boolean>
  /** How many wrong passwords were compared with that of the account so far. */
  evaluated(email: string): Promise<number>
}

const origin = 'https://app.example.com'

/** Both on one PostgreSQL and with one SMTP server, and each with these people. */
export async function startTargets(people: string[]): Promise<{ targets: Target[]; stop(): Promise<void> }> {
  // Every limit per client as by default, as with the other.
  const limits = { LOGIN_RATE_LIMIT_MAX: '60', RATE_LIMIT_MAX: '1000', USER_RATE_LIMIT_MAX: '1000' }
  const system = await startMailingSystem({ ...limits, CORS_ORIGINS: origin })
  const { owner, smtp } = system
  await owner.query(
    `INSERT INTO auth.users (id, email, name, roles, password_hash)
     SELECT gen_random_uuid(), address, 'Some Person', '{patient}', (SELECT password_hash FROM auth.users LIMIT 1)
     FROM unnest($1::text[]) address`,
    [people],
  )
  const ours: Target = {
    name: 'Sallyport',
    logIn: (device, email, password) =>
      logIn(() => device.call('POST', `${system.address}/api/auth/login`, origin, { email, password })),
    isSignedIn: async (device) =>
      (await device.call('POST', `${system.address}/api/auth/refresh`, origin)).status === 200,
    async resetByMail(device, email, password) {
      await device.call('POST', `${system.address}/api/auth/password/forgot`, origin, { email })
      const ticket = await fromMail(smtp, email, /#ticket=([\w-]{43})/)
      const reset = { ticket, password }
      return (
        (await patiently(() => device.call('POST', `${system.address}/api/auth/password/reset`, origin, reset)))
          .status === 200
      )
    },
    // What was not compared has another reason.
    async evaluated(email) {
      const { rows } = await owner.query(
        `SELECT count(*)::int AS count FROM auth.security_events e JOIN auth.users u ON u.id = e.user_id
         WHERE u.email = $1 AND e.event = 'login_failed' AND e.reason = 'wrong password'`,
        [email],
      )
      return rows[0].count
    },
  }

  installBaselines()
  await owner.query('CREATE DATABASE better_auth')
  const child = startBaseline('better-auth-guessing', {
    ORIGIN: origin,
    DATABASE_URL: system.postgresUrl.replace(/sallyport$/, 'better_auth'),
    SMTP_PORT: String(smtp.port),
    PEOPLE: JSON.stringify(people),
    PASSWORD: demoPassword,
  })
  const [{ port }] = (await once(child, 'message')) as [{ port: number }]
  const theirs = `http://127.0.0.1:${port}/api/auth`
  const betterAuth: Target = {
    name: 'better-auth',
    logIn: (device, email, password) =>
      logIn(() => device.call('POST', `${theirs}/sign-in/email`, origin, { email, password })),
    isSignedIn: async (device) => (await device.call('GET', `${theirs}/get-session`, origin)).body !== 'null',
    async resetByMail(device, email, newPassword) {
      await device.call('POST', `${theirs}/request-password-reset`, origin, { email, redirectTo: `${origin}/reset` })
      const token = await fromMail(smtp, email, /reset-password\/(\w+)/)
      return (await device.call('POST', `${theirs}/reset-password`, origin, { newPassword, token })).status === 200
    },
    async evaluated() {
      child.send('how many')
      const [{ wrong }] = (await once(child, 'message')) as [{ wrong: number }]
      return wrong
    },
  }

  return {
    targets: [ours, betterAuth],
    async stop() {
      await endChild(child)
      await system.stop()
    },
  }
}

/** Tries again while load is shed, which says nothing of the password. */
async function patiently(request: () => Promise<DeviceResponse>): Promise<DeviceResponse> {
  for (;;) {
    const response = await request()
    if (response.status !== 503) return response
    await sleep(200)
  }
}

async function logIn(request: () => Promise<DeviceResponse>): Promise<Login> {
  const { status, body } = await patiently(request)
  if (status === 200) return 'in'
  if (status === 429) return 'limited'
  if (status === 401) return 'refused'
  throw new Error(`a login got ${status} ${body}`)
}

/** What the first mail with such a thing in it has. */
async function fromMail(smtp: Smtp, to: string, pattern: RegExp): Promise<string> {
  for (;;) {
    const [, found] = pattern.exec((await smtp.next(to)).text) ?? []
    if (found) return found
  }
}
