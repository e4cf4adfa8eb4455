import { type ChildProcess, fork } from 'node:child_process'
import { createPrivateKey, randomBytes, randomUUID } from 'node:crypto'
import { once } from 'node:events'
import { mkdtempSync, rmSync, writeFileSync } from 'node:fs'
import { tmpdir } from 'node:os'
import { join } from 'node:path'
import { fileURLToPath } from 'node:url'
import { hashSecret } from '@sallyport/auth/clients/credentials'
import { provisionClient } from '@sallyport/auth/clients/provision'
import { createDatabase, demoPassword, seed } from '@sallyport/database'
import { publicJwk } from '@sallyport/identity'
import { endProcesses, freePort, prepareOwnDatabase, startPostgres, startProcess } from '@sallyport/local'
import pg from 'pg'
import { endChild, installBaselines, startBaseline } from './auth-servers.ts'
import { isGlewlwydInstalled, startGlewlwyd } from './glewlwyd.ts'
import { makeKey } from './issuer.ts'
import { openIdPeer } from './openid-peer.ts'
import { bearer, call, type Peer, type Session, usedBy } from './peer.ts'
import { settingsFor } from './settings.ts'

/** Who sign in: so many that hardly two sign-ins at the same time are of one. */
const users = 100
const password = demoPassword
const emailOf = (turn: number) => `user-${turn % users}@example.com`
const audience = 'https://api.bench'

interface Around {
  folder: string
  postgres: { url: string; pid: number }
  owner: pg.Client
  /** An address on the same PostgreSQL, of a database that is new. */
  newDatabase(name: string): Promise<string>
  startService(check: string, environment?: Record<string, string>): Promise<Service>
}

interface Service {
  url: string
  pid: number
}

/** Sallyport, the peers that npm has, and one of Debian if it is installed, on one PostgreSQL with a database each. */
export async function startLocalPeers() {
  installBaselines()
  const folder = mkdtempSync(join(tmpdir(), 'sallyport-peers-'))
  const postgres = await startPostgres({ folder, port: await freePort(), settings: ['max_connections=200'] })
  const owner = new pg.Client({ connectionString: postgres.url })
  await owner.connect()
  const children: ChildProcess[] = []
  const around: Around = {
    folder,
    postgres,
    owner,
    async newDatabase(name) {
      await owner.query(`CREATE DATABASE ${name}`)
      return postgres.url.replace(/sallyport$/, name)
    },
    async startService(check, environment = {}) {
      const port = await freePort()
      const child = await startScript('checking-service', port, { CHECK: check, ...environment })
      children.push(child)
      return { url: `http://127.0.0.1:${port}/api/things`, pid: child.pid as number }
    },
  }
  const sallyport = await startSallyport(around)
  const betterAuth = await startBetterAuth(around)
  const oidcProvider = await startOidcProvider(around)
  const glewlwyd =
    isGlewlwydInstalled() &&
    (await startGlewlwyd({
      folder,
      databaseUrl: await around.newDatabase('glewlwyd'),
      postgresPid: postgres.pid,
      user: (turn) => ({ username: emailOf(turn), password }),
      users,
    }))
  if (!glewlwyd) process.stdout.write('Glewlwyd is not installed: left out\n')
  const bare = await startBare(around)
  return {
    peers: [
      ...sallyport.peers,
      ...betterAuth.peers,
      ...oidcProvider.peers,
      ...(glewlwyd ? glewlwyd.peers : []),
      ...bare,
    ],
    databaseUsed: () => usedBy([postgres.pid]),
    async stop() {
      await Promise.all([...children.map(endChild), sallyport.stop(), betterAuth.stop(), oidcProvider.stop()])
      if (glewlwyd) await glewlwyd.stop()
      await owner.end()
      await postgres.stop()
      rmSync(folder, { recursive: true, force: true })
    },
  }
}

/** What the least is that anything on Node takes. */
async function startBare({ startService }: Around): Promise<Peer[]> {
  const session = { access: '', refresh: '' }
  const [hashing, nothing] = await Promise.all([
    startService('password', { PASSWORD: password }),
    startService('nothing'),
  ])
  return [
    {
      name: 'a service that only compares the hash',
      measured: ['signIn'],
      async signIn() {
        await call(hashing.url)
        return session
      },
      used: () => usedBy([hashing.pid]),
    },
    {
      name: 'a service that checks nothing',
      measured: ['check'],
      signIn: async () => session,
      check: () => call(nothing.url, { method: 'GET' }),
      used: () => usedBy([nothing.pid]),
    },
  ]
}

