/** What a webhook can be notified of (docs/webhooks.md). Triggers write the events (prisma/migrations, `webhooks_of_…`). */
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

/** Of the event that is sent to try a webhook out. */
export const testType = 'webhook.test'
