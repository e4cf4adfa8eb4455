import { randomUUID } from 'node:crypto'
import { normalizeIP } from '@fastify/rate-limit'
import { type Application, Problem } from '@sallyport/chassis'
import type { Database } from '@sallyport/database'
import type { FastifyRequest } from 'fastify'
import Type from 'typebox'
import type { Config } from '../config.ts'
import { addJob } from '../mail/queue.ts'

/** The response to a client that asks for a mail: the same for every address, whether it has an account or not. */
export const Asked = Type.Object(
  {
    message: Type.String(),
    ticketId: Type.String({ description: 'goes with the code of the mail' }),
  },
  { description: 'A mail is sent, if the address is one that it can be sent to' },
)

/** Queues work that ends in a mail. @returns the response */
export type AskForMail = (
  request: FastifyRequest,
  task: string,
  payload: object,
) => Promise<{ message: string; ticketId: string }>

/**
 * Makes the one way in which a request causes a mail to an address that it names. The request looks nothing up: what
 * depends on whether there is an account is done by the worker of the queue, so that neither the response nor its time
 * says so. A client that asks too often gets the same response, and nothing is done.
 */
export function createAskForMail(app: Application, { mail, mailsPerMinute }: Config, database: Database): AskForMail {
  const check = app.createRateLimit({
    max: mailsPerMinute,
    timeWindow: '1 minute',
    // It is counted for no route, and so beside every other limit that is not.
    keyGenerator: ({ ip }) => `mail ${normalizeIP(ip)}`,
  })
  return async (request, task, payload) => {
    if (!mail) throw mailUnavailable()
    const ticketId = randomUUID()
    const limit = await check(request)
    if (limit.isAllowed || !limit.isExceeded) await addJob(database, task, { ticketId, ...payload })
    return { message: 'If the address can be used, a mail is on its way', ticketId }
  }
}

export const mailUnavailable = () =>
  new Problem(503, 'MAIL_UNAVAILABLE', 'This system sends no mail', { detail: 'Its operators have to set SMTP_URL.' })
