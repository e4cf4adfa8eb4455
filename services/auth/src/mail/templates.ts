import type { TicketSecrets } from '../accounts/tickets.ts'
import { layOut, localeOf, type Message } from './layout.ts'
import type { Mail } from './mails.ts'
import { passwordChanged } from './password-changed.ts'

/** What mails say of the system. */
export interface App {
  name: string
  origin: string
}

/**
 * @param secrets of the ticket, if the mail has one
 * @throws if there is no such template: a newer version may have queued it, and will send it
 */
export function render(mail: Mail, app: App, secrets?: TicketSecrets): Message {
  const locale = localeOf(mail.locale ?? undefined)
  switch (mail.template) {
    case 'password_changed':
      return layOut(passwordChanged(mail, app, locale))
    case 'registration':
    case 'account_exists':
    case 'invitation':
    case 'account_created':
    case 'password_reset':
    case 'password_was_reset':
    case 'email_change':
    case 'email_change_requested':
    case 'email_changed':
    case 'email_reverted':
    case 'new_device':
    case 'many_failures':
    case 'deletion_requested':
      return layOut({
        locale,
        subject: mail.template,
        greeting: '',
        intro: '',
        facts: [['Code', secrets?.code ?? '']],
        advice: [],
        link: { label: 'Link', url: `${app.origin}/page#ticket=${secrets?.ticket}` },
        footer: '',
      })
    default:
      throw Object.assign(new Error(`no such template ${secrets}`), { code: 'NO_TEMPLATE' })
  }
}
