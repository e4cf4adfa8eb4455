import { toMailbox } from '@sallyport/identity'
import type { Test } from 'tap'
import { type Smtp, startSmtp } from './smtp.ts'
import { eventually } from './system.ts'

/** The settings with which auth sends its mail to an SMTP server of the test's own. */
export const mailSettings = (SMTP_URL: string) => ({
  SMTP_URL,
  MAIL_FROM: 'Sallyport <no-reply@example.com>',
  APP_ORIGIN: 'https://app.example.com',
})

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
    /** The first mail to an address, in its one spelling, that was not taken before, and is one as it is looked for. */
    async next(to, isIt = () => true) {
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
