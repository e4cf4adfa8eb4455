import { useAuth } from '@sallyport/react'
import { useMutation, useQuery, useQueryClient } from '@tanstack/react-query'
import { useState } from 'react'
import { api, type EndedSession, type Session } from '../api.ts'
import { Confirm } from '../parts/confirm.tsx'
import { MonitorIcon, PhoneIcon } from '../parts/icons.tsx'
import { Failure, Loading } from '../parts/states.tsx'
import { useToast } from '../parts/toasts.tsx'
import { formatAgo, formatMoment } from '../times.ts'
import { describeEnding } from '../words.ts'

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

function SessionRow({ session: { id, current, device, ip, createdAt, lastUsedAt } }: { session: Session }) {
  const { logout } = useAuth()
  const queries = useQueryClient()
  const tell = useToast()
  const { mutate, isPending, error } = useMutation({
    mutationFn: async (): Promise<unknown> => (current ? logout() : api.endSession(id)),
    onSuccess: () => !current && tell(`${device} is signed out.`),
    onSettled: () => !current && queries.invalidateQueries({ queryKey: ['sessions'] }),
  })
  return (
    <li className="row">
      <Device name={device} />
      <div className="row-main">
        <strong>
          {device}
          {current && <span className="you">this device</span>}
        </strong>
        <span>
          Last used {formatAgo(lastUsedAt)}
          {ip && <> from {ip}</>}
        </span>
        <span>Signed in {formatMoment(createdAt)}</span>
        {error && <Failure error={error} />}
      </div>
      <button
        type="button"
        className="small"
        disabled={isPending}
        aria-label={`Sign out ${device}`}
        onClick={() => mutate()}
      >
        Sign out
      </button>
    </li>
  )
}

function Ended({ sessions }: { sessions: EndedSession[] }) {
  return (
    <section className="day">
      <h2>Ended in the last 24 hours</h2>
      <ul className="card rows">
        {sessions.map(({ id, device, reason, endedAt }) => (
          <li key={id} className="row faded">
            <Device name={device} />
            <div className="row-main">
              <strong>{device}</strong>
              <span>
                {describeEnding(reason)}, {formatAgo(endedAt)}
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
