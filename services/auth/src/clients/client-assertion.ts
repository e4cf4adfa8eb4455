import { createHash } from 'node:crypto'
import { isNumericDate, isSignedBy, type PublicKey, readJws, readObject } from '@sallyport/identity'

/** How long a client assertion may last, and how far clocks may differ, in seconds. */
const longestLife = 300
const skew = 30

const longest = 4_096

/** What a client assertion says, not yet checked by any key. */
export interface ClientAssertion {
  clientId: string
  keyId: string | undefined
  /** SHA-256 of its `jti`. */
  jtiHash: Uint8Array<ArrayBuffer>
  /** In seconds since 1970. */
  expiresAt: number
  isSignedBy(key: PublicKey): boolean
}

/** Types that a client assertion may say it has: none, as RFC 7523 leaves it open, or the one that is only for this. */
const types = [undefined, 'JWT', 'jwt', 'client-authentication+jwt']

/**
 * Reads a JWT by which a client proves who it is (RFC 7523 section 3, RFC 8725): its form, and all of its claims. `iss` and
 * `sub` are the client, `aud` is our issuer and nobody else (a string, or a list of that one), `jti` is there, and it ends
 * within five minutes. It does not check who signed it, nor whether it was used before.
 *
 * @returns why it is none, if it is none
 */
export function readClientAssertion(token: string, issuer: string): ClientAssertion | string {
  if (token.length > longest) return 'too long'
  const message = readJws(token)
  if (typeof message === 'string') return message
  const header = readObject(message.header)
  const claims = readObject(message.claims)
  if (!header || !claims) return 'not JSON'
  const { alg, typ, kid, ...others } = header
  if (Object.keys(others).length > 0) return 'more in its header than alg, kid and typ'
  if (!types.includes(typ as undefined)) return 'another type'
  if (kid !== undefined && typeof kid !== 'string') return 'no kid'
  const fault = faultOf(claims, issuer)
  if (fault) return fault
  const { sub, jti, exp } = claims as { sub: string; jti: string; exp: number }
  return {
    clientId: sub,
    keyId: kid,
    jtiHash: new Uint8Array(createHash('sha256').update(jti).digest()),
    expiresAt: exp,
    isSignedBy: (key) => isSignedBy(key, message, alg as string),
  }
}

function faultOf(claims: Record<string, unknown>, issuer: string): string | undefined {
  const { iss, sub, aud, jti, exp, iat, nbf } = claims
  const now = Date.now() / 1000
  if (typeof sub !== 'string' || sub === '' || iss !== sub) return 'iss and sub are not both the client'
  if (!(aud === issuer || (Array.isArray(aud) && aud.length === 1 && aud[0] === issuer)))
    return 'not for this issuer alone'
  if (typeof jti !== 'string' || jti === '' || jti.length > 256) return 'no jti'
  if (!isNumericDate(exp)) return 'no exp'
  if (exp <= now - skew) return 'it has expired'
  if (exp > now + longestLife + skew) return 'it lasts longer than five minutes'
  if (iat !== undefined && !(isNumericDate(iat) && iat <= now + skew && iat > now - longestLife - 2 * skew))
    return 'its iat is wrong'
  if (nbf !== undefined && !(isNumericDate(nbf) && nbf <= now + skew)) return 'its nbf is wrong'
  return undefined
}
