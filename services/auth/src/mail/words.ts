import { de } from './de.ts'
import { en } from './en.ts'
import type { Circumstances, MailData, Template } from './mails.ts'

/** The languages that mails are written in. */
export const locales = ['en', 'de'] as const
export type Locale = (typeof locales)[number]

/** The best of them for a language tag such as `de-AT`. */
export const localeOf = (tag: string | null): Locale => (/^de\b/i.test(tag ?? '') ? 'de' : 'en')

/** What one mail says. */
export interface Words {
  title: string
  intro: string
  button: string
  advice: string[]
}

/** What mails say in one language. A mail that is missing is a type error. */
export interface Language {
  greeting: (name: string | undefined) => string
  facts: Record<keyof Circumstances, string>
  /** @param time such as "24 hours" */
  validFor: (time: string) => string
  code: (time: string) => string
  /** Before the address of a button, for programs that show none. */
  address: string
  /** Before the link to choose a new password. */
  forgot: string
  footer: Record<'asked' | 'security', (app: string) => string>
  /** @param data with times as they are read */
  mails: { [Name in Template]: (app: string, data: Omit<MailData[Name], 'secrets'>) => Words }
}

export const languages: Record<Locale, Language> = { en, de }

/** In UTC: where the reader's clock stands is not known. */
export function formatTime(at: string, locale: Locale): string {
  const format = new Intl.DateTimeFormat(locale === 'de' ? 'de-DE' : 'en-GB', {
    dateStyle: 'long',
    timeStyle: 'short',
    timeZone: 'UTC',
  })
  return `${format.format(new Date(at))} UTC`
}

/** Such as "24 hours", "7 days". */
export function formatDuration(seconds: number, locale: Locale): string {
  const [unit, size] = seconds > 86_400 ? ['day', 86_400] : seconds >= 3_600 ? ['hour', 3_600] : ['minute', 60]
  return new Intl.NumberFormat(locale, { style: 'unit', unit, unitDisplay: 'long' }).format(seconds / size)
}
