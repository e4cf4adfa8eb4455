import { createPrivateKey } from 'node:crypto'
import { readFileSync } from 'node:fs'
import { createServer, type ServerResponse } from 'node:http'
import type { Test } from 'tap'
import { parse } from 'yaml'
import { listen } from './edge.ts'
import { makeKey, signBy } from './jwt.ts'

/** The public half of a key as a set has it, without the algorithm, which many issuers leave out. */
export function setKey(key: string, kid: string, more: object = {}): object {
  const jwk = createPrivateKey(key).export({ format: 'jwk' })
  const { kty, crv, x, y, n, e } = jwk as Record<string, string>
  return { kty, crv, x, y, n, e, use: 'sig', kid, ...more }
}

/** An identity provider that nobody here wrote: what it signs, and the addresses of its keys and metadata. */
export class Provider {
  readonly algorithm: string
  readonly kid: string
  key: string
  keys: object[]
  /** Served instead of what is asked for while set. */
  fault: ((response: ServerResponse) => void) | undefined
  fetches: string[] = []
  url = ''
  metadata: object = {}

  constructor(algorithm = 'RS256', kid = 'key-1') {
    this.algorithm = algorithm
    this.kid = kid
    this.key = makeKey(algorithm)
    this.keys = [setKey(this.key, kid)]
  }

  async serve(t: Test): Promise<this> {
    const server = createServer((request, response) => {
      this.fetches.push(request.url ?? '')
      if (this.fault) return this.fault(response)
      const isMetadata = request.url?.endsWith('/.well-known/openid-configuration')
      response.end(JSON.stringify(isMetadata ? this.metadata : { keys: this.keys }))
    })
    this.url = await listen(t, server)
    this.metadata = { issuer: this.url, jwks_uri: `${this.url}/keys` }
    return this
  }

  token(claims: object, header: object = {}, key = this.key): string {
    const now = Math.floor(Date.now() / 1000)
    return signBy(
      this.algorithm,
      key,
      { alg: this.algorithm, typ: 'JWT', kid: this.kid, ...header },
      { iss: this.url, aud: 'api', sub: 'user-1', iat: now, exp: now + 600, ...claims },
    )
  }
}

/** The issuer that a section of docs/issuers.md has, as the file has it. */
export function documentedIssuer(section: string): Record<string, unknown> & { issuer: string } {
  const text = readFileSync(new URL('../../../docs/issuers.md', import.meta.url), 'utf8')
  const [, yaml = ''] = /```yaml\n([\s\S]*?)```/.exec(text.slice(text.indexOf(`\n## ${section}\n`))) ?? []
  return parse(yaml).issuers[0]
}

const now = () => Math.floor(Date.now() / 1000)
const times = () => ({ iat: now(), exp: now() + 300 })

