import { randomUUID } from 'node:crypto'
import { claimsOf, type Identity } from '@sallyport/identity'
import type { Config } from '../config.ts'
import { type LiveSession, levelOf } from '../sessions/session.ts'
import type { KeySet } from './key-set.ts'

export interface AccessTokens {
  /** An access token (RFC 9068, with section 2.2.1 on how its user signed in) for a live session. */
  sign(session: LiveSession): string
  /** An access token for whoever an identity says, with its scopes and actors (RFC 8693). */
  issue(grant: Grant): IssuedToken
}

export interface Grant {
  identity: Identity
  /** To which client it is issued: a service account, or the one that people sign in by. */
  clientId?: string
  /** What it is for; the API as a whole if not given. */
  audiences?: string[]
  /** For how long, in seconds, if not as long as access tokens are. */
  lifetime?: number
  /** When it has to have ended, in seconds since 1970. */
  endsBy?: number | undefined
}

export interface IssuedToken {
  token: string
  /** In seconds. */
  expiresIn: number
}

/** Access tokens end up to this share of their life early, at random, so that clients do not refresh in step. */
const jitter = 0.05

/** @param keys the keys of the moment; the active one signs */
export function createAccessTokens(
  { issuer, audience, clientId: ownClientId, seconds }: Config['accessToken'],
  keys: { readonly current: KeySet },
): AccessTokens {
  function issue({ identity, clientId = ownClientId, audiences = [audience], endsBy, ...grant }: Grant): IssuedToken {
    const issuedAt = Math.floor(Date.now() / 1000)
    const lifetime = grant.lifetime ?? Math.floor(seconds * (1 - Math.random() * jitter))
    const expiresAt = Math.min(issuedAt + lifetime, endsBy ?? Number.POSITIVE_INFINITY)
    const { caller: _, ...claims } = claimsOf(identity)
    const token = keys.current.signAccess({
      iss: issuer,
      aud: audiences.length === 1 ? audiences[0] : audiences,
      ...claims,
      client_id: clientId,
      iat: issuedAt,
      exp: expiresAt,
      jti: randomUUID(),
    })
    return { token, expiresIn: expiresAt - issuedAt }
  }

  return {
    sign: ({ id: sessionId, user: { id: userId, email, roles }, proved: { at: authTime, amr } }) => {
      const who = { caller: 'user', userId, email, role: roles[0] as string, roles, sessionId } as const
      return issue({ identity: { ...who, authTime, acr: levelOf(amr), amr } }).token
    },
    issue,
  }
}
