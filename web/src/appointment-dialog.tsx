import { useAuth } from '@sallyport/react'
import { useMutation, useQuery, useQueryClient } from '@tanstack/react-query'
import type { FormEvent } from 'react'
import { type Appointment, api, type Status } from './api.ts'
import { Dialog } from './parts/dialog.tsx'
import { Failure } from './parts/states.tsx'
import { toInput } from './times.ts'
import { statusNames } from './words.ts'

interface Props {
  /** The one to change; without it a new one is made. */
  appointment: Appointment | undefined
  onClose(): void
}

export function AppointmentDialog({ appointment, onClose }: Props) {
  const { roles } = useAuth()
  const queries = useQueryClient()
  const { mutate, isPending, error } = useMutation({
    mutationFn: (form: FormData) => {
      const text = (name: string) => String(form.get(name))
      const when = { startsAt: new Date(text('startsAt')).toISOString(), reason: text('reason').trim() }
      if (appointment) return api.changeAppointment(appointment.id, { ...when, status: text('status') as Status })
      const doctor = form.has('doctorId') ? { doctorId: text('doctorId') } : {}
      return api.makeAppointment({ ...when, ...doctor, patientId: text('patientId') })
    },
    onSuccess: async () => {
      await queries.invalidateQueries({ queryKey: ['appointments'] })
      onClose()
    },
  })
  const submit = (event: FormEvent<HTMLFormElement>) => {
    event.preventDefault()
    mutate(new FormData(event.currentTarget))
  }

  return (
    <Dialog title={appointment ? 'Change the appointment' : 'New appointment'} onClose={onClose}>
      <form onSubmit={submit}>
        {error && <Failure error={error} />}
        {!appointment && <PersonField name="patientId" label="Patient" whose="patient" />}
        {!appointment && roles.includes('admin') && <PersonField name="doctorId" label="Doctor" whose="doctor" />}
        <label className="field">
          <span>Date and time</span>
          <input
            name="startsAt"
            type="datetime-local"
            required
            defaultValue={toInput(appointment ? new Date(appointment.startsAt) : nextHour())}
          />
        </label>
        <label className="field">
          <span>Reason</span>
          <input name="reason" required maxLength={500} pattern=".*\S.*" defaultValue={appointment?.reason} />
        </label>
        {appointment && (
          <label className="field">
            <span>Status</span>
            <select name="status" defaultValue={appointment.status}>
              {Object.entries(statusNames).map(([status, name]) => (
                <option key={status} value={status}>
                  {name}
                </option>
              ))}
            </select>
          </label>
        )}
        <footer>
          <button type="button" onClick={onClose}>
            Back
          </button>
          <button type="submit" className="primary" disabled={isPending}>
            {isPending ? 'Saving…' : appointment ? 'Save' : 'Make appointment'}
          </button>
        </footer>
      </form>
    </Dialog>
  )
}

/** @param whose the role of those to choose from */
function PersonField({ name, label, whose }: { name: string; label: string; whose: string }) {
  const { data, error, refetch } = useQuery({ queryKey: ['directory', whose], queryFn: () => api.directory(whose) })
  if (error) return <Failure error={error} onRetry={() => void refetch()} />
  return (
    <label className="field">
      <span>{label}</span>
      <select name={name} required>
        {data?.people.length !== 1 && <option value="">{data ? 'Choose…' : 'Loading…'}</option>}
        {data?.people.map((person) => (
          <option key={person.id} value={person.id}>
            {person.name}
          </option>
        ))}
      </select>
    </label>
  )
}

function nextHour(): Date {
  const when = new Date()
  when.setHours(when.getHours() + 1, 0, 0, 0)
  return when
}
