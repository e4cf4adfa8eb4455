import { randomUUID } from 'node:crypto'
import { mkdtempSync, readFileSync, rmSync, writeFileSync } from 'node:fs'
import { tmpdir } from 'node:os'
import { join } from 'node:path'
import { setTimeout as sleep } from 'node:timers/promises'
import { seed } from '@sallyport/database'
import { createSigner, publicJwk } from '@sallyport/identity'
import { endProcesses, freePort, prepareOwnDatabase, startPostgres, startProcess } from '@sallyport/local'
import { asUser, call, closeConnections, logIn, toUser, type User } from '../lib/caller.ts'
import { Connection } from '../lib/connection.ts'
import { startUpstream } from '../lib/contestants.ts'
import { makeKey } from '../lib/issuer.ts'
import { quantile } from '../lib/quantile.ts'
import { routesFile, settingsFor } from '../lib/settings.ts'

/**
 * How long two gateways still take what a service account calls with once it is revoked: from the response to whoever
 * revokes it to the first refusal, by callers who call all the time.
 *
 *   npm run bench:machine-revocations        (REVOCATIONS, of each kind)
 */
const revocations = Number(process.env.REVOCATIONS ?? 60)

const folder = mkdtempSync(join(tmpdir(), 'sallyport-machine-revocations-'))
const postgres = await startPostgres({ folder, port: await freePort() })
const databases = await prepareOwnDatabase(postgres.url, seed)
const upstream = await startUpstream()
const authPort = await freePort()
const auth = `http://127.0.0.1:${authPort}`
const reports = {
  prefix: '/reports',
  upstreams: [`http://127.0.0.1:${upstream.port}`],
  access: 'authenticated',
  audience: 'reports',
  callers: ['user', 'client'],
}
const file = join(folder, 'routes.yaml')
writeFileSync(file, `${readFileSync(routesFile, 'utf8')}\n  - ${JSON.stringify(reports)}\n`)
const settings = {
  ...settingsFor(folder, { auth, appointments: auth, notifications: auth }),
  API_KEYS_URL: `${auth}/internal/api-keys`,
  GATEWAY_ROUTES: file,
  TOKEN_RATE_LIMIT_MAX: '1000000',
}
const own = { DATABASE_URL: databases.auth, AUTH_PORT: String(authPort) }
const running = [await startProcess('auth', { ...settings, ...own }, () => {})]
for (let count = 0; count < 2; count++)
  running.push(await startProcess('gateway', { ...settings, GATEWAY_PORT: '0' }, () => {}))
const gateways = running.slice(1).map(({ port }) => `http://127.0.0.1:${port}`) as [string, string]

const signIn = async (email: string) => toUser(await logIn(gateways[0], email))
let admin: User
const doctor = await signIn('doctor@example.com')

// biome-ignore lint/suspicious/noExplicitAny: JSON of our own
async function administer(method: 'POST' | 'DELETE', path: string, body?: object): Promise<any> {
  const response = await call(method, `${gateways[0]}/api/admin/clients${path}`, asUser(admin), body)
  if (response.status >= 300) throw new Error(`${method} ${path} got ${response.status} ${response.body}`)
  return JSON.parse(response.body)
}

async function tokenFor(form: Record<string, string>, headers: Record<string, string> = {}): Promise<string> {
  const body = new URLSearchParams(form)
  const response = await fetch(`${auth}/oauth/token`, { method: 'POST', headers, body })
  if (response.status !== 200) throw new Error(`the token endpoint responded with ${await response.text()}`)
  return ((await response.json()) as { access_token: string }).access_token
}

/** What a service account calls with, and where an administrator revokes it. */
interface Revocable {
  token: string
  path: string
}

async function addSecret(id: string): Promise<Revocable> {
  const made = await administer('POST', `/${id}/credentials`, { kind: 'secret', name: 'a secret' })
  const authorization = `Basic ${Buffer.from(`${id}:${made.clientSecret}`).toString('base64')}`
  const token = await tokenFor({ grant_type: 'client_credentials' }, { authorization })
  return { token, path: `/${id}/credentials/${made.id}` }
}

