import { randomUUID } from 'node:crypto'
import type { Config } from '../config.ts'
import { type LiveSession, levelOf } from '../sessions/session.ts'
import type { KeySet } from './key-set.ts'

export interface AccessTokens {
  /** An access token (RFC 9068, with section 2.2.1 on how its user signed in) for a live session. */
  sign(session: LiveSession): string
}

/** Access tokens end up to this share of their life early, at random, so that clients do not refresh in step. */
const jitter = 0.05

/** @param keys the keys of the moment; the active one signs */
export function createAccessTokens(
  { issuer, audience, clientId, seconds }: Config['accessToken'],
  keys: { readonly current: KeySet },
): AccessTokens {
  return {
    sign({ id, user, proved }) {
      const issuedAt = Math.floor(Date.now() / 1000)
      const lifetime = Math.floor(seconds * (1 - Math.random() * jitter))
      return keys.current.signAccess({
        iss: issuer,
        aud: audience,
        sub: user.id,
        client_id: clientId,
        iat: issuedAt,
        exp: issuedAt + lifetime,
        jti: randomUUID(),
        sid: id,
        auth_time: proved.at,
        acr: levelOf(proved.amr),
        amr: proved.amr,
        email: user.email,
        role: user.roles[0],
        roles: user.roles,
      })
    },
  }
}
