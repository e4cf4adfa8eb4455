import { randomUUID } from 'node:crypto'
import { Problem } from '@sallyport/chassis'
import type { Database } from '@sallyport/database'
import { isUuid } from '@sallyport/identity'
import { createSigner, createVerifier } from 'fast-jwt'
import type { DerivedKeys } from '../tokens/derived-keys.ts'

/** What is begun, to be finished once. */
export type Purpose = 'login' | 'password_reset' | 'passkey_login' | 'step_up' | 'totp' | 'passkey'

/** How long it is kept, in seconds. A phone that has to be found first takes longer than a code that is typed. */
const validFor = { totp: 600 } as Partial<Record<Purpose, number>>
const usually = 300

const mostTries = 5

interface Begun {
  purpose: Purpose
  userId?: string
  /** A session or a ticket, which alone may finish it. */
  boundTo?: string | undefined
  passwordVersion?: number
  /** What a passkey is to sign. */
  webauthn?: string | undefined
  /** Sealed. */
  secret?: string
}

/** Which one is to be finished, and by whom. */
export interface Which {
  id: string
  purpose: Purpose
  boundTo?: string | null | undefined
}

export interface Challenge {
  id: string
  userId: string | null
  passwordVersion: number | null
  webauthn: string | null
  secret: string | null
}

/** Keeps what is begun. @returns its id */
export async function beginChallenge(database: Database, begun: Begun): Promise<string> {
  const id = randomUUID()
  const seconds = validFor[begun.purpose] ?? usually
  const { purpose, userId = null, boundTo = null, passwordVersion = null, webauthn = null, secret = null } = begun
  await database.$executeRaw`
    INSERT INTO auth.challenges (id, purpose, user_id, bound_to, password_version, webauthn, secret, expires_at)
    VALUES (${id}::uuid, ${purpose}, ${userId}::uuid, ${boundTo}::uuid, ${passwordVersion}::int, ${webauthn}, ${secret},
      now() + ${seconds}::float8 * interval '1 second')`
  return id
}

/**
 * Finds it for one try of a code. One statement counts and finds, so that however many come at once, also to other
 * processes, no more than five do.
 *
 * @throws 400 CHALLENGE_INVALID if it was finished, has expired, had five tries, or was never begun
 */
export async function tryChallenge(database: Database, { id, purpose, boundTo = null }: Which): Promise<Challenge> {
  const [found] = await database.$queryRaw<Challenge[]>`
    UPDATE auth.challenges SET tries = tries + 1
    WHERE id = ${id}::uuid AND purpose = ${purpose} AND bound_to IS NOT DISTINCT FROM ${boundTo}::uuid
      AND tries < ${mostTries} AND expires_at > now()
    RETURNING id, user_id AS "userId", password_version AS "passwordVersion", webauthn, secret`
  if (!found) throw challengeInvalid()
  return found
}

/**
 * Finds it for the one passkey that may be tried with it, whether that is right or not: what was signed once is never
 * asked for again. A code may still be.
 *
 * @throws as tryChallenge does, and so where no passkey was asked for
 */
export async function takeWebauthn(
  database: Database,
  { id, purpose, boundTo = null }: Which,
): Promise<Challenge & { webauthn: string }> {
  const [found] = await database.$queryRaw<(Challenge & { webauthn: string })[]>`
    UPDATE auth.challenges c SET webauthn = NULL
    FROM (SELECT id, webauthn FROM auth.challenges WHERE id = ${id}::uuid FOR UPDATE) before
    WHERE c.id = before.id AND before.webauthn IS NOT NULL AND c.purpose = ${purpose}
      AND c.bound_to IS NOT DISTINCT FROM ${boundTo}::uuid AND c.tries < ${mostTries} AND c.expires_at > now()
    RETURNING c.id, c.user_id AS "userId", c.password_version AS "passwordVersion", before.webauthn, c.secret`
  if (!found) throw challengeInvalid()
  return found
}

/** Finishes it. @throws 400 CHALLENGE_INVALID if somebody else did meanwhile */
export async function finishChallenge(database: Pick<Database, 'challenge'>, id: string): Promise<void> {
  const { count } = await database.challenge.deleteMany({ where: { id } })
  if (count === 0) throw challengeInvalid()
}

/**
 * Forgets what was begun and not finished. All of it: whoever is nobody may begin too, and from many addresses at once
 * faster than a slice a minute.
 *
 * @param slice how many a statement deletes at most
 */
export async function forgetChallenges(database: Pick<Database, '$executeRaw'>, slice: number): Promise<void> {
  let forgotten: number
  do
    forgotten = await database.$executeRaw`
      DELETE FROM auth.challenges WHERE id IN (
        SELECT id FROM auth.challenges WHERE expires_at < now() LIMIT ${slice} FOR UPDATE SKIP LOCKED)`
  while (forgotten === slice)
}

export const challengeInvalid = () =>
  new Problem(400, 'CHALLENGE_INVALID', 'This was finished before, took too long, or was tried too often', {
    detail: 'Begin anew.',
  })

/** A challenge as its client has it: a JWT (RFC 7519) that names what was begun, so that made-up ones cost no look-up. */
export interface ChallengeTokens {
  sign(which: { id: string; purpose: Purpose }): string
  /** @returns the id. It does not know whether it can still be finished. @throws 400 CHALLENGE_INVALID */
  read(token: string, purpose: Purpose): string
}

const typ = 'challenge+jwt'
const expected = { algorithms: ['HS256' as const], checkTyp: typ, requiredClaims: ['jti', 'aud', 'exp'] }

export function createChallengeTokens(keys: Pick<DerivedKeys, 'challengeKeys'>): ChallengeTokens {
  return {
    sign({ id, purpose }) {
      const sign = createSigner({ key: keys.challengeKeys[0], algorithm: 'HS256', header: { alg: 'HS256', typ } })
      const iat = Math.floor(Date.now() / 1000)
      return sign({ jti: id, aud: purpose, iat, exp: iat + (validFor[purpose] ?? usually) })
    },
    read(token, purpose) {
      for (const key of keys.challengeKeys)
        try {
          const verify = createVerifier({ ...expected, key, allowedAud: purpose })
          const { jti } = verify(token)
          if (isUuid(jti)) return jti
        } catch {
          // Another key's, perhaps.
        }
      throw challengeInvalid()
    },
  }
}
