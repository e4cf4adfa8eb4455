import { useAuth } from '@sallyport/react'
import { useState } from 'react'
import { useLocation, useSearch } from 'wouter'
import type { Appointment } from '../api.ts'
import { AppointmentDialog } from '../appointment-dialog.tsx'
import { useAppointments } from '../appointments.ts'
import { PlusIcon } from '../parts/icons.tsx'
import { Empty, Failure, Loading } from '../parts/states.tsx'
import { useNames } from '../people.ts'
import { formatDay, formatTime, isSameDay } from '../times.ts'
import { statusNames } from '../words.ts'

export function AppointmentsPage() {
  const { roles } = useAuth()
  const { gives, appointments, upcoming, past, error, refetch } = useAppointments()
  const [showsPast, setShowsPast] = useState(false)
  const [edited, setEdited] = useState<Appointment>()
  const [, navigate] = useLocation()
  const isNew = useSearch() === 'new'
  const shown = showsPast ? past : upcoming
  const nameOf = useNames(shown.flatMap(({ doctorId, patientId }) => [doctorId, patientId]))

  const withWhom = ({ doctorId, patientId }: Appointment) =>
    roles.includes('admin') ? `${nameOf(patientId)} with ${nameOf(doctorId)}` : nameOf(gives ? patientId : doctorId)
  const close = () => {
    setEdited(undefined)
    if (isNew) navigate('/appointments', { replace: true })
  }

  return (
    <>
      <header className="page-head">
        <div>
          <h1>Appointments</h1>
          <p>{roles.includes('admin') ? 'Everyone’s' : gives ? 'The ones you give' : 'The ones you have'}</p>
        </div>
        {gives && (
          <button type="button" className="primary" onClick={() => navigate('/appointments?new')}>
            <PlusIcon />
            New appointment
          </button>
        )}
      </header>

      <fieldset className="segments">
        <legend>Which appointments</legend>
        {[
          { name: 'Upcoming', moreWords: '', isPast: false, count: upcoming.length },
          { name: 'Past', moreWords: ' and cancelled', isPast: true, count: past.length },
        ].map(({ name, moreWords, isPast, count }) => (
          <label key={name}>
            <input type="radio" name="when" checked={showsPast === isPast} onChange={() => setShowsPast(isPast)} />
            <span>
              {name}
              <span className="more-words">{moreWords}</span>
            </span>
            {appointments && <span className="count">{count}</span>}
          </label>
        ))}
      </fieldset>

      {error && !appointments ? (
        <Failure error={error} onRetry={refetch} />
      ) : !appointments ? (
        <Loading rows={4} />
      ) : shown.length === 0 ? (
        <Empty title={showsPast ? 'Nothing has been yet' : 'Nothing planned'}>
          {!showsPast && gives && <p>New appointments appear here, for you and for the patient at once.</p>}
        </Empty>
      ) : (
        byDay(shown).map(({ day, ofDay }) => (
          <section key={day} className="day">
            <h2>{day}</h2>
            <ul className="card rows">
              {ofDay.map((appointment) => (
                <li key={appointment.id} className="row">
                  <time dateTime={appointment.startsAt}>{formatTime(appointment.startsAt)}</time>
                  <div className="row-main">
                    <strong>{appointment.reason}</strong>
                    <span>{withWhom(appointment)}</span>
                  </div>
                  <span className={`chip ${appointment.status}`}>{statusNames[appointment.status]}</span>
                  {gives && (
                    <button
                      type="button"
                      className="small"
                      aria-label={`Change ${appointment.reason}, ${formatTime(appointment.startsAt)}`}
                      onClick={() => setEdited(appointment)}
                    >
                      Change
                    </button>
                  )}
                </li>
              ))}
            </ul>
          </section>
        ))
      )}
      {gives && (edited || isNew) && <AppointmentDialog appointment={edited} onClose={close} />}
    </>
  )
}

function byDay(appointments: Appointment[]) {
  const days: { day: string; ofDay: Appointment[] }[] = []
  for (const appointment of appointments) {
    const last = days.at(-1)
    if (last?.ofDay[0] && isSameDay(last.ofDay[0].startsAt, appointment.startsAt)) last.ofDay.push(appointment)
    else days.push({ day: formatDay(appointment.startsAt), ofDay: [appointment] })
  }
  return days
}
