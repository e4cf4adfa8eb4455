import type { Logger } from '@sallyport/chassis'
import type { Database } from '@sallyport/database'
import type { Actor } from '@sallyport/identity'
import Type from 'typebox'

/**
 * Something that happened to an account or a session, as operators and auditors look for it. A few
 * more are written by the statements that cause them: `login_succeeded`, `deletion_undone` (sessions/open.ts),
 * `many_failures` (passwords/many-failures.ts), `webhook_disabled` (webhooks/queue.ts), `session_deleted`, `user_erased` and `impersonation_ended` (migrations).
 */
export interface SecurityEvent {
  event:
    | 'user_created'
    | 'login_failed'
    | 'guessing_stopped'
    | 'refresh_reused'
    | 'session_ended'
    | 'sessions_ended'
    | 'password_changed'
    | 'password_refused'
    | 'password_reset'
    | 'second_factor_failed'
    | 'passkey_failed'
    | 'passkey_counter_regressed'
    | 'factor_added'
    | 'factor_removed'
    | 'recovery_codes_made'
    | 'recovery_code_used'
    | 'factors_reset'
    | 'step_up_succeeded'
    | 'step_up_failed'
    | 'email_change_requested'
    | 'email_changed'
    | 'email_reverted'
    | 'account_exported'
    | 'deletion_requested'
    | 'deletion_undone'
    | 'user_invited'
    | 'invitation_resent'
    | 'invitation_withdrawn'
    | 'password_reset_sent'
    | 'user_renamed'
    | 'locale_changed'
    | 'roles_changed'
    | 'user_disabled'
    | 'user_enabled'
    | 'user_unlocked'
    | 'impersonation_started'
    | 'client_created'
    | 'client_changed'
    | 'client_deleted'
    | 'credential_added'
    | 'credential_revoked'
    | 'exchange_added'
    | 'exchange_removed'
    | 'client_refused'
    | 'token_exchanged'
    | 'token_revoked'
    | 'webhook_created'
    | 'webhook_changed'
    | 'webhook_deleted'
    | 'webhook_secret_made'
  user?: string | undefined
  /** A service account. */
  client?: string | undefined
  /** Who acted for the user. */
  act?: Actor | undefined
  session?: string | undefined
  /** Undefined if it was done at the machine itself. */
  ip?: string | undefined
  /** For the log alone: the session's row has the one that it was opened with. */
  userAgent?: string | undefined
  reason?: string
}

/** Who acted for a user, and for whom that one acted before (RFC 8693 section 4.1), as responses show it. */
export const Act = Type.Cyclic(
  {
    Act: Type.Object({
      sub: Type.String(),
      sid: Type.Optional(Type.String()),
      grant: Type.Optional(Type.String()),
      act: Type.Optional(Type.Ref('Act')),
    }),
  },
  'Act',
)

/** Writes an event to the log, for operators and alerts, and to the table of security events, where it stays. */
export async function record(database: Database, log: Pick<Logger, 'warn'>, happened: SecurityEvent): Promise<void> {
  log.warn(happened)
  const { event, user = null, client = null, act, session = null, ip = null, reason = null } = happened
  await database.$executeRaw`
    INSERT INTO auth.security_events (event, user_id, client_id, session_id, ip, reason, act)
    VALUES (${event}, ${user}::uuid, ${client}::uuid, ${session}::uuid, ${ip}, ${reason},
            ${act ? JSON.stringify(act) : null}::jsonb)`
}