async function startScript(script: string, port: number, environment: Record<string, string>) {
  const child = fork(fileURLToPath(new URL(`../baselines/${script}.js`, import.meta.url)), {
    env: { ...process.env, NODE_ENV: 'production', ...environment, PORT: String(port) },
  })
  await once(child, 'message')
  return child
}

/** Gateway and auth as they are deployed. Users and machines are sent to auth itself, as they are to the others. */
async function startSallyport({ folder, postgres, owner, startService }: Around) {
  const databases = await prepareOwnDatabase(postgres.url, seed)
  await owner.query(
    `INSERT INTO auth.users (id, email, name, password_hash, roles)
     SELECT gen_random_uuid(), 'user-' || number || '@example.com', name, password_hash, roles
     FROM auth.users, generate_series(0, $1 - 1) number WHERE email = 'doctor@example.com'`,
    [users],
  )
  const machine = { id: randomUUID(), secret: randomBytes(32).toString('base64url') }
  const database = createDatabase(databases.auth, { connections: 1, onError: () => {} })
  const account = { name: 'a machine', roles: [], scopes: ['api'], audiences: [audience], exchanges: [] }
  const jwks = { keys: [publicJwk(makeKey().publicKey)] }
  await provisionClient(database, { ...account, id: machine.id, jwks })
  const credential = {
    clientId: machine.id,
    kind: 'secret' as const,
    name: 'a secret',
    secretHash: hashSecret(machine.secret),
  }
  await database.clientCredential.create({ data: credential })
  await database.$disconnect()

  const issuer = `http://127.0.0.1:${await freePort()}`
  const nowhere = 'http://127.0.0.1:1'
  const settings: NodeJS.ProcessEnv & { JWKS_URL: string; REVOCATIONS_URL: string } = {
    ...settingsFor(folder, { auth: issuer, appointments: nowhere, notifications: nowhere }),
    NODE_ENV: 'production',
    JWT_ISSUER: issuer,
    JWT_AUDIENCE: audience,
    TOKEN_RATE_LIMIT_MAX: '100000000',
  }
  const auth = await startProcess(
    'auth',
    { ...settings, DATABASE_URL: databases.auth, AUTH_PORT: new URL(issuer).port },
    () => {},
  )
  const trust = { IDENTITY_PUBLIC_KEY: settings.IDENTITY_PUBLIC_KEY as string }
  const behind = await startService('assertion', { ...trust, AUDIENCE: 'things' })
  const verifying = await startService('verify', {
    ISSUER: issuer,
    AUDIENCE: audience,
    JWKS: settings.JWKS_URL,
    REVOCATIONS: settings.REVOCATIONS_URL,
    REVOCATIONS_SECRET: settings.REVOCATIONS_SECRET as string,
  })
  const routes = join(folder, 'routes.json')
  const route = {
    prefix: '/api/things',
    upstreams: [new URL(behind.url).origin],
    access: 'authenticated',
    audience: 'things',
  }
  writeFileSync(routes, JSON.stringify({ routes: [route] }))
  const gateway = await startProcess('gateway', { ...settings, GATEWAY_ROUTES: routes, GATEWAY_PORT: '0' }, () => {})

  const machines = await openIdPeer({ name: 'Sallyport', issuer, clientId: machine.id, clientSecret: machine.secret })
  const toSession = ({ body, cookies }: Awaited<ReturnType<typeof call>>): Session => ({
    access: body.accessToken,
    refresh: /(?:__Host-)?refreshToken=[^;]+/.exec(cookies)?.[0] as string,
  })
  const pids = [auth, gateway].map(({ child }) => child.pid as number)
  const sallyport: Peer = {
    name: 'Sallyport',
    ours: true,
    measured: ['signIn', 'refresh', 'machineToken', 'logOut'],
    signIn: async (turn) =>
      toSession(await call(`${issuer}/api/auth/login`, { json: { email: emailOf(turn), password } })),
    refresh: async ({ refresh }) =>
      toSession(await call(`${issuer}/api/auth/refresh`, { headers: { cookie: refresh } })),
    machineToken: machines.machineToken as () => Promise<unknown>,
    logOut: ({ refresh }) => call(`${issuer}/api/auth/logout`, { headers: { cookie: refresh } }),
    used: () => usedBy([...pids, behind.pid, verifying.pid, postgres.pid]),
  }
  const through = (name: string, url: string): Peer => ({
    ...sallyport,
    name,
    measured: ['check'],
    check: (session) => call(url, { method: 'GET', headers: bearer(session) }),
  })
  return {
    peers: [
      sallyport,
      through('Sallyport, gateway before the service', `http://127.0.0.1:${gateway.port}/api/things`),
      through('Sallyport, @sallyport/verify in the service', verifying.url),
    ],
    stop: () => endProcesses([gateway, auth]),
  }
}

