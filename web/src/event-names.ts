/** What the auth service records (docs/operations.md), by what it is about. */
export const eventGroups: Record<string, string[]> = {
  'Signing in': [
    'login_succeeded',
    'login_failed',
    'many_failures',
    'guessing_stopped',
    'second_factor_failed',
    'passkey_failed',
    'passkey_counter_regressed',
    'recovery_code_used',
    'step_up_succeeded',
    'step_up_failed',
  ],
  Sessions: ['refresh_reused', 'session_ended', 'sessions_ended', 'session_deleted'],
  Accounts: [
    'password_changed',
    'password_refused',
    'password_reset',
    'factor_added',
    'factor_removed',
    'recovery_codes_made',
    'email_change_requested',
    'email_changed',
    'email_reverted',
    'account_exported',
    'deletion_requested',
    'deletion_undone',
    'user_erased',
  ],
  Administration: [
    'user_created',
    'user_invited',
    'invitation_resent',
    'invitation_withdrawn',
    'password_reset_sent',
    'factors_reset',
    'user_renamed',
    'locale_changed',
    'roles_changed',
    'user_disabled',
    'user_enabled',
    'user_unlocked',
    'impersonation_started',
    'impersonation_ended',
  ],
  'Service accounts': [
    'client_created',
    'client_changed',
    'client_deleted',
    'credential_added',
    'credential_revoked',
    'exchange_added',
    'exchange_removed',
    'client_refused',
    'token_exchanged',
    'token_revoked',
  ],
}

/** What somebody who is on call looks for first. */
const alarming = new Set([
  'many_failures',
  'guessing_stopped',
  'second_factor_failed',
  'passkey_failed',
  'passkey_counter_regressed',
  'refresh_reused',
  'client_refused',
])

export const isAlarming = (event: string) => alarming.has(event)

/** Such as "Password reset sent" of `password_reset_sent`. */
export const nameEvent = (event: string) => event.charAt(0).toUpperCase() + event.slice(1).replaceAll('_', ' ')
