import { layOut, localeOf, type Message } from './layout.ts'
import { type PasswordChanged, passwordChanged } from './password-changed.ts'

/** What mails say of the system. */
export interface App {
  name: string
  origin: string
}

/** A mail as it is queued. */
export type Mail = {
  to: string
  /** A language tag; English if it is none that mails are written in. */
  locale?: string
  template: 'password_changed'
} & PasswordChanged

/** A mail as it comes out of the queue. */
export type QueuedMail = Omit<Mail, 'at'> & { at: string }

/** @throws if there is no such template: a newer version may have queued it, and will send it */
export function render(mail: QueuedMail, app: App): Message {
  const locale = localeOf(mail.locale)
  switch (mail.template) {
    case 'password_changed':
      return layOut(passwordChanged({ ...mail, at: new Date(mail.at) }, app, locale))
    default:
      throw Object.assign(new Error('no such template'), { code: 'NO_TEMPLATE' })
  }
}
