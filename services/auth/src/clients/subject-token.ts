import { createPublicKey } from 'node:crypto'
import type { Database, Statement } from '@sallyport/database'
import {
  actorsOf,
  algorithmOf,
  assertionIssuer,
  clientIdOf,
  type Identity,
  identityFromClaims,
  isUuid,
  type PublicKey,
  publicJwk,
} from '@sallyport/identity'
import type { Config } from '../config.ts'
import type { KeySet } from '../tokens/key-set.ts'
import { readSigned } from '../tokens/verify.ts'

/** A valid token of ours, or of the gateway: whose it is, for whom, and until when (seconds since 1970). */
export interface ReadToken {
  identity: Identity
  audiences: string[]
  expiresAt: number
  /** Its own, and of an assertion that of the access token that it was made from. */
  tokenIds: string[]
  claims: Record<string, unknown>
}

export interface TokenReader {
  /** An access token; undefined for anything else. It does not look whether what it belongs to has ended. */
  accessToken(token: string): ReadToken | undefined
  /** An identity assertion of the gateway, which services get as `x-identity-token`. Likewise. */
  assertion(token: string): ReadToken | undefined
  /**
   * Whether what a token belongs to goes on: its session or credential, those of everyone who acts in it, the exchanges
   * by which they do, and the token itself; and whether its subject still has its roles, and a service account its scopes
   * and, unless somebody acts for it, audiences: what gateways take for stale is over here too.
   */
  isLive(token: ReadToken): Promise<boolean>
}

/** How much older than its end a token may be, as services allow it for assertions too, in seconds. */
const tolerance = 5

const findState: Statement = {
  name: 'find_state_of_token',
  text: `
    SELECT
      (SELECT count(*)::int FROM unnest($1::uuid[]) AS i WHERE NOT (
         EXISTS (SELECT FROM auth.sessions s JOIN auth.users u ON u.id = s.user_id
                 WHERE s.id = i AND s.revoked_at IS NULL AND s.expires_at > now() AND u.disabled_at IS NULL)
         OR EXISTS (SELECT FROM auth.client_credentials WHERE id = i AND (expires_at IS NULL OR expires_at > now()))
         OR EXISTS (SELECT FROM auth.client_exchanges WHERE id = i))) AS ended,
      EXISTS (SELECT FROM auth.revocations WHERE id = ANY($2::uuid[])) AS "isRevoked",
      coalesce((SELECT roles FROM auth.users WHERE id = $3 AND NOT $4), c.roles) AS roles, c.scopes, c.audiences
    FROM (SELECT) AS one LEFT JOIN auth.clients c ON c.id = $3 AND $4`,
}

interface State {
  /** How many of those it belongs to. */
  ended: number
  isRevoked: boolean
  /** Those that its subject has now; null if that is gone. */
  roles: string[] | null
  /** Those of a service account. */
  scopes: string[] | null
  audiences: string[] | null
}

export function createTokenReader(
  { accessToken, trust }: Pick<Config, 'accessToken' | 'trust'>,
  database: Database,
  keys: { readonly current: KeySet },
): TokenReader {
  const assertionKeys = new Map<string, PublicKey>(
    (trust.verify ? trust.publicKeys : []).map((pem) => [
      publicJwk(pem).kid,
      { key: createPublicKey(pem), algorithm: algorithmOf(pem) },
    ]),
  )

  function read(claims: Record<string, unknown> | undefined, issuer: string): ReadToken | undefined {
    if (!claims || claims.iss !== issuer) return undefined
    const { aud, jti, token_jti: tokenId = jti, token_exp: tokenEnd = claims.exp } = claims
    const audiences = [aud].flat() as string[]
    const identity = identityFromClaims(claims)
    // Whom another issuer vouches for is nobody here, whatever id they have there.
    if (
      !identity ||
      identity.issuer !== undefined ||
      !isNumber(claims.exp) ||
      !isNumber(tokenEnd) ||
      !isUuid(jti) ||
      !isUuid(tokenId)
    )
      return undefined
    const expiresAt = Math.min(claims.exp, tokenEnd)
    if (expiresAt <= Date.now() / 1000 - tolerance) return undefined
    return { identity, audiences, expiresAt, tokenIds: [jti, tokenId], claims }
  }

  return {
    accessToken: (token) => read(readSigned(token, keys.current.accessKeys, 'at+jwt'), accessToken.issuer),
    assertion: (token) => read(readSigned(token, assertionKeys, 'identity+jwt'), assertionIssuer),
    async isLive({ identity, audiences, tokenIds, claims }) {
      const { userId, roles, scopes = [], sessionId, act } = identity
      const subject = clientIdOf(userId)
      const actors = actorsOf(act).flatMap(({ sid, grant }) => [sid, grant].filter((id) => id !== undefined))
      const ids = [sessionId, ...actors]
      const id = subject ?? userId
      // Those of another issuer, which none of ours has ended.
      if (![...ids, id].every(isUuid)) return false
      const [state] = await database.run<State>(findState, [ids, tokenIds, id, subject !== undefined])
      const { ended, isRevoked, ...now } = state as State
      if (ended > 0 || isRevoked || !isWithin(roles, now.roles)) return false
      if (subject === undefined) return true
      // An assertion is for a service, by whatever audience its subject called that.
      const isOwn = !act && claims.iss === accessToken.issuer
      return isWithin(scopes, now.scopes) && (!isOwn || isWithin(audiences, now.audiences))
    },
  }
}

const isNumber = (value: unknown): value is number => typeof value === 'number'

const isWithin = (held: string[], now: string[] | null) => held.every((one) => now?.includes(one))