async function addKey(id: string, grant: Record<string, string>): Promise<Revocable> {
  const { privateKey, publicKey } = makeKey()
  const jwks = { keys: [publicJwk(publicKey)] }
  const made = await administer('POST', `/${id}/credentials`, { kind: 'keys', name: 'a key', jwks })
  const now = Math.floor(Date.now() / 1000)
  const claims = { iss: id, sub: id, aud: settings.JWT_ISSUER, jti: randomUUID(), iat: now, exp: now + 60 }
  const token = await tokenFor({
    ...grant,
    client_assertion_type: 'urn:ietf:params:oauth:client-assertion-type:jwt-bearer',
    client_assertion: createSigner(privateKey, 'JWT')(claims),
  })
  return { token, path: `/${id}/credentials/${made.id}` }
}

/** Each of an account of its own. */
const kinds: Record<string, (id: string) => Promise<Revocable>> = {
  'a secret': addSecret,
  'a key': (id) => addKey(id, { grant_type: 'client_credentials' }),
  async 'an API key'(id) {
    const made = await administer('POST', `/${id}/credentials`, { kind: 'api_key', name: 'an API key' })
    return { token: made.apiKey, path: `/${id}/credentials/${made.id}` }
  },
  'an account': async (id) => ({ token: (await addSecret(id)).token, path: `/${id}` }),
  async 'an exchange'(id) {
    const exchange = { from: 'desk', audience: 'reports', roles: ['doctor'], scopes: [] }
    const made = await administer('POST', `/${id}/exchanges`, exchange)
    const { token } = await addKey(id, {
      grant_type: 'urn:ietf:params:oauth:grant-type:token-exchange',
      subject_token_type: 'urn:ietf:params:oauth:token-type:access_token',
      subject_token: doctor.token,
    })
    return { token, path: `/${id}/exchanges/${made.id}` }
  },
}

const probes = gateways.map((gateway) => new Connection(gateway))

/** Calls again and again until it is refused. @returns when that was, by performance.now() */
async function refusalOf(probe: Connection, token: string): Promise<number> {
  const request = Buffer.from(`GET /reports HTTP/1.1\r\nhost: gateway\r\nauthorization: Bearer ${token}\r\n\r\n`)
  if ((await probe.exchange(request)) !== 200) throw new Error('it is not taken before it is revoked')
  while ((await probe.exchange(request)) === 200);
  const at = performance.now()
  for (let count = 0; count < 10; count++)
    if ((await probe.exchange(request)) !== 401) throw new Error('what was refused is taken again')
  return at
}

const names = Object.keys(kinds)
const delays = new Map(names.map((name) => [name, [[], []] as [number[], number[]]]))
for (let count = 0; count < revocations; count++) {
  // Changes are for whoever has signed in a moment ago.
  if (count % 10 === 0) admin = await signIn('admin@example.com')
  for (const [name, make] of Object.entries(kinds)) {
    const { id } = await administer('POST', '', { name, audiences: [settings.JWT_AUDIENCE] })
    const { token, path } = await make(id)
    const refusals = probes.map((probe) => refusalOf(probe, token))
    await sleep(20 + Math.random() * 100)
    await administer('DELETE', path)
    const revokedAt = performance.now()
    for (const [index, at] of (await Promise.all(refusals)).entries())
      delays.get(name)?.[index]?.push(Math.max(0, at - revokedAt))
  }
}
for (const probe of probes) probe.close()
await closeConnections()
await endProcesses(running)
await upstream.stop()
await postgres.stop()
rmSync(folder, { recursive: true, force: true })

const print = (line: string) => process.stdout.write(`${line}\n`)
print(
  '| revoked | times | gateway | half within | 99 of 100 | the slowest |\n| --- | ---: | --- | ---: | ---: | ---: |',
)
const rowOf = (name: string, gateway: string, figures: number[]) => {
  const within = [0.5, 0.99, 1].map((share) => `${quantile(figures, share).toFixed(1)} ms`)
  print(`| ${name} | ${figures.length} | ${gateway} | ${within.join(' | ')} |`)
}
for (const [name, [one, two]] of delays) {
  rowOf(name, 'one', one)
  rowOf(name, 'two', two)
}
rowOf('all', 'both', [...delays.values()].flat(2))
