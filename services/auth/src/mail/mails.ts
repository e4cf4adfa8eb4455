import type { FactorKind } from '../factors/change.ts'

/** When and from where something was done, for a mail that says so. */
export interface Circumstances {
  /** As JSON has a date. */
  at: string
  ip: string
  device: string
}

/** What each mail says, by the name of its template. `secrets` are sealed TicketSecrets. */
export interface MailData {
  /** To an address that somebody wants to register, without an account. */
  registration: { secrets: string }
  /** The same, to somebody who has an account. */
  account_exists: { name: string }
  invitation: { invitedBy: string | null; secrets: string }
  /** To somebody for whom an administrator made an account: to choose a password. */
  account_created: { name: string; secrets: string }
  password_reset: { name: string; secrets: string } & Circumstances
  password_changed: { name: string } & Circumstances
  /** A new password was chosen by way of a mail. */
  password_was_reset: { name: string } & Circumstances
  /** To the new address, to confirm it. */
  email_change: { name: string; secrets: string }
  /** To the present address: somebody wants to change it. */
  email_change_requested: { name: string; newEmail: string } & Circumstances
  /** To the address before, with a link that brings it back. */
  email_changed: { name: string; newEmail: string; secrets: string } & Circumstances
  /** To the address that was brought back. */
  email_reverted: { name: string } & Circumstances
  /** `factor`: which kind was added, or removed. */
  factor_added: { name: string; factor: FactorKind | undefined } & Circumstances
  factor_removed: { name: string; factor: FactorKind | undefined } & Circumstances
  recovery_codes_made: { name: string } & Circumstances
  recovery_code_used: { name: string } & Circumstances
  /** Several wrong codes have come in a row. */
  wrong_codes: { name: string } & Circumstances
  /** An administrator has taken the factors away. */
  factors_reset: { name: string }
  /** An administrator has signed in as the user, and why. */
  impersonated: { name: string; by: string; reason: string } & Circumstances
  /** Somebody signed in from a device never seen. */
  new_device: { name: string } & Circumstances
  /** Many wrong passwords have come for the account. */
  many_failures: { name: string } & Circumstances
  /** An administrator had a link sent to choose a new password. */
  password_reset_by_admin: { name: string; secrets: string }
  /** The account will be erased, unless its user signs in before `deleteAfter`. */
  deletion_requested: { name: string; deleteAfter: string } & Circumstances
  /** The same, because an administrator wants it: the user cannot sign in meanwhile. */
  deletion_by_admin: { name: string; deleteAfter: string }
}

export type Template = keyof MailData

/** A mail as it is queued. */
export type Mail = {
  [Name in Template]: {
    /** Null: to nobody. Everything is done but handing it over, so that the time of it does not say who has an account. */
    to: string | null
    /** The id of the account that it is about, if there is one: erasing that takes the mail out of the queue. */
    user?: string | undefined
    /** A language tag; English if it is none that mails are written in. */
    locale: string | null
    template: Name
  } & MailData[Name]
}[Template]

/** The pages that links lead to, at APP_ORIGIN; each has a button, and does nothing before it is pressed. */
export const pages = {
  registration: '/complete-registration',
  invitation: '/accept-invitation',
  password_reset: '/reset-password',
  email_change: '/confirm-email',
  email_revert: '/revert-email',
} as const