async function startBetterAuth({ postgres, newDatabase }: Around) {
  const DATABASE_URL = await newDatabase('better_auth')
  const child = startBaseline('better-auth-peer', { DATABASE_URL, USERS: String(users), PASSWORD: password })
  const [{ port }] = (await once(child, 'message')) as [{ port: number }]
  const url = `http://127.0.0.1:${port}`
  const betterAuth: Peer = {
    name: 'better-auth',
    measured: ['signIn', 'logOut'],
    async signIn(turn) {
      const { cookies } = await call(`${url}/api/auth/sign-in/email`, { json: { email: emailOf(turn), password } })
      return { access: cookies, refresh: cookies }
    },
    logOut: ({ access }) =>
      call(`${url}/api/auth/sign-out`, { headers: { cookie: access, origin: 'http://127.0.0.1' }, json: {} }),
    used: () => usedBy([child.pid as number, postgres.pid]),
  }
  const by = (name: string, path: string): Peer => ({
    ...betterAuth,
    name,
    measured: ['check'],
    check: ({ access }) => call(url + path, { method: 'GET', headers: { cookie: access } }),
  })
  return {
    peers: [
      betterAuth,
      by('better-auth, session looked up', '/check'),
      by('better-auth, cookie cache', '/check-cached'),
    ],
    stop: () => endChild(child),
  }
}

async function startOidcProvider({ postgres, newDatabase, startService }: Around) {
  const client = { client_id: randomUUID() as string, client_secret: randomBytes(32).toString('base64url') }
  const jwk = { ...createPrivateKey(makeKey().privateKey).export({ format: 'jwk' }), alg: 'ES256', use: 'sig' }
  // Its issuer is an address, which it is told before it listens.
  const port = await freePort()
  const issuer = `http://127.0.0.1:${port}`
  const child = await startScript('oidc-provider-on-postgres', port, {
    ISSUER: issuer,
    AUDIENCE: audience,
    PRIVATE_KEY: JSON.stringify(jwk),
    DATABASE_URL: await newDatabase('oidc_provider'),
    CLIENT: JSON.stringify(client),
    USERS: String(users),
    PASSWORD: password,
  })
  const service = await startService('jose', { ISSUER: issuer, AUDIENCE: audience, JWKS: `${issuer}/jwks` })
  const shared = {
    issuer,
    clientId: client.client_id,
    clientSecret: client.client_secret,
    user: (turn: number) => ({ username: emailOf(turn), password }),
    used: () => usedBy([child.pid as number, service.pid, postgres.pid]),
  }
  const name = 'oidc-provider'
  const peer = await openIdPeer({ ...shared, name, machineParameters: { scope: 'api', resource: audience } })
  // A JWT is kept nowhere, and so is not looked up either.
  const opaque = await openIdPeer({ ...shared, name, userParameters: { resource: `${audience}/opaque` } })
  return {
    peers: [
      { ...peer, measured: peer.measured.filter((operation) => operation !== 'check') },
      {
        ...peer,
        name: 'oidc-provider, JWT verified by jose',
        measured: ['check'],
        check: (session) => call(service.url, { method: 'GET', headers: bearer(session) }),
      },
      { ...opaque, name: 'oidc-provider, opaque token introspected', measured: ['check'] },
    ] satisfies Peer[],
    stop: () => endChild(child),
  }
}
