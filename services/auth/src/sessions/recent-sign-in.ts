import { Problem } from '@sallyport/chassis'
import type { Database, Statement } from '@sallyport/database'
import type { preHandlerAsyncHookHandler } from 'fastify'

/** For how long who signed in, or stepped up, need not do so again, in seconds. */
const recent = 300

/**
 * Lets through callers who have proved lately who they are, to what changes an account (ASVS V7.5.1). A guard that goes
 * after the one that says who is calling.
 *
 * @throws 401 STEP_UP_REQUIRED as RFC 9470 has it: the caller calls `POST /api/auth/step-up`, and then again
 */
export function requireRecentSignIn(database: Database): preHandlerAsyncHookHandler {
  return async ({ identity: { sessionId, userId } }) => {
    const [session] = await database.run(findRecent, [sessionId, userId, recent])
    if (!session) throw stepUpRequired()
  }
}

/** By the clock of the database, which set the times. */
const findRecent: Statement = {
  name: 'find_recent_sign_in',
  text: `
    SELECT FROM auth.sessions WHERE id = $1 AND user_id = $2 AND revoked_at IS NULL
      AND coalesce(authenticated_at, created_at) > now() - $3::float8 * interval '1 second'`,
}

const stepUpRequired = () =>
  new Problem(401, 'STEP_UP_REQUIRED', 'This needs a recent sign-in', {
    detail: 'Confirm your password, and try again.',
    headers: { 'www-authenticate': `Bearer error="insufficient_user_authentication", max_age="${recent}"` },
  })
