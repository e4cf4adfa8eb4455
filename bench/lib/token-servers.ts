import { fork } from 'node:child_process'
import { randomBytes, randomUUID } from 'node:crypto'
import { once } from 'node:events'
import { mkdtempSync, rmSync } from 'node:fs'
import { tmpdir } from 'node:os'
import { join } from 'node:path'
import { fileURLToPath } from 'node:url'
import { hashSecret } from '@sallyport/auth/clients/credentials'
import { provisionClient } from '@sallyport/auth/clients/provision'
import { createDatabase, seed } from '@sallyport/database'
import { createSigner, publicJwk } from '@sallyport/identity'
import { endProcesses, freePort, keepSecrets, prepareOwnDatabase, startPostgres, startProcess } from '@sallyport/local'
import { endChild } from './auth-servers.ts'
import { childrenOf, cpuSeconds } from './cpu.ts'
import { makeKey } from './issuer.ts'

/** How a service account proves who it is. */
export type Method = 'client_secret_basic' | 'private_key_jwt'

export interface TokenServer {
  name: string
  /** Of the token endpoint. */
  url: string
  /** Seconds of CPU that it has used so far. */
  used(): number
  /** A request for a token, by the account whose turn it is: as bytes, and for one use. */
  request(method: Method, turn: number): Buffer
}

const issuer = 'https://issuer.bench'
const audience = 'https://api.bench'
const scope = 'reports:read'
const accounts = 50

type Other = Pick<TokenServer, 'url' | 'used'> & { stop(): Promise<void> }
type Account = ReturnType<typeof makeAccount>

function makeAccount() {
  const { privateKey, publicKey } = makeKey()
  const secret = randomBytes(32).toString('base64url')
  return {
    id: randomUUID() as string,
    secret,
    secretHash: hashSecret(secret),
    jwks: { keys: [publicJwk(publicKey)] },
    sign: createSigner(privateKey, 'JWT'),
  }
}

/** At oidc-provider an account has one way to authenticate, and so there are two of each. */
const theirId = (method: Method, id: string) => `${method}-${id}`

function toTheirs({ id, secret, jwks }: Account): object[] {
  const methods = [
    { token_endpoint_auth_method: 'client_secret_basic' as const, client_secret: secret },
    { token_endpoint_auth_method: 'private_key_jwt' as const, token_endpoint_auth_signing_alg: 'ES256', jwks },
  ]
  return methods.map((method) => ({
    client_id: theirId(method.token_endpoint_auth_method, id),
    grant_types: ['client_credentials'],
    redirect_uris: [],
    response_types: [],
    ...method,
  }))
}

/** Auth on a PostgreSQL of its own, and oidc-provider, with as many service accounts each; and what only signs. */
export async function startTokenServers() {
  const folder = mkdtempSync(join(tmpdir(), 'sallyport-tokens-'))
  const postgres = await startPostgres({ folder, port: await freePort() })
  const databases = await prepareOwnDatabase(postgres.url, seed)
  const database = createDatabase(databases.auth, { connections: 2, onError: () => {} })
  const secrets = keepSecrets(join(folder, 'secrets'))

  const made = Array.from({ length: accounts }, makeAccount)
  for (const [number, { id, secretHash, jwks }] of made.entries()) {
    const account = { name: `service ${number}`, roles: [], scopes: [scope], audiences: [audience], exchanges: [] }
    await provisionClient(database, { ...account, id, jwks })
    await database.clientCredential.create({ data: { clientId: id, kind: 'secret', name: 'a secret', secretHash } })
  }
  const theirs = made.flatMap(toTheirs)

  const auth = await startProcess(
    'auth',
    {
      ...process.env,
      ...secrets,
      NODE_ENV: 'production',
      DATABASE_URL: databases.auth,
      AUTH_PORT: '0',
      JWT_ISSUER: issuer,
      JWT_AUDIENCE: audience,
      TOKEN_RATE_LIMIT_MAX: '100000000',
      LOG_LEVEL: 'warn',
    },
    () => {},
  )
  const authPid = auth.child.pid as number
  const startOther = async (script: string) => {
    const port = await freePort()
    const child = fork(fileURLToPath(new URL(`../baselines/${script}.js`, import.meta.url)), {
      env: {
        ...process.env,
        NODE_ENV: 'production',
        ISSUER: issuer,
        AUDIENCE: audience,
        SCOPE: scope,
        PRIVATE_KEY: makeKey().privateKey,
        CLIENTS: JSON.stringify(theirs),
        PORT: String(port),
      },
    })
    await once(child, 'message')
    const used = () => cpuSeconds(child.pid as number)
    return { url: `http://127.0.0.1:${port}/token`, used, stop: () => endChild(child) }
  }
  const [provider, bare] = (await Promise.all(['oidc-provider', 'bare-tokens'].map(startOther))) as [Other, Other]

  const sallyport: TokenServer = {
    name: 'Sallyport',
    url: `http://127.0.0.1:${auth.port}/oauth/token`,
    used: () => [authPid, ...childrenOf(authPid)].reduce((sum, pid) => sum + cpuSeconds(pid), 0),
    request: (method, turn) => requestOf('/oauth/token', made[turn % accounts] as Account, method),
  }
  const request: TokenServer['request'] = (method, turn) => {
    const account = made[turn % accounts] as Account
    return requestOf('/token', { ...account, id: theirId(method, account.id) }, method)
  }
  return {
    sallyport,
    oidcProvider: { name: 'oidc-provider', ...provider, request },
    bare: { name: 'node:http that only signs', ...bare, request },
    databaseUsed: () => childrenOf(postgres.pid).reduce((sum, pid) => sum + cpuSeconds(pid), 0),
    async stop() {
      await Promise.all([provider.stop(), bare.stop(), endProcesses([auth])])
      await database.$disconnect()
      await postgres.stop()
      rmSync(folder, { recursive: true, force: true })
    },
  }
}

function requestOf(path: string, { id, secret, sign }: Account, method: Method): Buffer {
  const form = new URLSearchParams({ grant_type: 'client_credentials', scope, resource: audience })
  const headers = [`POST ${path} HTTP/1.1`, 'host: auth', 'content-type: application/x-www-form-urlencoded']
  if (method === 'client_secret_basic')
    headers.push(`authorization: Basic ${Buffer.from(`${id}:${secret}`).toString('base64')}`)
  else {
    const now = Math.floor(Date.now() / 1000)
    form.set('client_assertion_type', 'urn:ietf:params:oauth:client-assertion-type:jwt-bearer')
    form.set('client_assertion', sign({ iss: id, sub: id, aud: issuer, jti: randomUUID(), iat: now, exp: now + 240 }))
  }
  return Buffer.from(`${[...headers, `content-length: ${form.toString().length}`].join('\r\n')}\r\n\r\n${form}`)
}
