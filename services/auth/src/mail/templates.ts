import { codeValidFor, type Purpose, type TicketSecrets, validFor } from '../accounts/tickets.ts'
import { foreign } from './foreign.ts'
import { type Content, layOut, type Message } from './layout.ts'
import { type Circumstances, type Mail, pages, type Template } from './mails.ts'
import { formatDuration, formatTime, type Locale, languages, localeOf, type Words } from './words.ts'

/** What mails say of the system. */
export interface App {
  name: string
  origin: string
}

/** How a mail is made up, in whatever language. */
interface Makeup {
  /** Where its button leads: by its ticket, or to a page that anybody may open. */
  button: Purpose | '/login' | '/forgot-password' | '/'
  /** Seconds, if its ticket is not valid as long as its purpose has it. */
  seconds?: number
  /** With the code of its ticket, for people whose mail is on another device. */
  code?: true
  /** With a link to choose a new password, beside the button. */
  forgot?: true
  /** To an address that has not proved to be its user's: it names nobody, as a name could say anything to a stranger. */
  stranger?: true
  /** Why it was sent. */
  because: 'asked' | 'security'
}

const makeup: Record<Template, Makeup> = {
  registration: { button: 'registration', code: true, stranger: true, because: 'asked' },
  account_exists: { button: '/login', forgot: true, because: 'asked' },
  invitation: { button: 'invitation', stranger: true, because: 'asked' },
  account_created: { button: 'password_reset', seconds: validFor.invitation, stranger: true, because: 'asked' },
  password_reset: { button: 'password_reset', code: true, because: 'asked' },
  password_reset_by_admin: { button: 'password_reset', because: 'security' },
  password_changed: { button: '/forgot-password', because: 'security' },
  password_was_reset: { button: '/forgot-password', because: 'security' },
  email_change: { button: 'email_change', stranger: true, because: 'asked' },
  email_change_requested: { button: '/forgot-password', because: 'security' },
  email_changed: { button: 'email_revert', because: 'security' },
  email_reverted: { button: '/forgot-password', because: 'security' },
  new_device: { button: '/forgot-password', because: 'security' },
  many_failures: { button: '/forgot-password', because: 'security' },
  deletion_requested: { button: '/login', because: 'security' },
  deletion_by_admin: { button: '/', because: 'security' },
}

/**
 * @param secrets of the ticket, if the mail has one
 * @throws NO_TEMPLATE if there is no such template: a newer version may have queued it, and will send it
 */
export function render(mail: Mail, app: App, secrets?: TicketSecrets): Message {
  return layOut(contentOf(mail, app, secrets))
}

/** What a mail says, in the language of its reader. */
export function contentOf(mail: Mail, app: App, secrets?: TicketSecrets): Content {
  if (!(mail.template in makeup))
    throw Object.assign(new Error(`no such template ${mail.template}`), { code: 'NO_TEMPLATE' })
  const locale = localeOf(mail.locale)
  const language = languages[locale]
  const { button, seconds, code, forgot, stranger, because } = makeup[mail.template]
  const data = readable(mail, locale)
  // Each takes the data of its own template.
  const words = language.mails[mail.template] as (app: string, data: object) => Words
  const { title, intro, button: label, advice } = words(app.name, data)
  const isTicket = !button.startsWith('/')
  const purpose = button as Purpose
  return {
    locale,
    app: app.name,
    subject: `${app.name}: ${title}`,
    title,
    greeting: language.greeting(stranger ? undefined : data.name),
    intro,
    facts: facts.flatMap((name) => (data[name] === undefined ? [] : [[language.facts[name], data[name]]])),
    link: {
      label,
      url: app.origin + (isTicket ? `${pages[purpose]}#ticket=${secrets?.ticket}` : button),
      address: language.address,
      validFor: isTicket ? language.validFor(formatDuration(seconds ?? validFor[purpose], locale)) : undefined,
    },
    code: code && { intro: language.code(formatDuration(codeValidFor, locale)), digits: secrets?.code ?? '' },
    forgot: forgot && { label: language.forgot, url: `${app.origin}/forgot-password` },
    advice,
    footer: language.footer[because](app.name),
  }
}

const facts = ['at', 'ip', 'device'] as const satisfies (keyof Circumstances)[]

type Readable = Partial<Record<'name' | 'newEmail' | 'invitedBy' | 'deleteAfter' | keyof Circumstances, string>>

/** The data of a mail as its reader sees it: nothing of it passes for a word of ours. */
export function readable(mail: Mail, locale: Locale): Readable {
  const readers: Record<keyof Readable, (value: string) => string> = {
    name: foreign,
    newEmail: foreign,
    invitedBy: foreign,
    device: foreign,
    ip: String,
    at: (time) => formatTime(time, locale),
    deleteAfter: (time) => formatTime(time, locale),
  }
  const read = Object.entries(readers).map(([name, reader]) => {
    const value = mail[name as keyof Mail]
    return [name, typeof value === 'string' ? reader(value) : value]
  })
  return Object.fromEntries(read)
}
