import type { ActingEnd, AuthError, SignOut } from '@sallyport/client'
import type { Actor } from './api.ts'

/** What a user can do about an error, in a sentence or two. */
export function explain(error: unknown): string {
  const { code, message, detail, retryAfter } = error as AuthError
  const wait = retryAfter ? `in ${Math.ceil(retryAfter / 1000)} seconds` : 'in a moment'
  switch (code) {
    case 'AUTH_INVALID_CREDENTIALS':
      return 'That e-mail and password do not go together. Check both, and whether Caps Lock is on.'
    case 'RATE_LIMITED':
      return `That was too often. Try again ${wait}.`
    case 'NETWORK':
      return 'The server does not respond. Check your connection and try again; nothing you typed is lost.'
    case 'UNAVAILABLE':
    case 'UPSTREAM_UNREACHABLE':
    case 'UPSTREAM_TIMEOUT':
      return `The service is unavailable just now. You stay signed in; try again ${wait}.`
    case 'ORIGIN_REFUSED':
      return `This page (${location.origin}) is not one that may sign users in. The operator of the service can list it in CORS_ORIGINS.`
    case 'TICKET_INVALID':
      return 'That is not valid, or not any more: a code has eight digits and ten minutes, and the newest mail counts.'
    case 'REGISTRATION_CLOSED':
      return 'Nobody can create an account here by themselves just now. An administrator can invite you.'
    case 'PASSWORD_WEAK':
      return `${message}. ${detail}`
    case 'STEP_UP_REQUIRED':
      return 'Nothing was done: it needs you to confirm that it is you.'
    case 'SECOND_FACTOR_REQUIRED':
      return 'The password alone is not enough here: use a passkey, or a code.'
    case 'CODE_WRONG':
      return 'That code is not right, or was used before. An app shows another every 30 seconds; a recovery code works once.'
    case 'CHALLENGE_INVALID':
      return 'That took too long, or too many codes were wrong. Begin once more.'
    case 'PASSKEY_INVALID':
    case 'PASSKEY_FAILED':
      return 'That did not work with this passkey. Try again, or take another way.'
    case 'PASSKEY_UNKNOWN':
      return 'This passkey is no longer one of an account here. Take another way.'
    case 'PASSKEY_CANCELLED':
      return 'No passkey was used. Try again, or take another way.'
    case 'PASSKEY_EXISTS':
      return 'This device or password manager has a passkey of yours already.'
    case 'PASSKEYS_UNAVAILABLE':
      return 'This system takes no passkeys. Its operator can allow them.'
    case 'FACTOR_NOT_FOUND':
      return 'That was removed already.'
    case 'FACTOR_MISSING':
      return 'Set up an authenticator app or a passkey first.'
    case 'FACTOR_LIMIT':
      return 'These are as many passkeys as an account can have. Remove one first.'
    case 'MAIL_UNAVAILABLE':
      return 'This system sends no mail. Ask its operator.'
    case 'LOGIN_BUSY':
      return `Very many people are signing in just now. Try again ${wait}.`
    case 'ROLE_REQUIRED':
      return 'Your role does not allow this any more.'
    case 'APPOINTMENT_NOT_FOUND':
      return 'This appointment is not there any more, or it is not yours.'
    case 'USER_NOT_FOUND':
      return 'This user is not there any more.'
    case 'CLIENT_NOT_FOUND':
      return 'This service account is not there any more.'
    case 'CREDENTIAL_NOT_FOUND':
    case 'EXCHANGE_NOT_FOUND':
      return 'That was removed already.'
    case 'WEBHOOK_NOT_FOUND':
      return 'This webhook is not there any more.'
    case 'WEBHOOK_URL_INVALID':
      return 'Nothing is sent to this address: it is over https, on port 443 or one from 1024, and without a password. The operator can allow others inside (WEBHOOK_ORIGINS).'
    case 'WEBHOOK_LIMIT':
      return 'These are as many webhooks as there can be. Delete one first.'
    case 'REPLAY_LIMIT':
      return 'These are too many deliveries at once. Take a shorter span.'
    case 'SESSION_NOT_FOUND':
      return 'This session has already ended.'
    case 'USER_EXISTS':
      return 'There is an account with this address already.'
    case 'INVITATION_NOT_FOUND':
      return 'This invitation was accepted or withdrawn meanwhile.'
    case 'IMPERSONATION_REFUSED':
      return 'Nobody acts for themselves or for an administrator, nor while they act for somebody already.'
    case 'ACTOR_REFUSED':
      return 'You act for this person, and only they may do that themselves. Stop to go on as yourself.'
    case 'LAST_ADMIN':
      return 'This is the last admin. Make somebody else an admin first.'
    case 'REQUEST_INVALID':
      return 'Something in the form is missing or not as it should be.'
    default:
      return detail ?? message ?? 'Something went wrong.'
  }
}

const reasons: Record<string, string> = {
  logout: 'This session was signed out from another device.',
  logout_all: 'You signed out everywhere.',
  password_changed: 'Your password was changed, which ends every other session.',
  password_reset: 'A new password was chosen by mail, which ends every session.',
  email_reverted: 'The e-mail address of your account was changed back, which ends every session.',
  account_deleted: 'Your account will be deleted. To keep it, sign in before the day that your mail says.',
  disabled: 'This account was disabled by an administrator.',
  revoked_by_admin: 'An administrator ended your sessions.',
  factors_reset: 'An administrator reset your sign-in methods.',
  expired: 'Your session has expired.',
  reuse:
    'Your session was ended for safety: a copy of its key was used elsewhere. If you did not do this, change your password.',
}

/** Why somebody has to sign in again; nothing where they know it themselves. */
export function explainSignOut({ code, reason }: SignOut): string | undefined {
  switch (code) {
    case 'LOGOUT':
      return undefined
    case 'REFRESH_REUSED':
      return reasons.reuse
    case 'SESSION_ENDED':
      return reasons[reason ?? 'expired'] ?? 'Your session has ended.'
    case 'REFRESH_EXPIRED':
      return reasons.expired
    case 'STORAGE_CLEARED':
      return "This browser's data was cleared."
    default:
      return 'You are not signed in any more.'
  }
}

/** Why a tab that acted for somebody is its user's own again. */
export function explainActingEnd({ code, reason, user }: ActingEnd): string {
  const who = user.name ?? user.email
  const why =
    code === 'TOKEN_EXPIRED'
      ? 'the time is over'
      : reason === 'logout' || reason === 'logout_all'
        ? 'they ended it'
        : code === 'TOKEN_STALE'
          ? 'their roles have changed'
          : 'the server no longer allows it'
  return `You are yourself again, and act for ${who} no longer: ${why}.`
}

const endings: Record<string, string> = {
  logout: 'Signed out',
  logout_all: 'Signed out everywhere',
  password_changed: 'Password changed',
  password_reset: 'Password changed by mail',
  email_reverted: 'E-mail address changed back',
  account_deleted: 'Account deleted',
  disabled: 'Account disabled',
  revoked_by_admin: 'Ended by an administrator',
  factors_reset: 'Sign-in methods reset by an administrator',
  expired: 'Expired',
  actor_ended: 'Ended with the session of whoever acted',
  impersonation_ended: 'Ended by whoever acted',
  reuse: 'Ended for safety: a copy was used',
}

export const nameActor = ({ name }: Actor) => name ?? 'Somebody who is gone'

/** Why a session in a list ended, in a few words. */
export const describeEnding = (reason: string) => endings[reason] ?? reason

export const statusNames = { scheduled: 'Scheduled', completed: 'Completed', cancelled: 'Cancelled' }