/** What each provider signs, in the form that its documentation shows. */
export const documented = {
  Keycloak: {
    algorithm: 'RS256',
    header: { typ: 'JWT' },
    person: () => ({
      ...times(),
      auth_time: now() - 60,
      jti: 'onrtac:7c1b8f5a-2d7e-4c19-9a55-0f1f3f0a8f11',
      iss: 'https://login.example.com/realms/main',
      aud: ['api', 'account'],
      sub: 'f7a4d5b2-3c1e-4f6a-8b9d-0e1f2a3b4c5d',
      typ: 'Bearer',
      azp: 'web',
      sid: 'b1c2d3e4-f5a6-4b7c-8d9e-0f1a2b3c4d5e',
      acr: '1',
      'allowed-origins': ['https://app.example.com'],
      realm_access: { roles: ['default-roles-main', 'offline_access', 'Doctor', 'uma_authorization'] },
      resource_access: { account: { roles: ['manage-account', 'view-profile'] } },
      scope: 'openid email profile',
      email_verified: true,
      name: 'Some One',
      preferred_username: 'someone',
      email: 'someone@example.com',
    }),
    said: {
      'x-user-id': 'f7a4d5b2-3c1e-4f6a-8b9d-0e1f2a3b4c5d',
      'x-user-email': 'someone@example.com',
      'x-user-roles': 'doctor',
      'x-session-id': 'b1c2d3e4-f5a6-4b7c-8d9e-0f1a2b3c4d5e',
      'x-scopes': 'openid email profile',
      'x-auth-acr': '1',
    },
    machine: {
      sub: '0d1c2b3a-4f5e-4d6c-8b7a-9f8e7d6c5b4a',
      azp: 'nightly',
      client_id: 'nightly',
      clientHost: '10.0.0.7',
      clientAddress: '10.0.0.7',
      preferred_username: 'service-account-nightly',
      sid: undefined,
      email: undefined,
    },
    others: {
      'an ID token': { typ: 'ID', aud: 'web', at_hash: 'x' },
      'an ID token for an app of the same name': { typ: 'ID', aud: 'api', at_hash: 'x' },
      'a refresh token': { typ: 'Refresh' },
      'a token without the audience mapper': { aud: 'account' },
      'a token of another realm': { iss: 'https://login.example.com/realms/other' },
    },
  },
  Auth0: {
    algorithm: 'RS256',
    header: { typ: 'at+jwt' },
    person: () => ({
      ...times(),
      iss: 'https://example.eu.auth0.com/',
      sub: 'auth0|5f7c8ec7c33c6c004bbafe82',
      aud: ['https://api.example.com', 'https://example.eu.auth0.com/userinfo'],
      jti: 'Xb2Tq1',
      client_id: 'web1',
      azp: 'web1',
      scope: 'openid profile email read:reports',
      permissions: ['read:reports'],
      'https://example.com/roles': ['doctor', 'patient'],
    }),
    said: {
      'x-user-id': 'auth0|5f7c8ec7c33c6c004bbafe82',
      'x-user-email': undefined,
      'x-user-roles': 'doctor,patient',
      'x-session-id': undefined,
      'x-scopes': 'openid profile email read:reports',
    },
    machine: {
      sub: 'nightly1@clients',
      azp: 'nightly1',
      client_id: 'nightly1',
      gty: 'client-credentials',
      aud: 'https://api.example.com',
    },
    others: {
      'an ID token': { aud: 'web1', nonce: 'n' },
      'a token for userinfo alone': { aud: 'https://example.eu.auth0.com/userinfo' },
      'the issuer without its slash': { iss: 'https://example.eu.auth0.com' },
    },
  },
  'Amazon Cognito': {
    algorithm: 'RS256',
    header: { typ: undefined },
    person: () => ({
      ...times(),
      sub: 'aaaaaaaa-bbbb-4ccc-8ddd-eeeeeeeeeeee',
      'cognito:groups': ['doctor'],
      iss: 'https://cognito-idp.eu-central-1.amazonaws.com/eu-central-1_AbCdEfGhI',
      version: 2,
      client_id: '1example23456789',
      origin_jti: 'dddddddd-1111-4222-8333-444444444444',
      event_id: 'eeeeeeee-1111-4222-8333-444444444444',
      token_use: 'access',
      scope: 'aws.cognito.signin.user.admin openid',
      auth_time: now() - 60,
      jti: 'ffffffff-1111-4222-8333-444444444444',
      username: 'someone',
    }),
    said: {
      'x-user-id': 'aaaaaaaa-bbbb-4ccc-8ddd-eeeeeeeeeeee',
      'x-user-email': undefined,
      'x-user-roles': 'doctor',
      'x-session-id': 'dddddddd-1111-4222-8333-444444444444',
      'x-scopes': 'aws.cognito.signin.user.admin openid',
    },
    machine: { sub: '1example23456789', username: undefined, 'cognito:groups': undefined, scope: 'reports/read' },
    others: {
      'an ID token': { token_use: 'id', aud: '1example23456789', client_id: undefined },
      'a token of another app client': { client_id: '9other' },
      'a token of another pool': { iss: 'https://cognito-idp.eu-central-1.amazonaws.com/eu-central-1_Other' },
    },
  },
  'Microsoft Entra': {
    algorithm: 'RS256',
    header: { typ: 'JWT', x5t: 'aGFzaA' },
    person: () => ({
      ...times(),
      nbf: now(),
      aud: '66666666-7777-8888-9999-000000000000',
      iss: 'https://login.microsoftonline.com/11111111-2222-3333-4444-555555555555/v2.0',
      aio: 'E2ZgYLh1abHAkp',
      azp: 'aaaaaaaa-0000-1111-2222-bbbbbbbbbbbb',
      azpacr: '1',
      name: 'Some One',
      oid: 'cccccccc-dddd-eeee-3333-444444444444',
      preferred_username: 'someone@example.com',
      email: 'chief@example.com',
      verified_primary_email: ['someone@example.com'],
      rh: '0.AAA.',
      roles: ['Doctor', 'Unmapped'],
      scp: 'access_as_user profile',
      sub: 'HKZpfaHyWadeOouYlitjrI-KffTm222X5rrV3xDqfKQ',
      tid: '11111111-2222-3333-4444-555555555555',
      uti: 'fqiBqXLPj0eQa82S-IYFAA',
      ver: '2.0',
    }),
    said: {
      'x-user-id': 'cccccccc-dddd-eeee-3333-444444444444',
      'x-user-email': 'someone@example.com',
      'x-user-roles': 'doctor',
      'x-session-id': undefined,
      'x-scopes': 'access_as_user profile',
    },
    // By the block of the document an application has no access at all.
    machine: undefined,
    others: {
      'an ID token': { aud: 'aaaaaaaa-0000-1111-2222-bbbbbbbbbbbb', scp: undefined, nonce: 'n' },
      'a token of an application': { scp: undefined, idtyp: 'app', sub: 'cccccccc-dddd-eeee-3333-444444444444' },
      'a token with another scope': { scp: 'User.Read' },
      'a token of another tenant': {
        iss: 'https://login.microsoftonline.com/99999999-2222-3333-4444-555555555555/v2.0',
      },
      'a token of version 1': { iss: 'https://sts.windows.net/11111111-2222-3333-4444-555555555555/', ver: '1.0' },
    },
  },
  Supabase: {
    algorithm: 'ES256',
    header: { typ: 'JWT' },
    person: () => ({
      ...times(),
      aal: 'aal2',
      amr: [{ method: 'totp', timestamp: now() }],
      app_metadata: { provider: 'email', providers: ['email'], roles: ['doctor'] },
      aud: 'authenticated',
      email: 'someone@example.com',
      is_anonymous: false,
      iss: 'https://abcdefghijklmnop.supabase.co/auth/v1',
      phone: '',
      role: 'authenticated',
      session_id: '11111111-aaaa-4bbb-8ccc-222222222222',
      sub: '22222222-aaaa-4bbb-8ccc-333333333333',
      user_metadata: { roles: ['admin'] },
    }),
    said: {
      'x-user-id': '22222222-aaaa-4bbb-8ccc-333333333333',
      'x-user-email': 'someone@example.com',
      'x-user-roles': 'doctor',
      'x-session-id': '11111111-aaaa-4bbb-8ccc-222222222222',
      'x-scopes': '',
      'x-auth-acr': 'aal2',
    },
    machine: undefined,
    others: {
      'the key of the service': { role: 'service_role', sub: undefined },
      'an anonymous user': { is_anonymous: true },
      'the anonymous key': { role: 'anon', sub: undefined, aud: undefined },
      'a token of another project': { iss: 'https://qrstuvwxyz.supabase.co/auth/v1' },
    },
  },
} as const

export type ProviderName = keyof typeof documented
