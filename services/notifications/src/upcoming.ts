import { type Application, Problem, unavailable } from '@sallyport/chassis'
import { type ServiceClient, ServiceClientError } from '@sallyport/identity'
import type { Guard } from '@sallyport/identity/fastify'

/** Milliseconds in which appointments is to answer. */
const timeout = 5_000

const mostReminders = 10

interface Appointment {
  id: string
  startsAt: string
  reason: string
  status: string
}

/**
 * The next appointments of whoever asks. They are those that the appointments service shows this person: it is called on
 * their behalf, and knows them by its own guards.
 */
export function upcomingRoute(
  app: Application,
  { client, signedIn }: { client: ServiceClient | undefined; signedIn: Guard },
): void {
  app.get('/api/notifications/upcoming', { preHandler: signedIn }, async (request) => {
    if (!client)
      throw new Problem(503, 'SERVICE_ACCOUNT_MISSING', 'Reminders are not set up here', {
        detail: 'The operator has to give the service an account: docs/operations.md.',
      })
    const onBehalf = client.onBehalfOf(request, { audience: 'appointments', scope: 'appointments:read' })
    const path = `/api/appointments?from=${new Date().toISOString()}`
    const response = await onBehalf.fetch(path, { signal: AbortSignal.timeout(timeout) }).catch((error) => {
      throw problemOf(error)
    })
    if (!response.ok) throw unavailable(new Error(`appointments responded ${response.status}`))
    const { appointments } = (await response.json()) as { appointments: Appointment[] }
    const reminders = appointments
      .filter(({ status }) => status === 'scheduled')
      .slice(0, mostReminders)
      .map(({ id, startsAt, reason }) => ({ appointment: id, startsAt, reason }))
    return { reminders }
  })
}

/** For whom the service may not act is told so; that its own account is not accepted is for the operator to know. */
function problemOf(error: unknown): unknown {
  if (!(error instanceof ServiceClientError) || error.code === 'unreachable') return unavailable(error)
  if (!['invalid_request', 'invalid_target', 'invalid_scope'].includes(error.code)) return error
  return new Problem(403, 'EXCHANGE_REFUSED', 'Appointments cannot be asked for on your behalf', { cause: error })
}
