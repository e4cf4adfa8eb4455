import { type Application, Problem, storable } from '@sallyport/chassis'
import { problemSchema } from '@sallyport/chassis/problem-schema'
import type { Appointment, Database, Prisma } from '@sallyport/database'
import type { Identity } from '@sallyport/identity'
import type { Guard } from '@sallyport/identity/fastify'
import Type from 'typebox'
import { AppointmentView, appointmentChannel, Status, view } from './appointment.ts'

const Id = Type.String({ format: 'uuid' })
const StartsAt = Type.String({ format: 'date-time' })
const Reason = Type.String({ minLength: 1, maxLength: 500, pattern: storable })

/** Appointments for those who give them: a doctor sees and changes their own, an admin everyone's. */
export function doctorRoutes(
  app: Application,
  { database, reader, writer }: { database: Database; reader: Guard[]; writer: Guard[] },
): void {
  app.get(
    '/api/doctor/appointments',
    {
      schema: {
        summary: 'The appointments I give',
        response: { 200: Type.Object({ appointments: Type.Array(AppointmentView) }), '4xx': problemSchema },
      },
      preHandler: reader,
    },
    async ({ identity }) => {
      const appointments = await database.appointment.findMany({
        where: ownedBy(identity),
        orderBy: [{ startsAt: 'asc' }, { id: 'asc' }],
        take: 500,
      })
      return { appointments: appointments.map(view) }
    },
  )

  app.post(
    '/api/doctor/appointments',
    {
      schema: {
        summary: 'Make an appointment',
        body: Type.Object({
          patientId: Id,
          doctorId: Type.Optional(
            Type.String({ format: 'uuid', description: 'for an admin; a doctor makes own ones' }),
          ),
          startsAt: StartsAt,
          reason: Reason,
        }),
        response: { 201: AppointmentView, '4xx': problemSchema },
      },
      preHandler: writer,
    },
    async ({ identity, body }, reply) => {
      const doctorId = isAdmin(identity) ? (body.doctorId ?? identity.userId) : identity.userId
      const { patientId, startsAt, reason } = body
      const appointment = await database.$transaction(async (transaction) =>
        announce(
          transaction,
          'created',
          await transaction.appointment.create({
            data: { doctorId, patientId, startsAt: new Date(startsAt), reason },
          }),
        ),
      )
      return reply.code(201).send(view(appointment))
    },
  )

  app.patch(
    '/api/doctor/appointments/:id',
    {
      schema: {
        summary: 'Change an appointment',
        params: Type.Object({ id: Id }),
        body: Type.Object(
          {
            startsAt: Type.Optional(StartsAt),
            reason: Type.Optional(Reason),
            status: Type.Optional(Status),
          },
          { minProperties: 1 },
        ),
        response: { 200: AppointmentView, '4xx': problemSchema },
      },
      preHandler: writer,
    },
    async ({ identity, params, body }) => {
      const { startsAt, reason, status } = body
      const data = {
        ...(startsAt === undefined ? {} : { startsAt: new Date(startsAt) }),
        ...(reason === undefined ? {} : { reason }),
        ...(status === undefined ? {} : { status }),
      }
      const changed = await database.$transaction(async (transaction) => {
        const [appointment] = await transaction.appointment.updateManyAndReturn({
          where: { id: params.id, ...ownedBy(identity) },
          data,
        })
        return appointment && announce(transaction, 'changed', appointment)
      })
      if (!changed) throw new Problem(404, 'APPOINTMENT_NOT_FOUND', 'You have no such appointment')
      return view(changed)
    },
  )
}

const isAdmin = ({ roles }: Identity) => roles.includes('admin')
const ownedBy = (identity: Identity) => (isAdmin(identity) ? {} : { doctorId: identity.userId })

/** Notifies listeners, once and only if the change commits. */
async function announce(
  transaction: Prisma.TransactionClient,
  change: string,
  appointment: Appointment,
): Promise<Appointment> {
  const message = JSON.stringify({ change, appointment: view(appointment) })
  await transaction.$executeRaw`SELECT pg_notify(${appointmentChannel}, ${message})`
  return appointment
}
