import { createSend } from '@sallyport/auth/mail/smtp'
import { toMailbox } from '@sallyport/identity'
import { type Check, type DatabaseCheck, failure, ok, orOk, unknown, warning } from './check.ts'

/** Seconds for which work may wait whose time has come. */
const patience = 300

export const queue: DatabaseCheck = async ({ pool }, { config }) => {
  const { rows } = await pool.query<{ waiting: number; dead: number; late: number | null }>(
    `SELECT count(*) FILTER (WHERE attempts < max_attempts)::int AS waiting,
       count(*) FILTER (WHERE attempts >= max_attempts AND locked_at IS NULL)::int AS dead,
       extract(epoch FROM now() - min(run_at) FILTER (WHERE attempts < max_attempts AND locked_at IS NULL))::float8 AS late
     FROM graphile_worker._private_jobs`,
  )
  const { waiting, dead, late } = rows[0] as (typeof rows)[0]
  const isLate = (late ?? 0) > patience
  const advice = config?.mail
    ? 'see that auth runs, and what it logs of mail_failed and mail_queue_lost'
    : 'set SMTP_URL for auth: without it no process takes what is queued'
  return orOk(
    [
      isLate && failure(`${waiting} mails and other work wait, the first for ${Math.round(late as number)} s`, advice),
      dead > 0 &&
        warning(
          `${dead} mails were given up`,
          'look at them and send them again, or delete them (docs/operations.md, What was given up)',
        ),
    ],
    waiting === 0 ? 'nothing waits' : `${waiting} wait, which is not long yet`,
  )
}

/** Connects, secures the connection and signs in as for a mail; sends one only if it is told to whom. */
export const mail =
  (to?: string): Check =>
  async ({ config }) => {
    if (!config) return [unknown('the settings of auth are wrong')]
    if (!config.mail && to === undefined) return [ok('none is sent, as SMTP_URL is not set')]
    if (!config.mail) return [failure('none can be sent, as SMTP_URL is not set', 'set it as auth has it')]
    const address = toMailbox(to ?? config.mail.from.address)
    if (address === undefined) return [failure(`"${to}" is not an e-mail address`, 'give another with --send-mail')]
    const { server, from, app } = config.mail
    const where = `${server.host}:${server.port}`
    const text = 'Sallyport sends mail. This one was asked for by `sallyport doctor --send-mail`.\n'
    const message = { from, to: { name: '', address }, subject: `${app.name}: mail arrives`, text }
    try {
      const signal = new AbortController().signal
      await createSend(server)(message, { signal, withhold: to === undefined })
    } catch (error) {
      const { message: code } = error as Error
      return [failure(`${where} takes no mail (${code})`, adviceFor(code))]
    }
    return [ok(to === undefined ? `${where} lets us in` : `sent one to ${address} by ${where}; see whether it arrives`)]
  }

/** By what the server or the connection said. */
function adviceFor(code: string): string {
  if (/^(EAUTH|53\d)$/.test(code)) return 'correct the user and the password in SMTP_URL'
  // To a server that has no STARTTLS it is a command like any other that it does not know.
  if (/^(ETLS|50[02])$/.test(code)) return 'have the server offer STARTTLS, or correct the scheme of SMTP_URL'
  if (/^\d/.test(code)) return 'see what the server logs, and whether it takes mail of MAIL_FROM'
  return 'see that the host and the port of SMTP_URL are right and reachable from here, and that this machine trusts the certificate'
}
