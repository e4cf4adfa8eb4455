import type { Test } from 'tap'
import { startMail } from './mail.ts'
import { Client, type ClientResponse, eventually, openSystem } from './system.ts'

export const password = 'seven quiet horses graze'
export const otherPassword = 'nine loud geese at noon'

/** A system in which anybody may register, with a mailbox for every address. */
export async function openAccounts(t: Test, settings: Record<string, string> = {}) {
  const mail = await startMail(t)
  const system = await openSystem(t, {
    ...mail.settings,
    REGISTRATION: 'open',
    REGISTRATION_ROLES: 'patient',
    ...settings,
  })
  const { gateway, sql } = system
  let calls = 0

  /** Each time from another IP address, so that no limit of a client's is met. */
  const call = (
    method: string,
    path: string,
    body?: unknown,
    client = new Client(gateway),
  ): Promise<ClientResponse> => {
    calls += 1
    const headers = { 'x-forwarded-for': `10.0.${calls >> 8}.${calls & 255}` }
    return client.call(method, `/api/auth/${path}`, { ...(body !== undefined && { body }), headers })
  }
  const post = (path: string, body: unknown, client?: Client) => call('POST', path, body, client)

  /** Waits until everything that was asked for is done. */
  const settled = () =>
    eventually('the queue is empty', async () => {
      const { rows } = await sql('SELECT FROM graphile_worker._private_jobs WHERE attempts < max_attempts')
      return rows.length === 0
    })

  /** Asks for a mail by way of a path, and reads it. */
  async function ask(path: string, email: string, client?: Client) {
    const { body } = await post(path, { email }, client)
    return { ticketId: body.ticketId as string, ...(await offered(email)) }
  }

  /** The next mail to an address that has a ticket; there may be notices among them. */
  const offered = (email: string) => mail.next(email, ({ ticket }) => ticket !== undefined)

  /** A new user, signed in. */
  async function register(email: string, name = 'Nina', client = new Client(gateway)) {
    const { ticket } = await ask('register', email)
    const { status, body } = await post('register/complete', { ticket, name, password }, client)
    if (status !== 200) throw new Error(`registration returned ${status} ${JSON.stringify(body)}`)
    return Object.assign(client, { id: body.user.id as string })
  }

  /** Subjects are the names of templates only as long as these say nothing else. */
  const mailsTo = (address: string) =>
    mail.smtp.mails.filter((received) => [received.to].flat()[0]?.value[0]?.address === address)

  const eventsOf = async (user: string) =>
    (await sql('SELECT event FROM auth.security_events WHERE user_id = $1 ORDER BY id', [user])).rows.map(
      ({ event }) => event as string,
    )

  return { ...system, mail, offered, call, post, ask, register, settled, mailsTo, eventsOf }
}

/** What refuses a ticket or a code, whatever is wrong with it. */
export const invalid = { status: 400, body: { code: 'TICKET_INVALID' } }
