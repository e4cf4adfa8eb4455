import type { SmtpServer } from '@sallyport/chassis'
import MailComposer, { type MailComposerOptions } from 'nodemailer/lib/mail-composer'
import SMTPConnection from 'nodemailer/lib/smtp-connection'

/** Milliseconds without a word from the server. */
const timeouts = { connectionTimeout: 10_000, greetingTimeout: 10_000, socketTimeout: 30_000, dnsTimeout: 10_000 }

/** Milliseconds for one mail. With the time in which a job is taken out of the queue, or is not, it is `longestJob`. */
const deadline = 30_000

/** Why a mail was not sent: no mail can be, this one never, or not now. */
export type Reason = 'unreachable' | 'refused' | 'failed'

/** Its message is a code alone: what a server says may hold the address. */
export class NotSent extends Error {
  readonly reason: Reason
  constructor(reason: Reason, code: string | number | undefined) {
    super(String(code))
    this.reason = reason
  }
}

/**
 * Hands one message over, on a connection of its own.
 *
 * @param signal ends the connection at once, with no more of the message sent
 * @param withhold does all of it but the handing over, so that it takes as long to send nothing
 * @throws NotSent
 */
export type Send = (message: MailComposerOptions, options: { signal: AbortSignal; withhold: boolean }) => Promise<void>

/** Commands that hand a message over: MAIL, RCPT, DATA, and its end. */
const commands = 4

export function createSend({ host, port, tls, auth }: SmtpServer): Send {
  const options = {
    host,
    port,
    secure: tls === 'implicit',
    requireTLS: tls === 'required',
    ignoreTLS: tls === 'off',
    ...timeouts,
    // A connection that is given up on sends nothing of what it still holds.
    socketCloseTimeout: 0,
  }
  return async (message, { signal, withhold }) => {
    const composed = new MailComposer({ ...message, disableFileAccess: true, disableUrlAccess: true }).compile()
    const content = await composed.build()
    const connection = new SMTPConnection(options)
    let lose!: (error: Error) => void
    const lost = new Promise<never>((_, reject) => {
      lose = reject
    })
    lost.catch(() => {})
    const giveUp = () => lose(Object.assign(new Error('it takes too long'), { code: 'ETIMEDOUT' }))
    const timer = setTimeout(giveUp, deadline)
    signal.addEventListener('abort', giveUp)
    connection.on('error', lose)
    const step = (begin: (done: (error?: Error | null) => void) => void) =>
      Promise.race([
        lost,
        new Promise<void>((resolve, reject) => begin((error) => (error ? reject(error) : resolve()))),
      ])
    let isReady = false
    try {
      await step((done) => connection.connect(done))
      if (auth && connection.allowsAuth) await step((done) => connection.login(auth, done))
      isReady = true
      if (withhold) for (let left = commands; left > 0; left--) await step((done) => connection.reset(done))
      else await step((done) => connection.send(composed.getEnvelope(), content, done))
      connection.quit()
    } catch (error) {
      connection.close()
      throw notSent(error as Failure, isReady)
    } finally {
      clearTimeout(timer)
      signal.removeEventListener('abort', giveUp)
    }
  }
}

/** A reply of the server has a number; a connection that fails has a code. */
type Failure = Error & { responseCode?: number; code?: string }

/**
 * RFC 5321 (4.2.1): after a reply of 5yz the client should not send the same again. Until the server is ready for mails,
 * and with 421, it is about all of them.
 */
function notSent({ responseCode, code }: Failure, isReady: boolean): NotSent {
  const isRefused = responseCode !== undefined && responseCode >= 500
  const reason = !isReady || responseCode === 421 ? 'unreachable' : isRefused ? 'refused' : 'failed'
  return new NotSent(reason, responseCode ?? code)
}
