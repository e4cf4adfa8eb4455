import { createPrivateKey, randomUUID, sign } from 'node:crypto'
import fastifyJwt, { type JWT } from '@fastify/jwt'
import { Problem } from '@sallyport/chassis'
import { algorithmOf, isUuid, publicJwk } from '@sallyport/identity'
import Fastify from 'fastify'
import type { Config } from '../config.ts'
import type { LiveSession } from '../sessions/session.ts'

/** What a refresh token says. `generation` counts the rotations of session `sessionId`. */
export interface RefreshClaims {
  userId: string
  sessionId: string
  generation: number
}

export interface Tokens {
  /** An access token (RFC 9068) for a live session. */
  signAccess(session: LiveSession): string
  /** The refresh token of a session's present generation: the same session row always gives the same bytes. */
  signRefresh(session: LiveSession): string
  /**
   * Reads a refresh token. It asks no database, so it does not know whether the session still lives.
   *
   * @throws 401 REFRESH_INVALID for anything we did not sign as a refresh token, 401 REFRESH_EXPIRED
   */
  readRefresh(token: string): RefreshClaims
  /** The public keys for access tokens, as a JWK Set (RFC 7517). */
  readonly keySet: { keys: { kid: string }[] }
}

/** No token of ours is longer; nothing longer is worth a hash. */
const longest = 2_048

/** Access tokens end up to this share of their life early, at random, so that clients do not refresh in step. */
const jitter = 0.05

/**
 * Prepares signing and checking of tokens, once for each key: the first of a set signs, all are accepted, so that keys
 * are replaced without ending a session. @fastify/jwt makes and checks refresh tokens; access tokens are only signed here,
 * by Node itself, for which it takes a quarter less.
 *
 * @fastify/jwt binds its keys when it is registered, and a server takes no plugin once it has started. So each set of
 * keys gets an instance of its own, which never listens; see live-tokens.ts for how one takes the place of another.
 */
export async function createTokens({
  accessToken,
  refreshSecrets,
}: Pick<Config, 'accessToken' | 'refreshSecrets'>): Promise<Tokens> {
  const app = Fastify()
  const signAccess = createSigner(accessToken.privateKeys[0])
  for (const [index, secret] of refreshSecrets.entries())
    await app.register(fastifyJwt, {
      namespace: `refresh${index}`,
      secret,
      sign: { algorithm: 'HS256', header: { alg: 'HS256', typ: 'rt+jwt' } },
      verify: { algorithms: ['HS256'], checkTyp: 'rt+jwt', requiredClaims: ['exp'] },
    })
  await app.ready()
  const signers = app.jwt as unknown as Record<string, JWT>
  const refresh = refreshSecrets.map((_, index) => signers[`refresh${index}`]) as [JWT, ...JWT[]]

  return {
    keySet: { keys: accessToken.privateKeys.map(publicJwk) },

    signAccess({ id, user }) {
      const issuedAt = Math.floor(Date.now() / 1000)
      const lifetime = Math.floor(accessToken.seconds * (1 - Math.random() * jitter))
      return signAccess({
        iss: accessToken.issuer,
        aud: accessToken.audience,
        sub: user.id,
        client_id: accessToken.clientId,
        iat: issuedAt,
        exp: issuedAt + lifetime,
        jti: randomUUID(),
        sid: id,
        email: user.email,
        role: user.roles[0],
        roles: user.roles,
      })
    },

    signRefresh({ id, user, generation, rotatedAt, expiresAt }) {
      const claims = { sub: user.id, sid: id, gen: generation, iat: rotatedAt, exp: expiresAt, type: 'refresh' }
      return refresh[0].sign(claims)
    },

    readRefresh(token) {
      const { sub, sid, gen, type } = verifyWithAny(refresh, token)
      const wellFormed = type === 'refresh' && isUuid(sub) && isUuid(sid) && isGeneration(gen)
      if (!wellFormed) throw new Problem(401, 'REFRESH_INVALID', 'The refresh token is not valid')
      return { userId: sub as string, sessionId: sid as string, generation: gen as number }
    },
  }
}

/** Makes JWTs (RFC 7519) of type `at+jwt` with a key of any of our algorithms. */
function createSigner(privateKey: string): (claims: object) => string {
  const alg = algorithmOf(privateKey)
  const encode = (part: object) => Buffer.from(JSON.stringify(part)).toString('base64url')
  const header = encode({ alg, typ: 'at+jwt', kid: publicJwk(privateKey).kid })
  // Ed25519 brings a hash of its own, and JWS wants the two numbers of an ECDSA signature side by side (RFC 7518).
  const hash = alg === 'EdDSA' ? null : 'sha256'
  const key = { key: createPrivateKey(privateKey), dsaEncoding: 'ieee-p1363' } as const
  return (claims) => {
    const content = `${header}.${encode(claims)}`
    return `${content}.${sign(hash, Buffer.from(content), key).toString('base64url')}`
  }
}

/** A generation that the database can hold, and one more. */
const isGeneration = (gen: unknown) => Number.isInteger(gen) && (gen as number) >= 0 && (gen as number) < 2 ** 31 - 1

function verifyWithAny(secrets: JWT[], token: string): Record<string, unknown> {
  let cause: unknown
  if (token.length <= longest) {
    for (const secret of secrets) {
      try {
        return secret.verify<Record<string, unknown>>(token)
      } catch (error) {
        if ((error as { code?: string }).code === 'FAST_JWT_EXPIRED')
          throw new Problem(401, 'REFRESH_EXPIRED', 'The session has expired')
        cause = error
      }
    }
  }
  throw new Problem(401, 'REFRESH_INVALID', 'The refresh token is not valid', { cause })
}
