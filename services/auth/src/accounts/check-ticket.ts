import type { Application } from '@sallyport/chassis'
import type { Database } from '@sallyport/database'
import Type from 'typebox'
import type { Config } from '../config.ts'
import { requireOwnOrigin } from '../sessions/own-origin.ts'
import type { DerivedKeys } from '../tokens/derived-keys.ts'
import { findTicket, purposes } from './tickets.ts'

interface Dependencies {
  config: Config
  database: Database
  keys: DerivedKeys
}

const schema = {
  operationId: 'checkTicket',
  tags: ['account'],
  summary: 'What the link of a mail is good for',
  description:
    'For the page that the link leads to: it says at once that a link is no longer valid, and names the account to password managers. It uses nothing up.',
  body: Type.Object({ ticket: Type.String({ maxLength: 200 }) }),
  response: {
    200: Type.Object(
      {
        purpose: Type.String({ enum: [...purposes] }),
        email: Type.String({ description: 'the mailbox that the mail went to' }),
        expiresAt: Type.String(),
      },
      { description: 'The ticket is valid' },
    ),
  },
  problems: { 400: ['TICKET_INVALID'], 403: ['ORIGIN_REFUSED'] },
}

/** Lets the page behind a link show whom it is for. Programs that open links may do so too, and change nothing. */
export function checkTicketRoute(app: Application, { config, database, keys }: Dependencies): void {
  app.post(
    '/api/auth/tickets/check',
    {
      schema,
      onRequest: requireOwnOrigin(config.origins),
      config: { rateLimit: config.loginRateLimit },
    },
    async ({ body }) => {
      const { purpose, email, expiresAt } = await findTicket(database, keys, body, purposes)
      return { purpose, email, expiresAt: expiresAt.toISOString() }
    },
  )
}
