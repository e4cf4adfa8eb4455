import { spawn, spawnSync } from 'node:child_process'
import { randomBytes } from 'node:crypto'
import { once } from 'node:events'
import { readFileSync, writeFileSync } from 'node:fs'
import { join } from 'node:path'
import { setTimeout as sleep } from 'node:timers/promises'
import { freePort } from '@sallyport/local'
import pg from 'pg'
import { makeKey } from './issuer.ts'
import { openIdPeer } from './openid-peer.ts'
import { call, type Peer, usedBy } from './peer.ts'

interface Surroundings {
  folder: string
  /** An address of a database that is empty. */
  databaseUrl: string
  postgresPid: number
  user(turn: number): { username: string; password: string }
  users: number
}

export const isGlewlwydInstalled = () => spawnSync('glewlwyd', ['--version']).error === undefined

/** Of Debian's package. */
const statements = ['pgsql', 'postgre.default.sql'].map(
  (file) => `/usr/share/dbconfig-common/data/glewlwyd/install/${file}`,
)
const modules = '/usr/lib/glewlwyd'

/**
 * Glewlwyd of Debian, an OpenID provider in C, with the grants that the others have. Passwords it has PostgreSQL hash, with
 * bcrypt of 2^6 rounds.
 */
export async function startGlewlwyd({ folder, databaseUrl, postgresPid, user, users }: Surroundings) {
  const database = new pg.Client({ connectionString: databaseUrl })
  await database.connect()
  await database.query('CREATE EXTENSION IF NOT EXISTS pgcrypto')
  for (const file of statements) await database.query(readFileSync(file, 'utf8'))
  // Without these PostgreSQL compares each password with the hash of every user, and not of one.
  await database.query('ALTER FUNCTION crypt(text, text) COST 1000; CREATE INDEX ON g_user_password (gu_id)')
  const port = await freePort()
  const configuration = join(folder, 'glewlwyd.conf')
  writeFileSync(configuration, configure(port, new URL(databaseUrl)))
  const child = spawn('glewlwyd', ['-c', configuration], { stdio: 'ignore' })
  // It does not notice the end of who started it.
  const end = () => child.kill('SIGKILL')
  process.once('exit', end)
  const api = `http://127.0.0.1:${port}/api`
  const client = { id: 'bench', secret: randomBytes(32).toString('base64url') }
  await administer(api, client)
  for (let turn = 0; turn < users; turn++) {
    const { username, password } = user(turn)
    await database.query(
      `WITH made AS (INSERT INTO g_user (gu_username, gu_enabled) VALUES ($1, 1) RETURNING gu_id),
       scope AS (INSERT INTO g_user_scope_user (gu_id, gus_id) SELECT gu_id, gus_id FROM made, g_user_scope WHERE gus_name = 'api')
       INSERT INTO g_user_password (gu_id, guw_password) SELECT gu_id, crypt($2, gen_salt('bf')) FROM made`,
      [username, password],
    )
  }
  await database.query('ANALYZE')
  await database.end()

  const peer = await openIdPeer({
    name: 'Glewlwyd',
    issuer: `${api}/oidc`,
    clientId: client.id,
    clientSecret: client.secret,
    user,
    userParameters: { scope: 'api' },
    machineParameters: { scope: 'api' },
    used: () => usedBy([child.pid as number, postgresPid]),
  })
  const peers: Peer[] = [
    {
      ...peer,
      measured: ['signIn', 'refresh', 'machineToken', 'logOut'],
      remarks: { signIn: 'a weaker hash: bcrypt, 2^6' },
    },
    { ...peer, name: 'Glewlwyd, JWT introspected', measured: ['check'] },
  ]
  return {
    peers,
    async stop() {
      process.removeListener('exit', end)
      child.kill('SIGTERM')
      await once(child, 'exit')
    },
  }
}

/** Makes its OpenID provider, a scope and a client, by the interface that its administrators have. */
async function administer(api: string, { id, secret }: { id: string; secret: string }): Promise<void> {
  const login = { json: { username: 'admin', password: 'password' } }
  let cookie = ''
  for (let attempt = 0; cookie === ''; attempt++)
    try {
      cookie = (await call(`${api}/auth/`, login)).cookies
    } catch (error) {
      if (attempt === 100) throw new Error('Glewlwyd did not start', { cause: error })
      await sleep(100)
    }
  const post = (path: string, json: object) => call(api + path, { headers: { cookie }, json })
  const { privateKey, publicKey } = makeKey()
  const parameters = {
    iss: `${api}/oidc`,
    'jwt-type': 'ecdsa',
    'jwt-key-size': '256',
    key: privateKey,
    cert: publicKey,
    'access-token-duration': 900,
    'refresh-token-duration': 604_800,
    'code-duration': 600,
    'refresh-token-rolling': true,
    'refresh-token-one-use': 'always',
    'allow-non-oidc': true,
    'auth-type-code-enabled': true,
    'auth-type-token-enabled': false,
    'auth-type-id-token-enabled': true,
    'auth-type-implicit-enabled': false,
    'auth-type-password-enabled': true,
    'auth-type-client-enabled': true,
    'auth-type-refresh-enabled': true,
    'introspection-revocation-allowed': true,
    'introspection-revocation-allow-target-client': true,
    'introspection-revocation-auth-scope': [],
    'jwks-show': true,
  }
  await post('/mod/plugin/', { module: 'oidc', name: 'oidc', display_name: 'oidc', enabled: true, parameters })
  await post('/scope/', { name: 'api', display_name: 'api', password_required: true, password_max_age: 0 })
  await post('/client/', {
    client_id: id,
    name: id,
    confidential: true,
    enabled: true,
    client_secret: secret,
    password: secret,
    redirect_uri: ['http://127.0.0.1/'],
    authorization_type: ['password', 'client_credentials', 'refresh_token', 'delete_token'],
    scope: ['api'],
    token_endpoint_auth_method: ['client_secret_basic'],
  })
  // The scope that users have is another row, which comes with the first of them.
  await post('/user/', { username: 'somebody', password: secret, enabled: true, scope: ['api'] })
}

function configure(port: number, { hostname, port: databasePort, pathname, username, password }: URL): string {
  return `port=${port}
bind_address="127.0.0.1"
external_url="http://127.0.0.1:${port}"
api_prefix="api"
log_mode="console"
log_level="ERROR"
cookie_domain="127.0.0.1"
cookie_secure=0
session_key="session"
admin_scope="g_admin"
profile_scope="g_profile"
user_module_path="${modules}/user"
user_middleware_module_path="${modules}/user_middleware"
client_module_path="${modules}/client"
user_auth_scheme_module_path="${modules}/scheme"
plugin_module_path="${modules}/plugin"
hash_algorithm="SHA512"
database = {
  type = "postgre";
  conninfo = "host=${hostname} port=${databasePort} dbname=${pathname.slice(1)} user=${username} password=${password}";
};
`
}
