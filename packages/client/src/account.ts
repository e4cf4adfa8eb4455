import type { AuthenticationResponseJSON } from '@simplewebauthn/browser'
import type { Proof } from './auth-service.ts'
import { callsOf } from './calls.ts'
import type { AuthClient } from './client.ts'

/** The user's own account, as the server has it now. */
export interface AccountDetails {
  id: string
  name: string
  email: string
  role: string
  roles: string[]
  /** The language of mails, a tag such as `de-AT`; null is English. */
  locale: string | null
}

/** What the link of a mail is good for. */
export interface TicketCheck {
  purpose: 'registration' | 'invitation' | 'password_reset' | 'email_change' | 'email_revert'
  /** The mailbox that the mail went to. */
  email: string
  /** As JSON has a date. */
  expiresAt: string
}

/** The id that goes with the code of a mail: the same response for every address, whether it has an account or not. */
export interface MailAsked {
  message: string
  ticketId: string
}

/** What asks for a mail. `locale` is its language, if the person has said none. */
export interface MailRequest {
  email: string
  locale?: string
}

/**
 * A new password. For somebody with a second factor it rejects with `SECOND_FACTOR_REQUIRED`: the same call is then made
 * with the `challenge` of the error's `problem`, and `factorCode` or a passkey's `credential`.
 */
export type PasswordReset = Proof & {
  password: string
  challenge?: string
  /** One of an authenticator app, or a recovery code. */
  factorCode?: string
  credential?: AuthenticationResponseJSON
}

/** Each rejects with an AuthError, whose codes are those of docs/api.md, and `NETWORK` and `ANSWER_INVALID`. */
export interface Account {
  /** Asks for an account; `client.completeRegistration` makes it. `REGISTRATION_CLOSED` where nobody may. */
  register(request: MailRequest): Promise<MailAsked>
  forgotPassword(request: MailRequest): Promise<MailAsked>
  /** Ends every session; if one of them is ours, everybody is signed out here. `TICKET_INVALID`, `PASSWORD_WEAK`. */
  resetPassword(reset: PasswordReset): Promise<void>
  /** Whose mail it is, and until when its link is valid: uses nothing up. `TICKET_INVALID` if it is not. */
  checkTicket(ticket: { ticket: string }): Promise<TicketCheck>
  /** Asks for a mail to another address, which `confirmEmail` makes the account's. `STEP_UP_REQUIRED`. */
  changeEmail(change: { email: string }): Promise<void>
  confirmEmail(ticket: { ticket: string }): Promise<void>
  /** Brings back the address before. Ends every session, as `resetPassword` does. */
  revertEmail(ticket: { ticket: string }): Promise<void>
  getAccount(): Promise<AccountDetails>
  /** `locale: null` is English. */
  updateAccount(change: { name?: string; locale?: string | null }): Promise<AccountDetails>
  /** Ends every other session. `PASSWORD_WRONG`, `PASSWORD_WEAK`. */
  changePassword(change: { currentPassword: string; newPassword: string }): Promise<void>
  /** All that is kept about the user, as JSON. `STEP_UP_REQUIRED`. */
  exportAccount(): Promise<object>
  /** Ends every session, and signs out in all tabs. Signing in before `deleteAfter` undoes it. `STEP_UP_REQUIRED`. */
  deleteAccount(): Promise<{ deleteAfter: string }>
}

/** Calls about the accounts of users. Apart from the client, so that a page without them does not load them. */
export function accountOf(client: AuthClient): Account {
  const call = callsOf(client)
  const post =
    (path: string) =>
    <Content>(body: object): Promise<Content> =>
      call('POST', path, body)
  return {
    register: post('register'),
    forgotPassword: post('password/forgot'),
    resetPassword: (reset) => call('POST', 'password/reset', reset).then(look),
    checkTicket: post('tickets/check'),
    changeEmail: post('email'),
    confirmEmail: (ticket) => call('POST', 'email/confirm', ticket).then(look),
    revertEmail: (ticket) => call('POST', 'email/revert', ticket).then(look),
    getAccount: () => call('GET', 'me'),
    updateAccount: (change) => call('PATCH', 'me', change),
    changePassword: post('password'),
    exportAccount: () => call('GET', 'me/export'),
    async deleteAccount() {
      const deletion = await call<{ deleteAfter: string }>('DELETE', 'me')
      void client.logout()
      return deletion
    },
  }

  /** The session here may have ended, or be somebody with another address now. */
  async function look(): Promise<void> {
    if (client.getRole() !== null) await client.refresh().catch(() => {})
  }
}
