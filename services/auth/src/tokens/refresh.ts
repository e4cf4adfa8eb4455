import type { CookieSerializeOptions } from '@fastify/cookie'
import fastifyJwt, { type VerifyOptions } from '@fastify/jwt'
import { type Application, Problem } from '@sallyport/chassis'
import { isUuid } from '@sallyport/identity'
import type { FastifyReply, FastifyRequest } from 'fastify'
import type { LiveSession } from '../sessions/session.ts'
import type { KeySet } from './key-set.ts'

/** What a refresh token says. `generation` counts the rotations of session `sessionId`. */
export interface RefreshClaims {
  userId: string
  sessionId: string
  generation: number
}

export interface RefreshTokens {
  /**
   * Reads the refresh token of a request's cookie. It asks no database, so it does not know whether the session still lives.
   *
   * @throws 401 REFRESH_MISSING, REFRESH_EXPIRED, and REFRESH_INVALID for anything we did not sign as a refresh token
   */
  read(request: FastifyRequest): Promise<RefreshClaims>
  /** Sets the cookie to the token of a session's present generation: the same session row always gives the same bytes. */
  set(reply: FastifyReply, session: LiveSession): Promise<void>
  clear(reply: FastifyReply): void
}

declare module 'fastify' {
  interface FastifyRequest {
    refreshJwtVerify(options?: Partial<VerifyOptions>): Promise<Record<string, unknown>>
  }
  interface FastifyReply {
    refreshJwtSign(claims: object): Promise<string>
  }
}

/** No token of ours is longer; nothing longer is worth a hash. */
const longest = 2_048

/** How refresh tokens are signed: the type keeps them from being taken for any other token (RFC 8725 section 3.11). */
export const refreshSigning = { algorithm: 'HS256', header: { alg: 'HS256', typ: 'rt+jwt' } } as const

export function refreshClaims({ id, user, generation, rotatedAt, expiresAt }: Omit<LiveSession, 'proved'>) {
  return { sub: user.id, sid: id, gen: generation, iat: rotatedAt, exp: expiresAt, type: 'refresh' }
}

/**
 * Refresh tokens, as JWTs in a cookie, by @fastify/jwt. Its secret is a function, so that keys can be replaced while we run:
 * the active one signs, and each of them is accepted.
 *
 * In production the cookie's name has the prefix `__Host-`, with which browsers refuse to take it over plain HTTP, for
 * another path or from a sibling host.
 */
export async function registerRefreshTokens(
  app: Application,
  { production }: { production: boolean },
  keys: { readonly current: KeySet },
): Promise<RefreshTokens> {
  const cookieName = production ? '__Host-refreshToken' : 'refreshToken'
  const attributes: CookieSerializeOptions = { httpOnly: true, secure: production, sameSite: 'lax', path: '/' }
  await app.register(fastifyJwt, {
    namespace: 'refresh',
    secret: async () => keys.current.refreshSecrets[0],
    cookie: { cookieName, signed: false },
    sign: refreshSigning,
    verify: { algorithms: ['HS256'], checkTyp: 'rt+jwt', requiredClaims: ['exp'], onlyCookie: true },
  })

  async function verify(request: FastifyRequest): Promise<Record<string, unknown>> {
    const token = request.cookies[cookieName]
    if (!token) throw new Problem(401, 'REFRESH_MISSING', 'There is no refresh cookie')
    let cause: unknown
    if (token.length <= longest)
      for (const [index, key] of keys.current.refreshSecrets.entries()) {
        try {
          // With the active one, which most are signed with, the plugin keeps its verifier; with options it makes one.
          return await request.refreshJwtVerify(index === 0 ? undefined : { key })
        } catch (error) {
          if ((error as { code?: string }).code === 'FST_JWT_AUTHORIZATION_TOKEN_EXPIRED')
            throw new Problem(401, 'REFRESH_EXPIRED', 'The session has expired')
          cause = error
        }
      }
    throw invalid(cause)
  }

  return {
    async read(request) {
      const { sub, sid, gen, type } = await verify(request)
      if (type !== 'refresh' || !isUuid(sub) || !isUuid(sid) || !isGeneration(gen)) throw invalid()
      return { userId: sub, sessionId: sid, generation: gen }
    },
    async set(reply, session) {
      const maxAge = Math.max(0, session.expiresAt - Math.floor(Date.now() / 1000))
      reply.setCookie(cookieName, await reply.refreshJwtSign(refreshClaims(session)), { ...attributes, maxAge })
    },
    clear(reply) {
      reply.clearCookie(cookieName, attributes)
    },
  }
}

const invalid = (cause?: unknown) => new Problem(401, 'REFRESH_INVALID', 'The refresh token is not valid', { cause })

/** A generation that the database can hold, and one more. */
const isGeneration = (gen: unknown): gen is number =>
  Number.isInteger(gen) && (gen as number) >= 0 && (gen as number) < 2 ** 31 - 1
