import type { TicketSecrets } from '../accounts/tickets.ts'
import type { Mail, MailData, Template } from './mails.ts'

const name = 'Dora Doctor'
const circumstances = { at: '2026-11-29T23:05:00Z', ip: '203.0.113.7', device: 'Firefox on Linux' }
const newEmail = 'dora.doctor@example.com'
const deleteAfter = '2026-12-13T23:05:00Z'
const secrets = ''

/** One mail of each kind, to try templates with. */
const data: MailData = {
  registration: { secrets },
  account_exists: { name },
  invitation: { invitedBy: 'Ada Admin', secrets },
  account_created: { name, secrets },
  password_reset: { name, secrets, ...circumstances },
  password_changed: { name, ...circumstances },
  password_was_reset: { name, ...circumstances },
  email_change: { name, secrets },
  email_change_requested: { name, newEmail, ...circumstances },
  email_changed: { name, newEmail, secrets, ...circumstances },
  email_reverted: { name, ...circumstances },
  factor_added: { name, factor: 'passkey', ...circumstances },
  factor_removed: { name, factor: 'totp', ...circumstances },
  recovery_codes_made: { name, ...circumstances },
  recovery_code_used: { name, ...circumstances },
  wrong_codes: { name, ...circumstances },
  factors_reset: { name },
  impersonated: { name, by: 'Ada Admin', reason: 'You reported that a page is empty.', ...circumstances },
  new_device: { name, ...circumstances },
  many_failures: { name, ...circumstances },
  password_reset_by_admin: { name, secrets },
  deletion_requested: { name, deleteAfter, ...circumstances },
  deletion_by_admin: { name, deleteAfter },
}

export const samples = (Object.keys(data) as Template[]).map(
  (template) => ({ template, to: 'dora@example.com', locale: null, ...data[template] }) as Mail,
)

export const sampleSecrets: TicketSecrets = { ticket: 'x'.repeat(43), code: '12345678' }
