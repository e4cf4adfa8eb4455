import { toMailbox } from '@sallyport/identity'
import type { Test } from 'tap'
import { type Smtp, startSmtp } from './smtp.ts'
import { Client, demoPassword, eventually } from './system.ts'

/** The settings with which auth sends its mail to an SMTP server of the test's own. */
export const mailSettings = (SMTP_URL: string) => ({
  SMTP_URL,
  MAIL_FROM: 'Sallyport <no-reply@example.com>',
  APP_ORIGIN: 'https://app.example.com',
})

export const newPassword = 'another battery of 7 horses'
const userAgent = 'Mozilla/5.0 (X11; Linux x86_64; rv:140.0) Gecko/20100101 Firefox/140.0'

/** By gateway and address: the browsers of users, whose devices are known to them from the first sign-in on. */
const browsers = new Map<string, Client>()

/** Signs in where the user has before, which is told nobody by mail. */
export async function signInAgain(gateway: string, email: string): Promise<Client> {
  const key = `${gateway} ${email}`
  const client = browsers.get(key) ?? new Client(gateway)
  browsers.set(key, client)
  const { status } = await client.login(email)
  if (status !== 200) throw new Error(`sign-in returned ${status}`)
  return client
}

/** Has a mail queued, as the change of a demo user's password does. @returns the status */
export async function changePassword(gateway: string, email = 'doctor@example.com'): Promise<number> {
  const client = await signInAgain(gateway, email)
  const { status } = await client.call('POST', '/api/auth/password', {
    body: { currentPassword: demoPassword, newPassword },
    headers: { 'user-agent': userAgent },
  })
  return status
}

/** The lines of a log that are of an event. */
export const eventsIn = (log: string[], event: string) =>
  log.filter((line) => line.includes(`"event":"${event}"`)).map((line) => JSON.parse(line))

export interface ReceivedMail {
  to: string
  subject: string
  text: string
  html: string
  /** Of its link, if it has one. */
  ticket: string | undefined
  /** Of 8 digits, if it has one. */
  code: string | undefined
}

/** An SMTP server, and a way to wait for what it is sent. */
export async function startMail(t: Test): Promise<{
  smtp: Smtp
  settings: Record<string, string>
  next: (to: string, isIt?: (mail: ReceivedMail) => boolean) => Promise<ReceivedMail>
}> {
  const smtp = await startSmtp(t)
  const seen = new Set<unknown>()
  return {
    smtp,
    settings: mailSettings(`smtp://localhost:${smtp.port}`),
    /**
     * The first mail to an address, in its one spelling, that was not taken before, and is one as it is looked for: if
     * nothing is said of it, any but that somebody signed in from a new device, as tests do all the time.
     */
    async next(to, isIt = ({ subject }) => !/new device|neuen Gerät/.test(subject)) {
      const find = () => {
        for (const mail of smtp.mails) {
          if (seen.has(mail) || toMailbox([mail.to].flat()[0]?.value[0]?.address ?? '') !== to) continue
          const { subject = '', text = '', html = '' } = mail
          const ticket = /#ticket=([\w-]{43})/.exec(text)?.[1]
          const found = { to, subject, text, html: html || '', ticket, code: /\b\d{8}\b/.exec(text)?.[0] }
          if (isIt(found)) return { mail, found }
        }
        return undefined
      }
      await eventually(`a mail to ${to}`, () => find() !== undefined, 20_000)
      const { mail, found } = find() as NonNullable<ReturnType<typeof find>>
      seen.add(mail)
      return found
    },
  }
}
