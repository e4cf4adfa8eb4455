import { useAuth } from '@sallyport/react'
import { useMutation, useQuery, useQueryClient } from '@tanstack/react-query'
import { useState } from 'react'
import { api, type EndedSession, type Session } from '../api.ts'
import { Confirm } from '../parts/confirm.tsx'
import { MonitorIcon, PhoneIcon } from '../parts/icons.tsx'
import { Failure, Loading } from '../parts/states.tsx'
import { useToast } from '../parts/toasts.tsx'
import { formatAgo, formatMoment } from '../times.ts'
import { describeEnding, nameActor } from '../words.ts'

export function SessionsPage() {
  const { data, error, refetch } = useQuery({ queryKey: ['sessions'], queryFn: api.sessions })
  const [isLeaving, setLeaving] = useState(false)
  return (
    <>
      <header className="page-head">
        <div>
          <h1>Sessions</h1>
          <p>Where you are signed in</p>
        </div>
        <div className="buttons">
          <button type="button" className="danger" onClick={() => setLeaving(true)}>
            Sign out everywhere
          </button>
        </div>
      </header>
      {error && !data ? (
        <Failure error={error} onRetry={() => void refetch()} />
      ) : !data ? (
        <Loading />
      ) : (
        <>
          <ul className="card rows">
            {data.sessions.map((session) => (
              <SessionRow key={session.id} session={session} />
            ))}
          </ul>
          {data.ended.length > 0 && <Ended sessions={data.ended} />}
        </>
      )}
      {isLeaving && <Everywhere onClose={() => setLeaving(false)} />}
    </>
  )
}

const Device = ({ name }: { name: string }) => (
  <span className="device">{/Android|iOS|iPhone/.test(name) ? <PhoneIcon /> : <MonitorIcon />}</span>
)

/** What stands for a session in the list: who acts in it counts for more than the device. */
const nameOf = ({ actor, device }: Session) => (actor ? `${nameActor(actor)} acting for you` : device)

function SessionRow({ session }: { session: Session }) {
  const { id, actor, current, device, ip, createdAt, lastUsedAt } = session
  const name = nameOf(session)
  const { logout } = useAuth()
  const queries = useQueryClient()
  const tell = useToast()
  const { mutate, isPending, error } = useMutation({
    mutationFn: async (): Promise<unknown> => (current ? logout() : api.endSession(id)),
    onSuccess: () =>
      !current && tell(actor ? `${nameActor(actor)} no longer acts for you.` : `${device} is signed out.`),
    onSettled: () => !current && queries.invalidateQueries({ queryKey: ['sessions'] }),
  })
  return (
    <li className="row">
      <Device name={device} />
      <div className="row-main">
        <strong>
          {name}
          {current && <span className="you">this device</span>}
        </strong>
        <span>
          {actor && `${device}. `}Last used {formatAgo(lastUsedAt)}
          {ip && <> from {ip}</>}
        </span>
        <span>
          {actor ? 'Since' : 'Signed in'} {formatMoment(createdAt)}
        </span>
        {error && <Failure error={error} />}
      </div>
      <button
        type="button"
        className="small"
        disabled={isPending}
        aria-label={actor ? `End: ${name}` : `Sign out ${device}`}
        onClick={() => mutate()}
      >
        {actor ? 'End' : 'Sign out'}
      </button>
    </li>
  )
}

function Ended({ sessions }: { sessions: EndedSession[] }) {
  return (
    <section className="day">
      <h2>Ended in the last 24 hours</h2>
      <ul className="card rows">
        {sessions.map((session) => (
          <li key={session.id} className="row faded">
            <Device name={session.device} />
            <div className="row-main">
              <strong>{nameOf(session)}</strong>
              <span>
                {describeEnding(session.reason)}, {formatAgo(session.endedAt)}
              </span>
            </div>
          </li>
        ))}
      </ul>
    </section>
  )
}

function Everywhere({ onClose }: { onClose: () => void }) {
  const { logout } = useAuth()
  const { mutate, isPending, error } = useMutation({ mutationFn: api.endAllSessions, onSuccess: () => logout() })
  return (
    <Confirm
      title="Sign out everywhere?"
      label="Sign out everywhere"
      isPending={isPending}
      error={error}
      onConfirm={() => mutate()}
      onClose={onClose}
    >
      Every session of yours ends at once, on every device, this one too.
    </Confirm>
  )
}
