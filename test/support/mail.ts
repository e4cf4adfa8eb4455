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
export async function startMail(
  t: Test,
): Promise<{ smtp: Smtp; settings: Record<string, string>; next: (to: string) => Promise<ReceivedMail> }> {
  const smtp = await startSmtp(t)
  const seen = new Set<unknown>()
  return {
    smtp,
    settings: mailSettings(`smtp://localhost:${smtp.port}`),
    /** The first mail to an address that was not taken before. */
    async next(to) {
      const find = () => smtp.mails.find((mail) => !seen.has(mail) && [mail.to].flat()[0]?.value[0]?.address === to)
      await eventually(`a mail to ${to}`, () => find() !== undefined, 20_000)
      const mail = find()
      seen.add(mail)
      const { subject = '', text = '', html = '' } = mail ?? {}
      return {
        to,
        subject,
        text,
        html: html || '',
        ticket: /#ticket=([\w-]{43})/.exec(text)?.[1],
        code: /\b\d{8}\b/.exec(text)?.[0],
      }
    },
  }
}
