import '@sallyport/chassis/node-version'
import { ConfigurationError, createLogger, processSettings, readSettings } from '@sallyport/chassis'
import { createServiceClient, type ServiceClient } from '@sallyport/identity'
import { readServiceAccount } from './service-account.ts'

/** Milliseconds in which appointments is to answer. */
const timeout = 10_000

interface Appointment {
  id: string
  patientId: string
  startsAt: string
  status: string
}

/** All appointments that begin from one time until before another; the service gives the first of them, so many at a time. */
async function listAppointments(client: ServiceClient, from: Date, to: Date): Promise<Appointment[]> {
  const found = new Map<string, Appointment>()
  let begin = from.toISOString()
  // Those of the last moment come again, with the ones after it.
  for (let before = -1; found.size > before; ) {
    before = found.size
    const query = new URLSearchParams({ from: begin, to: to.toISOString() })
    const response = await client.fetch(`/api/appointments?${query}`, { signal: AbortSignal.timeout(timeout) })
    if (!response.ok) throw new Error(`appointments responded ${response.status}`)
    const { appointments } = (await response.json()) as { appointments: Appointment[] }
    for (const appointment of appointments) {
      found.set(appointment.id, appointment)
      begin = appointment.startsAt
    }
  }
  return [...found.values()]
}

/** One line in the log for each appointment of tomorrow, in UTC, of which its patient is to be reminded. */
async function remind(): Promise<void> {
  const account = readServiceAccount(process.env)
  if (!account)
    throw new ConfigurationError(
      'TOKEN_ENDPOINT is not set; the job needs it, SERVICE_CLIENT_ID and SERVICE_PRIVATE_KEY',
    )
  const { LOG_LEVEL } = readSettings(process.env, { LOG_LEVEL: processSettings.LOG_LEVEL })
  const logger = createLogger('nightly', LOG_LEVEL)
  const day = (days: number) => new Date(new Date().setUTCHours(24 * days, 0, 0, 0))
  const client = createServiceClient({ ...account, scope: 'appointments:read' })
  const due = (await listAppointments(client, day(1), day(2))).filter(({ status }) => status === 'scheduled')
  for (const { id, patientId, startsAt } of due)
    logger.info({ event: 'reminder_due', appointment: id, patient: patientId, startsAt })
  logger.info({ event: 'reminders_listed', due: due.length })
}

try {
  await remind()
} catch (error) {
  for (const line of (error as Error).message.split('\n')) process.stderr.write(`sallyport nightly: ${line}\n`)
  process.exitCode = 1
}
