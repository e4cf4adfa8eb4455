import { Problem } from '@sallyport/chassis'
import type { Database, Statement } from '@sallyport/database'
import type { preHandlerAsyncHookHandler } from 'fastify'
import { hasFactorOf } from '../factors/owned.ts'

/** For how long who signed in, or stepped up, need not do so again, in seconds. */
const recent = 300

/** Guards that go after the one that says who is calling. */
export interface RecentSignIn {
  /** For what ends sessions (ASVS V7.5.2): callers who have proved lately who they are. */
  recently: preHandlerAsyncHookHandler
  /** For what changes an account (ASVS V7.5.1): callers who have done so with all that they have, a second factor too. */
  fully: preHandlerAsyncHookHandler
}

/**
 * Asks the session, and not the access token: a factor may have been added since that was signed.
 *
 * Both throw 401 STEP_UP_REQUIRED as RFC 9470 has it: the caller calls `POST /api/auth/step-up`, and then again.
 */
export function requireRecentSignIn(database: Database): RecentSignIn {
  const guard = (strictly: boolean): preHandlerAsyncHookHandler => {
    return async ({ identity: { sessionId, userId } }) => {
      const [session] = await database.run<Found>(findSession, [sessionId, userId, recent])
      const acr = strictly && session?.hasFactor ? 'aal2' : undefined
      if (!session?.isRecent || (acr && !session.isStrong)) throw stepUpRequired(acr)
    }
  }
  return { recently: guard(false), fully: guard(true) }
}

interface Found {
  isRecent: boolean
  isStrong: boolean
  hasFactor: boolean
}

/** By the clock of the database, which set the times. */
const findSession: Statement = {
  name: 'find_recent_sign_in',
  text: `
    SELECT coalesce(authenticated_at, created_at) > now() - $3::float8 * interval '1 second' AS "isRecent",
           'mfa' = ANY(amr) AS "isStrong",
           ${hasFactorOf('$2')} AS "hasFactor"
    FROM auth.sessions WHERE id = $1 AND user_id = $2 AND revoked_at IS NULL`,
}

function stepUpRequired(acr: 'aal2' | undefined): Problem {
  const needs = [acr && `acr_values="${acr}"`, `max_age="${recent}"`].filter(Boolean).join(', ')
  return new Problem(401, 'STEP_UP_REQUIRED', 'This needs a recent sign-in', {
    detail: 'Confirm that it is you (POST /api/auth/step-up), and try again.',
    headers: { 'www-authenticate': `Bearer error="insufficient_user_authentication", ${needs}` },
    members: { ...(acr && { acr }), maxAge: recent },
  })
}
