import { timingSafeEqual } from 'node:crypto'
import type { Database, Statement } from '@sallyport/database'
import { isUuid, type PublicKey } from '@sallyport/identity'
import type { FastifyRequest } from 'fastify'
import { LRUCache } from 'lru-cache'
import type { Config } from '../config.ts'
import { type ClientAssertion, readClientAssertion } from './client-assertion.ts'
import { hashSecret } from './credentials.ts'
import type { Form } from './form.ts'
import { type Jwks, keysFor } from './jwks.ts'
import { invalidRequest, OAuthError } from './oauth-error.ts'
import type { RemoteJwks } from './remote-jwks.ts'

/** A service account that has proved who it is, and by which of its credentials. */
export interface AuthenticatedClient {
  id: string
  roles: string[]
  scopes: string[]
  audiences: string[]
  credentialId: string
  /** In seconds since 1970. */
  credentialEndsAt: number | undefined
}

export type AuthenticateClient = (request: FastifyRequest<{ Body: Form }>) => Promise<AuthenticatedClient>

interface Dependencies {
  config: Config
  database: Database
  remoteJwks: RemoteJwks
}

/** A service account with one of its credentials, as statements return them; without one, of an account that has none. */
interface Row {
  id: string
  roles: string[]
  scopes: string[]
  audiences: string[]
  credentialId: string | null
  secretHash: Buffer | null
  jwks: Jwks | null
  jwksUri: string | null
  endsAt: number | null
  /** Whether its use was not noted within a minute. */
  isUnnoted: boolean
}

const columns = `
  c.id, c.roles, c.scopes, c.audiences, k.id AS "credentialId", k.secret_hash AS "secretHash", k.jwks,
  k.jwks_uri AS "jwksUri", floor(extract(epoch FROM k.expires_at))::float8 AS "endsAt",
  k.last_used_at IS NULL OR k.last_used_at < now() - interval '1 minute' AS "isUnnoted"`

/** Its credentials of one kind that have not expired. */
const findCredentials: Statement = {
  name: 'find_credentials_of_client',
  text: `
    SELECT ${columns} FROM auth.clients c LEFT JOIN auth.client_credentials k
      ON k.client_id = c.id AND k.kind = $2 AND (k.expires_at IS NULL OR k.expires_at > now())
    WHERE c.id = $1`,
}

/**
 * Whether a credential has ended, to the second, as tokens end: the statements have fractions of one, and another clock. Its
 * tokens would have expired when they are issued.
 */
export const hasEnded = ({ endsAt }: Pick<Row, 'endsAt'>) => endsAt !== null && endsAt <= Date.now() / 1000

/** To the minute, so that what is used all the time is not written all the time. */
export const noteUse: Statement = {
  name: 'note_use_of_credential',
  text: 'UPDATE auth.client_credentials SET last_used_at = now() WHERE id = $1',
}

/** Takes an assertion, unless it was taken before, or its credential is revoked or another one by now. */
const takeAssertion: Statement = {
  name: 'take_client_assertion',
  text: `
    WITH taken AS (
      INSERT INTO auth.client_assertions (client_id, jti_hash, expires_at)
      SELECT client_id, $2, to_timestamp($3) FROM auth.client_credentials
      WHERE id = $1 AND (expires_at IS NULL OR expires_at > now())
        AND client_id = $4 AND coalesce(jwks, 'null') = $5::jsonb AND jwks_uri IS NOT DISTINCT FROM $6
      ON CONFLICT DO NOTHING RETURNING client_id)
    SELECT ${columns} FROM taken JOIN auth.clients c ON c.id = taken.client_id JOIN auth.client_credentials k ON k.id = $1`,
}

/** Of how many service accounts the keys are remembered. */
const mostRemembered = 1_000

const assertionType = 'urn:ietf:params:oauth:client-assertion-type:jwt-bearer'

/**
 * Makes the check of who calls an endpoint of OAuth: a service account, by HTTP Basic (RFC 6749 section 2.3.1) or by a
 * signed assertion (RFC 7523), and by one of the two alone.
 *
 * It throws invalid_client without saying what was wrong, and invalid_request for more than one way at once.
 */
