import type { Application } from '@sallyport/chassis'
import { problemSchema } from '@sallyport/chassis/problem-schema'
import type { Database } from '@sallyport/database'
import type { Identity } from '@sallyport/identity'
import type { Guard } from '@sallyport/identity/fastify'
import Type from 'typebox'
import { AppointmentView, view } from './appointment.ts'

const Time = Type.Optional(Type.String({ format: 'date-time' }))

/** Appointments for those who have them: ownership is the rule, whatever the role. A service account sees all. */
export function patientRoute(app: Application, { database, reader }: { database: Database; reader: Guard[] }): void {
  app.get(
    '/api/appointments',
    {
      schema: {
        summary: 'The appointments I have, the first 500; of a service account, all',
        querystring: Type.Object({ from: Time, to: Time }),
        response: { 200: Type.Object({ appointments: Type.Array(AppointmentView) }), '4xx': problemSchema },
      },
      preHandler: reader,
    },
    async ({ identity, query: { from, to } }) => {
      const startsAt = { ...(from && { gte: new Date(from) }), ...(to && { lt: new Date(to) }) }
      const appointments = await database.appointment.findMany({
        where: { startsAt, ...ownedBy(identity) },
        orderBy: [{ startsAt: 'asc' }, { id: 'asc' }],
        take: 500,
      })
      return { appointments: appointments.map(view) }
    },
  )
}

const ownedBy = ({ caller, userId }: Identity) => (caller === 'client' ? {} : { patientId: userId })
