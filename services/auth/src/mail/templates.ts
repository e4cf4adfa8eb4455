import { codeValidFor, type Purpose, type TicketSecrets, validFor } from '../accounts/tickets.ts'
import { foreign } from './foreign.ts'
import type { Content } from './layout.ts'
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
  button: Purpose | '/login' | '/forgot-password' | '/account/factors' | '/sessions' | '/'
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
  factor_added: { button: '/account/factors', because: 'security' },
  factor_removed: { button: '/account/factors', because: 'security' },
  recovery_codes_made: { button: '/account/factors', because: 'security' },
  recovery_code_used: { button: '/account/factors', because: 'security' },
  wrong_codes: { button: '/forgot-password', because: 'security' },
  factors_reset: { button: '/account/factors', because: 'security' },
  impersonated: { button: '/sessions', because: 'security' },
  new_device: { button: '/forgot-password', because: 'security' },
  many_failures: { button: '/forgot-password', because: 'security' },
  deletion_requested: { button: '/login', because: 'security' },
  deletion_by_admin: { button: '/', because: 'security' },
}

/**
 * What a mail says, in the language of its reader.
 *
 * @param secrets of the ticket, if the mail has one
 * @throws NO_TEMPLATE if there is no such template: a newer version may have queued it, and will send it
 */
export function contentOf(mail: Mail, app: App, secrets?: TicketSecrets): Content {
  const { locale, ...values } = valuesOf(mail, app, secrets)
  const language = languages[locale]
  const { forgot, because } = makeup[mail.template]
  // Each takes the data of its own template.
  const words = language.mails[mail.template] as (app: string, data: object) => Words
  const { title, intro, button, advice } = words(app.name, values)
  const { link, validFor, code, codeValidFor } = values
  return {
    locale,
    app: app.name,
    subject: `${app.name}: ${title}`,
    title,
    greeting: language.greeting(values.name),
    intro,
    facts: facts.flatMap((name): [string, string][] => {
      const value = values[name]
      return value === undefined ? [] : [[language.facts[name], value]]
    }),
    link: { label: button, url: link, address: language.address, validFor: validFor && language.validFor(validFor) },
    code: code === undefined ? undefined : { intro: language.code(codeValidFor as string), digits: code },
    forgot: forgot && { label: language.forgot, url: `${app.origin}/forgot-password` },
    advice,
    footer: language.footer[because](app.name),
  }
}

const facts = ['at', 'ip', 'device'] as const satisfies (keyof Circumstances)[]

/** What is known for a mail, as its reader reads it. What is undefined is not known for mails of its kind. */
interface Values
  extends Partial<
    Record<'name' | 'newEmail' | 'by' | 'reason' | 'deleteAfter' | 'factor' | keyof Circumstances, string>
  > {
  locale: Locale
  invitedBy?: string | null
  link: string
  validFor?: string
  code?: string
  codeValidFor?: string
}

/**
 * @returns the data of a mail, of which nothing passes for a word of ours
 * @throws NO_TEMPLATE
 */
export function valuesOf(mail: Mail, app: App, secrets?: TicketSecrets): Values {
  const locale = localeOf(mail.locale)
  const made = makeup[mail.template]
  if (!made) throw Object.assign(new Error(`no such template ${mail.template}`), { code: 'NO_TEMPLATE' })
  const { button, seconds, code, stranger } = made
  const purpose = button.startsWith('/') ? undefined : (button as Purpose)
  const values: Values = { locale, link: app.origin + button }
  for (const [name, reader] of Object.entries(readers)) {
    const value = mail[name as keyof Mail] as string | null | undefined
    if (value !== undefined && !(stranger && name === 'name'))
      values[name as Read] = (value && reader(value, locale)) as string
  }
  if (purpose) {
    values.link = `${app.origin}${pages[purpose]}#ticket=${secrets?.ticket}`
    values.validFor = formatDuration(seconds ?? validFor[purpose], locale)
  }
  if (code) Object.assign(values, { code: secrets?.code, codeValidFor: formatDuration(codeValidFor, locale) })
  return values
}

/** An administrator's, who may say as much. */
const longestReason = 500

type Read = 'name' | 'newEmail' | 'invitedBy' | 'by' | 'reason' | 'deleteAfter' | 'factor' | keyof Circumstances

const readers: Record<Read, (value: string, locale: Locale) => string> = {
  name: (text) => foreign(text),
  newEmail: (text) => foreign(text),
  invitedBy: (text) => foreign(text),
  by: (text) => foreign(text),
  reason: (text) => foreign(text, longestReason),
  device: (text) => foreign(text),
  ip: String,
  factor: String,
  at: formatTime,
  deleteAfter: formatTime,
}