export function createAuthenticateClient({ config, database, remoteJwks }: Dependencies): AuthenticateClient {
  const { issuer } = config.accessToken

  /** The keys by which service accounts were last known: with them alone an assertion takes one statement instead of two. */
  const remembered = new LRUCache<string, Row[]>({ max: mostRemembered })

  async function byBasic(authorization: string, named: string | undefined): Promise<AuthenticatedClient> {
    const { clientId, secret } = readBasic(authorization)
    if (named !== undefined && named !== clientId) throw invalidRequest('client_id names another client')
    const rows = await find(clientId, 'secret')
    const hash = hashSecret(secret)
    const row = rows.find(({ secretHash }) => secretHash && timingSafeEqual(secretHash, hash))
    if (!row) throw refused('no such secret', rows[0]?.id)
    return found(row)
  }

  async function byAssertion(token: string, named: string | undefined): Promise<AuthenticatedClient> {
    const assertion = readClientAssertion(token, issuer)
    if (typeof assertion === 'string') throw refused(assertion)
    const { clientId } = assertion
    if (named !== undefined && named !== clientId) throw invalidRequest('client_id names another client')
    const known = await take(remembered.get(clientId) ?? [], assertion)
    if (known) return found(known)
    const rows = await find(clientId, 'keys')
    let why: unknown = 'not signed by a key of the client, or its jti was used before'
    const row = await take(rows, assertion, (error) => {
      why = error
    })
    if (!row) throw refused(why, rows[0]?.id)
    remembered.set(clientId, rows)
    return found(row)
  }

  /**
   * Takes an assertion that one of these keys has signed, if the database has that key now and did not have the assertion.
   *
   * @param onUnreadable receives why a key set cannot be had, which keeps no other one from being tried
   */
  async function take(
    rows: Row[],
    assertion: ClientAssertion,
    onUnreadable: (error: unknown) => void = () => {},
  ): Promise<Row | undefined> {
    for (const row of rows) {
      const keys = await keysOf(row, assertion.keyId).catch((error) => {
        onUnreadable(error)
        return []
      })
      if (!keys.some((key) => assertion.isSignedBy(key))) continue
      const { credentialId, jwks, jwksUri } = row
      const { jtiHash, expiresAt, clientId } = assertion
      const values = [credentialId, jtiHash, expiresAt, clientId, JSON.stringify(jwks), jwksUri]
      const [taken] = await database.run<Row>(takeAssertion, values)
      return taken && !hasEnded(taken) ? taken : undefined
    }
    return undefined
  }

  async function keysOf({ jwks, jwksUri }: Row, kid: string | undefined): Promise<PublicKey[]> {
    if (jwks) return keysFor(jwks, kid)
    return jwksUri ? keysFor(await remoteJwks.find(jwksUri, kid), kid) : []
  }

  async function find(clientId: string, kind: 'secret' | 'keys'): Promise<Row[]> {
    const rows = isUuid(clientId) ? await database.run<Row>(findCredentials, [clientId, kind]) : []
    return rows.filter((row) => !hasEnded(row))
  }

  async function found({ id, roles, scopes, audiences, ...credential }: Row): Promise<AuthenticatedClient> {
    const credentialId = credential.credentialId as string
    if (credential.isUnnoted) await database.run(noteUse, [credentialId])
    return { id, roles, scopes, audiences, credentialId, credentialEndsAt: credential.endsAt ?? undefined }
  }

  return async ({ raw, body }) => {
    const sent = authorizationsOf(raw.rawHeaders)
    if (sent.length > 1) throw invalidRequest('more than one Authorization header')
    const [authorization] = sent
    const token = body.get('client_assertion')
    const type = body.get('client_assertion_type')
    if (body.get('client_secret') !== undefined)
      throw invalidRequest('a secret is sent by HTTP Basic and not in the body')
    if (authorization !== undefined && (token !== undefined || type !== undefined))
      throw invalidRequest('more than one way to authenticate')
    if (authorization !== undefined) return byBasic(authorization, body.get('client_id'))
    if (token === undefined && type === undefined) throw refused('no credentials')
    if (token === undefined || type !== assertionType)
      throw invalidRequest('client_assertion and its type go together, and the type is jwt-bearer')
    return byAssertion(token, body.get('client_id'))
  }
}

/** All of them: Node keeps one of several, and drops the others without a word. */
function authorizationsOf(rawHeaders: string[]): string[] {
  return rawHeaders.filter((_, at) => at % 2 === 1 && rawHeaders[at - 1]?.toLowerCase() === 'authorization')
}

/** RFC 7617, with both parts encoded as in a form (RFC 6749 section 2.3.1). */
function readBasic(authorization: string): { clientId: string; secret: string } {
  const [, encoded] = /^basic +([A-Za-z0-9+/]+={0,2})$/i.exec(authorization) ?? []
  const text = encoded === undefined ? '' : Buffer.from(encoded, 'base64').toString()
  const colon = text.indexOf(':')
  if (colon < 1) throw refused('no HTTP Basic with a client and a secret')
  return { clientId: formDecode(text.slice(0, colon)), secret: formDecode(text.slice(colon + 1)) }
}

function formDecode(text: string): string {
  try {
    return decodeURIComponent(text.replaceAll('+', ' '))
  } catch {
    throw refused('no form-encoding in HTTP Basic')
  }
}

const refused = (cause: unknown, client?: string) =>
  new OAuthError('invalid_client', 'the client is unknown, or did not prove who it is', {
    cause,
    ...(client !== undefined && { client }),
  })
