import { generateKeyPairSync, randomUUID, sign } from 'node:crypto'
import { algorithmOf, createSigner, publicJwk } from '@sallyport/identity'
import type { Test } from 'tap'
import { Client, type ClientResponse, openSystem, type System, signIn } from './system.ts'

// As PEM: on Node 20 the export of a key object that was generated can wait for itself forever (for a lock it holds).
const publicKeyEncoding = { type: 'spki', format: 'pem' } as const
const privateKeyEncoding = { type: 'pkcs8', format: 'pem' } as const

export const makeKeyPair = (): { publicKey: string; privateKey: string } =>
  generateKeyPairSync('ec', { namedCurve: 'P-256', publicKeyEncoding, privateKeyEncoding })

export const issuer = 'https://issuer.test'
export const tokenExchange = 'urn:ietf:params:oauth:grant-type:token-exchange'
export const accessTokenType = 'urn:ietf:params:oauth:token-type:access_token'
export const jwtType = 'urn:ietf:params:oauth:token-type:jwt'
export const assertionType = 'urn:ietf:params:oauth:client-assertion-type:jwt-bearer'

export interface NewClient {
  name?: string
  roles?: string[]
  scopes?: string[]
  audiences?: string[]
}

export interface MachineAccount {
  id: string
  key: { publicKey: string; privateKey: string }
  /** The ids of its credentials. */
  keysId: string
  secretId: string
  secret: string
  apiKeyId: string
  apiKey: string
}

/** HTTP Basic, each part encoded as in a form (RFC 6749 section 2.3.1). */
export const basic = (id: string, secret: string): Record<string, string> => {
  const encode = (text: string) => encodeURIComponent(text).replaceAll('%20', '+')
  return { authorization: `Basic ${Buffer.from(`${encode(id)}:${encode(secret)}`).toString('base64')}` }
}

const now = () => Math.floor(Date.now() / 1000)

/** The claims of a good client assertion (RFC 7523). */
export const assertionClaims = (id: string) => ({
  iss: id,
  sub: id,
  aud: issuer,
  jti: randomUUID(),
  iat: now(),
  exp: now() + 60,
})

export const signAssertion = ({ id, key }: Pick<MachineAccount, 'id' | 'key'>, claims: object = {}) =>
  createSigner(key.privateKey, 'JWT')({ ...assertionClaims(id), ...claims })

/** Signs whatever header and claims it is given: objects, or text as it is. */
export function signAny(privateKey: string, header: object | string, claims: object | string): string {
  const encode = (part: object | string) =>
    Buffer.from(typeof part === 'string' ? part : JSON.stringify(part)).toString('base64url')
  const content = `${encode(header)}.${encode(claims)}`
  const hash = algorithmOf(privateKey) === 'EdDSA' ? null : 'sha256'
  const signature = sign(hash, Buffer.from(content), { key: privateKey, dsaEncoding: 'ieee-p1363' })
  return `${content}.${signature.toString('base64url')}`
}

export type Machines = Awaited<ReturnType<typeof openMachines>>

/** A system with service accounts, and an administrator who makes them. */
export async function openMachines(
  t: Test,
  settings: Record<string, string> = {},
  samples: Parameters<typeof openSystem>[2] = [],
) {
  const system = await openSystem(t, { TOKEN_RATE_LIMIT_MAX: '1000000', ...settings }, samples)
  return { ...system, ...(await actOn(system)) }
}

/** The same in a system that runs. */
export async function actOn({ gateway }: Pick<System, 'gateway'>) {
  const admin = await signIn(gateway, 'admin@example.com')
  const administer = (method: string, path: string, body?: unknown): Promise<ClientResponse> =>
    admin.call(method, `/api/admin/${path}`, { ...(body !== undefined && { body }) })

  async function made(path: string, body: unknown) {
    const { status, body: response } = await administer('POST', path, body)
    if (status !== 201) throw new Error(`POST ${path} returned ${status} ${JSON.stringify(response)}`)
    return response
  }

  /** A service account with a credential of each kind. */
  async function makeMachine(account: NewClient = {}): Promise<MachineAccount> {
    const { id } = await made('clients', { name: 'a machine', ...account })
    const key = makeKeyPair()
    const jwks = { keys: [publicJwk(key.publicKey)] }
    const keys = await made(`clients/${id}/credentials`, { kind: 'keys', name: 'keys', jwks })
    const secret = await made(`clients/${id}/credentials`, { kind: 'secret', name: 'a secret' })
    const apiKey = await made(`clients/${id}/credentials`, { kind: 'api_key', name: 'an API key' })
    return {
      ...{ id, key, keysId: keys.id },
      ...{ secretId: secret.id, secret: secret.clientSecret, apiKeyId: apiKey.id, apiKey: apiKey.apiKey },
    }
  }

  const addExchange = (id: string, exchange: { from: string; audience: string; roles?: string[]; scopes?: string[] }) =>
    made(`clients/${id}/exchanges`, { roles: [], scopes: [], ...exchange })

  /** Sends a form to an endpoint of OAuth. */
  async function post(
    path: string,
    form: Record<string, string> | string | [string, string][],
    headers: Record<string, string> = {},
  ): Promise<ClientResponse> {
    const response = await fetch(`${gateway}/oauth/${path}`, {
      method: 'POST',
      headers: { 'content-type': 'application/x-www-form-urlencoded', ...headers },
      body: typeof form === 'string' ? form : new URLSearchParams(form).toString(),
    })
    const text = await response.text()
    return { status: response.status, headers: response.headers, body: text.startsWith('{') ? JSON.parse(text) : text }
  }

  const byKey = (machine: Pick<MachineAccount, 'id' | 'key'>) => ({
    client_assertion_type: assertionType,
    client_assertion: signAssertion(machine),
  })

  /** A token of a service account for itself, by its secret. */
  async function tokenOf(
    machine: Pick<MachineAccount, 'id' | 'secret'>,
    form: Record<string, string> = {},
  ): Promise<string> {
    const grant = { grant_type: 'client_credentials', ...form }
    const { status, body } = await post('token', grant, basic(machine.id, machine.secret))
    if (status !== 200) throw new Error(`the token endpoint returned ${status} ${JSON.stringify(body)}`)
    return body.access_token
  }

  const exchange = (machine: Pick<MachineAccount, 'id' | 'key'>, token: string, form: Record<string, string> = {}) =>
    post('token', {
      ...{ grant_type: tokenExchange, subject_token: token, subject_token_type: accessTokenType },
      ...byKey(machine),
      ...form,
    })

  /** A client that calls with this token. */
  const bearing = (token: string) => Object.assign(new Client(gateway), { accessToken: token })

  return { admin, administer, makeMachine, addExchange, post, byKey, tokenOf, exchange, bearing }
}
