import { useAuth } from '@sallyport/react'
import { Link } from 'wouter'
import { useAppointments } from '../appointments.ts'
import { hasSamples } from '../client.ts'
import { type Change, useLive } from '../live.tsx'
import { Empty, Failure, Loading } from '../parts/states.tsx'
import { PasskeyOffer } from '../passkey-offer.tsx'
import { useName, useNames } from '../people.ts'
import { formatDay, formatMoment, formatSeconds, formatTime, isSameDay } from '../times.ts'
import { statusNames } from '../words.ts'

export function HomePage() {
  const name = useName()
  const { actor } = useAuth()
  return (
    <>
      <header className="page-head">
        <div>
          <p className="eyebrow">{formatDay(new Date().toISOString())}</p>
          <h1>
            {greeting()}, {name.split(' ')[0]}
          </h1>
        </div>
      </header>
      {!actor && <PasskeyOffer />}
      {hasSamples ? <Samples /> : <Own />}
    </>
  )
}

/** What there is without the samples. */
function Own() {
  const { roles } = useAuth()
  return (
    <section className="card">
      <header>
        <h2>Your account</h2>
        <Link href="/account">Open</Link>
      </header>
      <dl className="claims">
        <div>
          <dt>Signed in as</dt>
          <dd>{roles.join(', ')}</dd>
        </div>
      </dl>
    </section>
  )
}

function Samples() {
  return (
    <>
      <Figures />
      <div className="columns">
        <Next />
        <Live />
      </div>
    </>
  )
}

function greeting(): string {
  const hour = new Date().getHours()
  return hour < 12 ? 'Good morning' : hour < 18 ? 'Good afternoon' : 'Good evening'
}

function Figures() {
  const { roles } = useAuth()
  const { upcoming, appointments } = useAppointments()
  const now = new Date().toISOString()
  const figures = [
    { name: 'Today', value: upcoming.filter(({ startsAt }) => isSameDay(startsAt, now)).length },
    { name: 'Upcoming', value: upcoming.length },
    { name: 'Completed', value: appointments?.filter(({ status }) => status === 'completed').length },
  ]
  return (
    <dl className="figures">
      {figures.map(({ name, value }) => (
        <div key={name}>
          <dt>{name}</dt>
          <dd>{appointments ? value : '–'}</dd>
        </div>
      ))}
      <div>
        <dt>Signed in as</dt>
        <dd className="role-figure">{roles.join(', ')}</dd>
      </div>
    </dl>
  )
}

function Next() {
  const { error, appointments, upcoming, refetch, gives } = useAppointments()
  const next = upcoming.slice(0, 4)
  const nameOf = useNames(next.map(({ doctorId, patientId }) => (gives ? patientId : doctorId)))
  return (
    <section className="card">
      <header>
        <h2>Next appointments</h2>
        <Link href="/appointments">See all</Link>
      </header>
      {error && !appointments ? (
        <Failure error={error} onRetry={refetch} />
      ) : !appointments ? (
        <Loading />
      ) : next.length === 0 ? (
        <Empty title="Nothing planned">{gives && <Link href="/appointments?new">Make an appointment</Link>}</Empty>
      ) : (
        <ul className="lines">
          {next.map(({ id, startsAt, reason, doctorId, patientId }) => (
            <li key={id}>
              <time dateTime={startsAt}>{formatTime(startsAt)}</time>
              <div className="lines-text">
                <strong>{reason}</strong>
                <span>
                  {formatDay(startsAt)} · {nameOf(gives ? patientId : doctorId)}
                </span>
              </div>
            </li>
          ))}
        </ul>
      )}
    </section>
  )
}

function Live() {
  const { status, changes } = useLive()
  const words = { connecting: 'Connecting', live: 'Live', waiting: 'Connecting again' }
  return (
    <section className="card">
      <header>
        <h2>Notifications</h2>
        <span className={`pulse ${status}`} role="status">
          {words[status]}
        </span>
      </header>
      {changes.length === 0 ? (
        <Empty title="All quiet">
          <p>Changes of appointments appear here as they happen.</p>
        </Empty>
      ) : (
        <ol className="lines" aria-label="Changes, the newest first">
          {changes.map((change) => (
            <li key={`${change.appointment.id} ${change.at}`}>
              <time dateTime={new Date(change.at).toISOString()}>{formatSeconds(change.at)}</time>
              <div className="lines-text">
                <strong>{change.appointment.reason}</strong>
                <span>{describe(change)}</span>
              </div>
            </li>
          ))}
        </ol>
      )}
    </section>
  )
}

function describe({ change, appointment: { startsAt, status } }: Change): string {
  if (change === 'created') return `New, for ${formatMoment(startsAt)}`
  return `${statusNames[status]}, ${formatMoment(startsAt)}`
}
