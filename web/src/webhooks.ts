import { request } from './api.ts'

/** Where others are notified of what happens. */
export interface Webhook {
  id: string
  name: string
  url: string
  events: string[]
  enabled: boolean
  disabledReason: 'gone' | 'failing' | null
  failingSince: string | null
  createdAt: string
}

export interface WebhookDetails extends Webhook {
  secrets: { id: string; createdAt: string; expiresAt: string | null }[]
  waiting: number
  dead: number
}

export interface Delivery {
  id: string
  /** The `webhook-id`. */
  event: string
  type: string
  subject: string | null
  at: string
  state: 'pending' | 'delivered' | 'dead'
  attempts: number
  nextAt: string | null
  settledAt: string | null
  status: number | null
  error: string | null
}

/** What the receiver of a test responded. */
export interface Tested {
  delivered: boolean
  status: number | null
  error: string | null
  durationMs: number
}

export type WebhookFields = Pick<Webhook, 'name' | 'url' | 'events'>

export interface Span {
  from: string
  to: string
  state?: 'dead'
}

/** What there is to be notified of, as services/auth/src/webhooks/event-types.ts has it. */
export const eventTypes = [
  'user.created',
  'user.changed',
  'user.deleted',
  'session.ended',
  'login.failed',
  'factor.added',
  'factor.removed',
  'client.created',
  'client.changed',
  'client.deleted',
  'client.credential_added',
  'client.credential_revoked',
  'client.exchange_added',
  'client.exchange_removed',
]

const webhookPath = (id: string) => `/api/admin/webhooks/${encodeURIComponent(id)}`

/** The calls about webhooks, for admins. */
export const webhooks = {
  list: () => request<{ webhooks: Webhook[] }>('GET', '/api/admin/webhooks'),
  get: (id: string) => request<WebhookDetails>('GET', webhookPath(id)),
  make: (body: WebhookFields) => request<Webhook & { secret: string }>('POST', '/api/admin/webhooks', body),
  change: (id: string, body: Partial<WebhookFields & { enabled: boolean }>) =>
    request<Webhook>('PATCH', webhookPath(id), body),
  remove: (id: string) => request('DELETE', webhookPath(id)),
  makeSecret: (id: string) => request<{ secret: string }>('POST', `${webhookPath(id)}/secrets`),
  test: (id: string) => request<Tested>('POST', `${webhookPath(id)}/test`),
  deliveries: (id: string, state: string, cursor: string | null) =>
    request<{ deliveries: Delivery[]; nextCursor: string | null }>(
      'GET',
      `${webhookPath(id)}/deliveries?${new URLSearchParams({ limit: '20', ...(state && { state }), ...(cursor && { cursor }) })}`,
    ),
  replay: (id: string, delivery: string) =>
    request<{ replayed: number }>('POST', `${webhookPath(id)}/deliveries/${encodeURIComponent(delivery)}/replay`),
  replaySpan: (id: string, span: Span) => request<{ replayed: number }>('POST', `${webhookPath(id)}/replay`, span),
}
