import { Problem } from '@sallyport/chassis'
import type { Webhook, WebhookSecret } from '@sallyport/database'
import Type, { type Static } from 'typebox'
import { eventTypes } from './event-types.ts'

/** What the routes for webhooks share. */

export const Events = Type.Array(Type.String({ enum: eventTypes }), {
  minItems: 1,
  maxItems: eventTypes.length,
  uniqueItems: true,
})

export const Url = Type.String({ maxLength: 2_048, examples: ['https://example.com/webhooks'] })

const NullableText = Type.Union([Type.String(), Type.Null()])

export const WebhookView = Type.Object({
  id: Type.String(),
  name: Type.String(),
  url: Type.String(),
  events: Type.Array(Type.String()),
  enabled: Type.Boolean(),
  disabledReason: Type.Union([Type.String({ enum: ['gone', 'failing'] }), Type.Null()], {
    description: 'why it was disabled, if nobody did: its receiver wants no more (410), or has failed for three days',
  }),
  failingSince: NullableText,
  createdAt: Type.String(),
})

export const SecretView = Type.Object({
  id: Type.String(),
  createdAt: Type.String(),
  expiresAt: Type.Union([Type.String(), Type.Null()], { description: 'until when it signs too; null for the latest' }),
})

/** Shown once. */
export const Secret = Type.String({ description: 'what verifies deliveries (`whsec_…`); shown now and never again' })

export function viewWebhook(webhook: Webhook): Static<typeof WebhookView> {
  const { id, name, url, events, enabled, disabledReason, failingSince, createdAt } = webhook
  return {
    ...{ id, name, url, events, enabled },
    disabledReason: disabledReason as 'gone' | 'failing' | null,
    failingSince: failingSince?.toISOString() ?? null,
    createdAt: createdAt.toISOString(),
  }
}

export const viewSecret = ({ id, createdAt, expiresAt }: WebhookSecret): Static<typeof SecretView> => ({
  id,
  createdAt: createdAt.toISOString(),
  expiresAt: expiresAt?.toISOString() ?? null,
})

export const unknownWebhook = () => new Problem(404, 'WEBHOOK_NOT_FOUND', 'There is no such webhook')
