import type { Algorithm } from './algorithm.ts'
import { type Identity, isNumericDate } from './identity.ts'
import { type Claims, type Issuer, longestToken } from './issuer.ts'
import { readJson, readJws, readObject, repeatsName, type SignedMessage } from './jws.ts'
import type { VerifyingKey } from './key-set.ts'
import { badToken, invalid, Problem } from './problem.ts'
import { mismatch, shown } from './shown.ts'

/** An access token that is valid. */
export interface VerifiedToken {
  token: string
  identity: Identity
  issuer: Issuer
  jti: string | undefined
  /** For what the token was issued (`aud`): for the whole API, or for the routes of these audiences alone. */
  audiences: readonly string[]
  isForApi: boolean
  /** Ids with which the token ends: its session or credential, itself, and what every actor's power belongs to. */
  belongsTo: readonly string[]
  /** The key that signed the token, and its id: once the key is retired, the token is invalid. */
  key: VerifyingKey<unknown>
  keyId: string
  /** When the token ends, in seconds since 1970. */
  expiresAt: number
}

/** Whether a key signed a message by an algorithm, on the platform at hand. */
export type IsSigned<Key> = (key: Key, algorithm: Algorithm, message: SignedMessage) => boolean | Promise<boolean>

/**
 * Checks an access token (RFC 9068, RFC 8725): form, issuer, type, key, signature, audience, times and claims. The issuer
 * is found first, and nothing of any other has a say.
 *
 * It does not know whether a token that is for some routes alone is for this one (`forAudience`), nor whether what it
 * belongs to has ended since (`Revocations`).
 *
 * @throws Problem 401 TOKEN_EXPIRED or TOKEN_INVALID; 503 while the keys of its issuer could not be fetched
 */
export type ReadToken = (token: string) => VerifiedToken | Promise<VerifiedToken>

/** How far in the future a token may become valid, as clocks differ, in seconds. */
const skew = 30

/**
 * How far in the future a token may have been issued, and its user have proved who they are. More than the skew, as a
 * clock that steps by minutes should sign nobody out, and when a token was issued decides nothing else (RFC 7519
 * section 4.1.6).
 */
const issuedAhead = 360

/** The header of a token, which may say nothing that changes how it is checked (`jwk`, `jku`, `x5u`, `crit`, `b64`). */
interface Header {
  keyId: string
  algorithm: string
  type: string | undefined
  others: string[]
}

/** Headers read before, since all tokens of one key have the same; few, as any client can make one up. */
const mostHeaders = 100

/**
 * @param find the issuer of this name, if its tokens are taken
 * @param isSigned by the platform's own cryptography
 * @param onTooLong counts a token that is refused for its length
 */
export function createTokenReader<Key>(
  find: (name: string) => Issuer<Key> | undefined,
  isSigned: IsSigned<Key>,
  onTooLong?: () => void,
): ReadToken {
  const headers = new Map<string, Header | undefined>()

  function headerOf(encoded: string): Header | undefined {
    if (headers.has(encoded)) return headers.get(encoded)
    const header = toHeader(readObject(encoded))
    if (headers.size === mostHeaders) headers.clear()
    headers.set(encoded, header)
    return header
  }

  function tooLong(): Problem {
    onTooLong?.()
    return invalid('too long')
  }

  return (token) => {
    if (token.length > longestToken) throw tooLong()
    const message = readJws(token)
    if (typeof message === 'string') throw invalid(message)
    const header = headerOf(message.header)
    if (!header) throw invalid('not a token header')
    const claims = readJson(message.claims)
    const { iss } = claims?.value ?? {}
    const issuer = typeof iss === 'string' ? find(iss) : undefined
    if (!issuer || !claims) throw invalid(`iss is ${shown(iss)}; of no issuer that is known here`)
    if (token.length > issuer.longestToken) throw tooLong()
    if (!issuer.takesType(header.type)) throw invalid(mismatch('typ', header.type, issuer.types))
    const unread = header.others.filter((name) => !issuer.otherHeaders.has(name))
    if (unread.length > 0) throw invalid(`a header with ${shown(unread)}`)

    const { keyId } = header
    const finish = (signed: boolean, key: VerifyingKey<Key>): VerifiedToken => {
      if (!signed) throw invalid('not signed by this key')
      if (repeatsName(claims)) throw invalid('a claim is repeated')
      return { ...toVerified(token, claims.value, issuer), key, keyId }
    }
    const check = (found: VerifyingKey<Key> | undefined): VerifiedToken | Promise<VerifiedToken> => {
      if (!found) throw invalid(`kid is ${shown(keyId)}; of no key of the issuer`)
      const { key, algorithm } = found
      if (header.algorithm !== algorithm) throw invalid(mismatch('alg', header.algorithm, algorithm))
      const signed = isSigned(key, algorithm, message)
      return signed instanceof Promise ? signed.then((is) => finish(is, found)) : finish(signed, found)
    }
    const key = issuer.keySet.find(keyId)
    return key instanceof Promise ? key.then(check) : check(key)
  }
}

