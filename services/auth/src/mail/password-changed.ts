import { type Content, formatTime, type Locale } from './layout.ts'
import type { App } from './templates.ts'

export interface PasswordChanged {
  /** Of the person. */
  name: string
  at: string
  ip: string
  device: string
}

/** Tells a person that the password was changed, with what to do if somebody else did it. */
export function passwordChanged({ name, at, ip, device }: PasswordChanged, app: App, locale: Locale): Content {
  const when = formatTime(new Date(at), locale)
  const url = `${app.origin}/login`
  if (locale === 'de')
    return {
      locale,
      subject: `${app.name}: Ihr Passwort wurde geändert`,
      greeting: `Guten Tag, ${name},`,
      intro: `das Passwort Ihres Kontos bei ${app.name} wurde geändert. Alle anderen Sitzungen wurden beendet.`,
      facts: [
        ['Wann', when],
        ['IP-Adresse', ip],
        ['Gerät', device],
      ],
      advice: [
        'Waren Sie das, ist nichts weiter zu tun.',
        `Waren Sie es nicht, hat jemand Zugang zu Ihrem Konto. Melden Sie sich sofort an und wählen Sie ein neues Passwort. Gelingt das nicht, wenden Sie sich umgehend an die Betreiber von ${app.name}.`,
      ],
      link: { label: 'Anmelden', url },
      footer: `Diese Nachricht wurde automatisch von ${app.name} verschickt, weil sie die Sicherheit Ihres Kontos betrifft.`,
    }
  return {
    locale,
    subject: `${app.name}: your password was changed`,
    greeting: `Hello ${name},`,
    intro: `The password of your account at ${app.name} was changed. Every other session has ended.`,
    facts: [
      ['When', when],
      ['IP address', ip],
      ['Device', device],
    ],
    advice: [
      'If this was you, there is nothing to do.',
      `If it was not, somebody else has access to your account. Sign in now and choose a new password. If you cannot, contact whoever runs ${app.name} at once.`,
    ],
    link: { label: 'Sign in', url },
    footer: `${app.name} sent this message automatically, because it is about the security of your account.`,
  }
}
