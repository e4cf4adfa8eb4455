import type { Application } from '@sallyport/chassis'
import { problemSchema } from '@sallyport/chassis/problem-schema'
import type { Database } from '@sallyport/database'
import type { Guard } from '@sallyport/identity'
import Type from 'typebox'
import { AppointmentView, view } from './appointment.ts'

/** Appointments for those who have them: ownership is the rule, whatever the role. */
export function patientRoute(app: Application, { database, signedIn }: { database: Database; signedIn: Guard }): void {
  app.get(
    '/api/appointments',
    {
      schema: {
        summary: 'The appointments I have',
        response: { 200: Type.Object({ appointments: Type.Array(AppointmentView) }), '4xx': problemSchema },
      },
      preHandler: signedIn,
    },
    async ({ identity }) => {
      const appointments = await database.appointment.findMany({
        where: { patientId: identity.userId },
        orderBy: [{ startsAt: 'asc' }, { id: 'asc' }],
        take: 500,
      })
      return { appointments: appointments.map(view) }
    },
  )
}