function toHeader(header: Record<string, unknown> | undefined): Header | undefined {
  const { alg, typ, kid, ...others } = header ?? {}
  if (typeof alg !== 'string' || typeof kid !== 'string' || !(typ === undefined || typeof typ === 'string'))
    return undefined
  return { keyId: kid, algorithm: alg, type: typ, others: Object.keys(others) }
}

function toVerified(token: string, claims: Claims, issuer: Issuer): Omit<VerifiedToken, 'key' | 'keyId'> {
  const { jti, iat, exp, nbf = 0 } = claims
  const now = Date.now() / 1000
  const audiences = issuer.audiencesOf(claims)
  if (!audiences) throw invalid(`${issuer.audienceClaim} is no list of texts; wanted ${shown(issuer.audiences)}`)
  const isForApi = issuer.audiences.some((audience) => audiences.includes(audience))
  if (!isForApi && !issuer.hasRouteAudiences) throw invalid(mismatch(issuer.audienceClaim, audiences, issuer.audiences))
  if (!isNumericDate(iat) || !isNumericDate(exp) || !isNumericDate(nbf) || nbf > now + skew || iat > now + issuedAhead)
    throw invalid('wrong times')
  const identity = issuer.identityOf(claims)
  if (typeof identity === 'string') throw invalid(identity)
  if (identity.authTime !== undefined && identity.authTime > now + issuedAhead) throw invalid('wrong times')
  if (exp <= now) throw expired()
  return {
    token,
    identity,
    issuer,
    jti: typeof jti === 'string' ? jti : undefined,
    audiences,
    isForApi,
    belongsTo: issuer.idsOf(identity, claims),
    expiresAt: exp,
  }
}

/** Whether a token that was valid has neither expired nor lost its key since. */
export const isStillValid = ({ expiresAt, issuer, key, keyId }: VerifiedToken): boolean =>
  expiresAt > Date.now() / 1000 && issuer.keySet.holds(keyId, key)

/**
 * A token that was issued for the whole API, or for routes of this audience.
 *
 * @throws Problem 401 TOKEN_INVALID for any other
 */
export function forAudience<Token extends VerifiedToken>(token: Token, audience: string | undefined): Token {
  if (token.isForApi || (audience !== undefined && token.audiences.includes(audience))) return token
  throw invalid(mismatch(token.issuer.audienceClaim, token.audiences, [audience ?? [], token.issuer.audiences].flat(2)))
}

export function expired(): Problem {
  return new Problem(401, 'TOKEN_EXPIRED', 'The access token has expired', { headers: badToken })
}

/**
 * The bearer token of an `Authorization` header (RFC 6750 section 2.1).
 *
 * @throws Problem 401 TOKEN_INVALID for a header that is none
 */
export function readBearer(authorization: string): string {
  const token = authorization.slice(/^bearer +/i.exec(authorization)?.[0].length ?? authorization.length)
  if (token === '' || token.includes(' ')) throw refused('The Authorization header is not a bearer token')
  return token
}

/** @param title what the client did wrong with its token, said to it */
export function refused(title: string): Problem {
  return new Problem(401, 'TOKEN_INVALID', title, { headers: badToken })
}
