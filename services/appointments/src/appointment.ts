import type { Appointment } from '@sallyport/database'
import Type, { type Static } from 'typebox'

/** The channel of Postgres on which changes are announced, in the commit that makes them. */
export const appointmentChannel = 'sallyport_appointments'

export const Status = Type.Union([Type.Literal('scheduled'), Type.Literal('completed'), Type.Literal('cancelled')])

/** An appointment as callers see it. */
export const AppointmentView = Type.Object({
  id: Type.String(),
  doctorId: Type.String(),
  patientId: Type.String(),
  startsAt: Type.String(),
  reason: Type.String(),
  status: Status,
  updatedAt: Type.String(),
})

export function view({
  id,
  doctorId,
  patientId,
  startsAt,
  reason,
  status,
  updatedAt,
}: Appointment): Static<typeof AppointmentView> {
  return {
    id,
    doctorId,
    patientId,
    startsAt: startsAt.toISOString(),
    reason,
    status,
    updatedAt: updatedAt.toISOString(),
  }
}
