import { generateKeyPairSync, randomBytes } from 'node:crypto'
import t from 'tap'
import { readConfig } from './config.ts'

const required = {
  DATABASE_URL: 'postgresql://auth@localhost/sallyport',
  JWT_ISSUER: 'https://issuer.test',
  JWT_AUDIENCE: 'https://api.test',
  JWT_PRIVATE_KEY: generateKeyPairSync('ec', { namedCurve: 'P-256' }).privateKey.export({
    type: 'pkcs8',
    format: 'pem',
  }) as string,
  JWT_REFRESH_SECRET: randomBytes(48).toString('base64'),
  FACTOR_KEY: randomBytes(48).toString('base64'),
}
const mail = {
  SMTP_URL: 'smtp://localhost:25',
  MAIL_FROM: 'no-reply@example.com',
  APP_ORIGIN: 'https://app.example.com',
}

/** The lines of what does not start. */
function problemsOf(settings: Record<string, string>): string[] {
  try {
    readConfig({ ...required, ...settings })
    return []
  } catch (error) {
    return (error as Error).message.split('\n')
  }
}

t.test('who may register is by invitation, unless it is said otherwise', async (t) => {
  t.strictSame(readConfig(required).registration, { kind: 'invite' })
  t.strictSame(readConfig({ ...required, REGISTRATION: 'closed' }).registration, { kind: 'closed' })
  const open = { ...required, ...mail, REGISTRATION: 'open', REGISTRATION_ROLES: 'patient, member' }
  t.strictSame(readConfig(open).registration, { kind: 'open', roles: ['patient', 'member'] })
  t.strictSame(readConfig({ ...open, REGISTRATION_DOMAINS: 'Example.com, bücher.example' }).registration, {
    kind: 'open',
    roles: ['patient', 'member'],
    domains: ['example.com', 'xn--bcher-kva.example'],
  })
})

t.test('open registration without what it needs does not start, and a line says what that is', async (t) => {
  const open = { ...mail, REGISTRATION: 'open', REGISTRATION_ROLES: 'patient' }
  t.strictSame(problemsOf(open), [])
  const lines: Record<string, RegExp> = {
    REGISTRATION_ROLES: /^REGISTRATION_ROLES is not set; it takes the roles of whoever registers, .*REGISTRATION=open$/,
    SMTP_URL: /^SMTP_URL is not set; REGISTRATION=open needs it/,
    MAIL_FROM: /^MAIL_FROM is not set; it takes/,
    APP_ORIGIN: /^APP_ORIGIN is not set; it takes where links in mails lead, such as/,
  }
  for (const [name, line] of Object.entries(lines)) {
    const problems = problemsOf({ ...open, [name]: '' })
    t.equal(problems.length, 1, name)
    t.match(problems[0], line)
  }
  t.equal(problemsOf({ REGISTRATION: 'open' }).length, 4, 'all at once')
})

t.test('what is no such setting is named', async (t) => {
  const wrong = {
    REGISTRATION: ['yes', 'OPEN'],
    REGISTRATION_ROLES: ['Patient', 'a b', ','],
    REGISTRATION_DOMAINS: ['@example.com', 'https://example.com', 'a b', 'example.com,'],
    RP_ID: ['https://example.com', 'a b', '10.0.0.1', '[::1]', 'Example.com', 'example.com:8443'],
    MAIL_RATE_LIMIT_MAX: ['0', '-1', 'many'],
    ACCOUNT_DELETION_GRACE: ['-1s', 'soon'],
    SECURITY_EVENTS_RETENTION: ['89d', '3651d', 'forever'],
  }
  for (const [name, values] of Object.entries(wrong))
    for (const value of values) t.match(problemsOf({ [name]: value }), [new RegExp(`^${name} `)], `${name}=${value}`)
})

t.test('the endpoints of OAuth are at the gateway, or where the issuer is, unless that is a mere name', async (t) => {
  const gateway = { GATEWAY_ORIGIN: 'https://gateway.test' }
  for (const [settings, origin] of [
    [{}, 'https://issuer.test'],
    [{ JWT_ISSUER: 'https://issuer.test/tenant' }, 'https://issuer.test'],
    [gateway, 'https://gateway.test'],
    [{ JWT_ISSUER: 'sallyport' }, undefined],
    [{ JWT_ISSUER: 'urn:sallyport' }, undefined],
    [{ ...gateway, JWT_ISSUER: 'sallyport' }, undefined],
  ] as const)
    t.equal(readConfig({ ...required, ...settings }).oauthOrigin, origin, JSON.stringify(settings))
})
