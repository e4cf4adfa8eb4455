import { execFileSync, spawn, spawnSync } from 'node:child_process'
import { existsSync, readdirSync, readFileSync, statSync } from 'node:fs'
import { join } from 'node:path'
import { text } from 'node:stream/consumers'
import { fileURLToPath } from 'node:url'
import { routesFile } from '@sallyport/bench/settings'
import { endProcesses, keepSecrets, startProcess } from '@sallyport/local'
import t from 'tap'
import { request } from 'undici'
import { startServer, temporaryFolder } from '../support/system.ts'

const root = fileURLToPath(new URL('../../..', import.meta.url))
const image = join(temporaryFolder(t), 'app')
execFileSync(process.execPath, [join(root, 'image/bundle.mjs'), image])
const at = (path: string) => join(image, path)

/** Runs a program of the image with nothing but these settings, and waits for its end. */
async function run(args: string[], environment: Record<string, string>, input = '') {
  const child = spawn(process.execPath, args, { cwd: image, env: { PATH: process.env.PATH, ...environment } })
  child.stdin.end(input)
  const [output, errors] = await Promise.all([text(child.stdout), text(child.stderr)])
  return { output, errors }
}

t.test('every command that docs/operations.md has for the image is there', async (t) => {
  const section = /^## The image\n[\s\S]*?(?=^## )/m.exec(readFileSync(join(root, 'docs/operations.md'), 'utf8'))?.[0]
  const programs = [...(section ?? '').matchAll(/`node (?:--\S+ )*(\S+\.js)`/g)].map(([, program]) => program as string)
  t.ok(programs.length >= 7)
  for (const program of programs) t.ok(existsSync(at(program)), program)
})

t.test('it is smaller than 30 MB, and has the licences of what is in it', async (t) => {
  const files = readdirSync(image, { recursive: true, withFileTypes: true }).filter((entry) => entry.isFile())
  const bytes = files.reduce((sum, { parentPath, name }) => sum + statSync(join(parentPath, name)).size, 0)
  t.ok(bytes < 30_000_000, `${bytes} bytes`)
  const licences = readFileSync(at('THIRD-PARTY-LICENSES'), 'utf8')
  for (const name of ['fastify', 'pg', 'pino', '@prisma/client', 'graphile-worker', 'react'])
    t.match(licences, new RegExp(`^${name} \\d+\\.\\d+\\.\\d+\\S*: \\S`, 'm'), name)
  t.notOk(spawnSync(process.execPath, [join(root, 'image/bundle.mjs'), image]).status === 0, 'nothing is overwritten')
})

t.test('its programs do together what those of the repository do', async (t) => {
  const { url, sql } = await startServer(t)
  await sql('CREATE DATABASE bundled')
  const DATABASE_URL = url.replace(/sallyport$/, 'bundled')
  t.match(await run([at('prisma/dist/migrate.js')], { DATABASE_URL }), { output: /^Applied \d+_first, /, errors: '' })

  const password = 'correct-horse-battery-staple'
  const sallyport = at('node_modules/.bin/sallyport')
  const [email, words] = ['someone@example.com', ['users', 'create', 'someone@example.com', 'Some One', 'admin']]
  t.match(await run([sallyport, ...words], { DATABASE_URL }, password), { output: /^made user /, errors: '' })
  t.match(await run([sallyport, '--help'], {}), { output: /doctor/, errors: '' })
  t.match(await run([sallyport, 'routes', 'check', 'gateway/routes.yaml'], {}), {
    output: '/api/auth',
    errors: '',
  })

  const secrets = keepSecrets(temporaryFolder(t))
  const common = { PATH: process.env.PATH, ...secrets, NODE_ENV: 'production', MANAGEMENT_PORT: '0', DATABASE_URL }
  const origin = 'https://app.example.com'
  const issuing = { JWT_ISSUER: origin, JWT_AUDIENCE: origin, CORS_ORIGINS: origin, GATEWAY_ORIGIN: origin }
  const ports = ['AUTH', 'APPOINTMENTS', 'NOTIFICATIONS', 'GATEWAY', 'WEB'].map((name) => [`${name}_PORT`, '0'])
  const settings = { ...common, ...issuing, ...Object.fromEntries(ports) }
  const start = async (name: string, program: string, more: Record<string, string> = {}) => {
    const running = await startProcess(name, { ...settings, ...more }, () => {}, at(program))
    t.teardown(() => endProcesses([running]))
    return { address: `http://127.0.0.1:${running.port}`, management: `http://127.0.0.1:${running.managementPort}` }
  }
  const auth = await start('auth', 'services/auth/dist/server.js', {
    SMTP_URL: 'smtp://127.0.0.1:1',
    MAIL_FROM: 'a@example.com',
    APP_ORIGIN: origin,
  })
  const appointments = await start('appointments', 'services/appointments/dist/server.js')
  const notifications = await start('notifications', 'services/notifications/dist/server.js')
  const gateway = await start('gateway', 'gateway/dist/server.js', {
    GATEWAY_ROUTES: routesFile,
    AUTH_URL: auth.address,
    APPOINTMENTS_URL: appointments.address,
    NOTIFICATIONS_URL: notifications.address,
    JWKS_URL: `${auth.address}/.well-known/jwks.json`,
    REVOCATIONS_URL: `${auth.address}/internal/revocations`,
    API_KEYS_URL: `${auth.address}/internal/api-keys`,
    // Its library is loaded when it is set.
    OTEL_EXPORTER_OTLP_ENDPOINT: 'http://127.0.0.1:1',
  })

  const headers = { 'content-type': 'application/json', origin }
  const login = await request(`${gateway.address}/api/auth/login`, {
    method: 'POST',
    headers,
    body: JSON.stringify({ email, password }),
  })
  const { accessToken } = (await login.body.json()) as { accessToken: string }
  t.equal(login.statusCode, 200)
  const authorization = `Bearer ${accessToken}`
  const ask = async (path: string, options = {}) => {
    const { statusCode, body } = await request(`${gateway.address}${path}`, {
      headers: { ...headers, authorization },
      ...options,
    })
    return { statusCode, body: await body.text() }
  }
  t.match(await ask('/api/auth/me'), { statusCode: 200, body: email })
  t.match(await ask('/api/appointments'), { statusCode: 200 })
  t.match(
    await ask('/api/auth/factors/passkeys/options', { method: 'POST', body: '{}' }),
    { statusCode: 200, body: 'challenge' },
    'what is loaded with the first passkey',
  )
  const weak = { currentPassword: password, newPassword: 'password12345678' }
  t.match(
    await ask('/api/auth/password', { method: 'POST', body: JSON.stringify(weak) }),
    { statusCode: 400, body: 'PASSWORD_WEAK' },
    'what the process that hashes loads to judge a password',
  )

  const web = await start('web', 'web/dist/server/server.js')
  const page = await request(web.address, { headers: { accept: 'text/html' } })
  t.match(await page.body.text(), '<html')
  const metrics = await (await request(`${gateway.management}/metrics`)).body.text()
  const { version } = JSON.parse(readFileSync(join(root, 'packages/chassis/package.json'), 'utf8'))
  t.match(metrics, /sallyport_ready 1/)
  t.match((await ask('/api/admin/health')).body, version)
})
