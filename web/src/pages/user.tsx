import type { AuthError } from '@sallyport/client'
import { useAuth } from '@sallyport/react'
import { useInfiniteQuery, useQuery } from '@tanstack/react-query'
import { type ReactNode, useState } from 'react'
import { Link } from 'wouter'
import { admin, type SecurityEvent, type UserDetails } from '../admin.ts'
import { MonitorIcon, PhoneIcon } from '../parts/icons.tsx'
import { Empty, Failure, Loading, Notice } from '../parts/states.tsx'
import { useNames } from '../people.ts'
import { formatAgo, formatDate, formatMoment } from '../times.ts'
import { type UserAction, UserDialog } from '../user-dialog.tsx'
import { describeEnding } from '../words.ts'

/** One user, for admins. */
export function UserPage({ id }: { id: string }) {
  const { user: me } = useAuth()
  const [action, setAction] = useState<UserAction>()
  const { data: user, error, refetch } = useQuery({ queryKey: ['user', id, 'details'], queryFn: () => admin.user(id) })
  if (!user)
    return isUnknown(error) ? (
      <Empty title="There is no such user" isPage>
        <Link href="/users" className="button">
          To the users
        </Link>
      </Empty>
    ) : error ? (
      <Failure error={error} onRetry={() => void refetch()} />
    ) : (
      <Loading />
    )
  return (
    <>
      <header className="page-head">
        <div>
          <p className="eyebrow">
            <Link href="/users">Users</Link>
          </p>
          <h1>
            {user.name}
            {id === me?.id && <span className="you">you</span>}
          </h1>
          <p>{user.email}</p>
        </div>
        <div className="buttons">
          <button type="button" onClick={() => setAction(user.disabled ? 'enable' : 'disable')}>
            {user.disabled ? 'Enable' : 'Disable'}
          </button>
          {!user.deleteAfter && (
            <button type="button" className="danger" onClick={() => setAction('delete')}>
              Delete
            </button>
          )}
        </div>
      </header>
      {user.deleteAfter && (
        <Notice tone="warn">
          This account will be erased on {formatMoment(user.deleteAfter)}.
          {user.disabled && ' To bring it back, enable it.'}
        </Notice>
      )}
      <div className="columns">
        <Account user={user} onChoose={setAction} />
        <Sessions user={user} onEnd={() => setAction('sessions')} />
      </div>
      <Events id={id} />
      {action && <UserDialog user={user} action={action} onClose={() => setAction(undefined)} />}
    </>
  )
}

/** Also of what is no id. */
const isUnknown = (error: Error | null) =>
  ['USER_NOT_FOUND', 'REQUEST_INVALID'].includes((error as AuthError | null)?.code as string)

function Account({ user, onChoose }: { user: UserDetails; onChoose: (action: UserAction) => void }) {
  return (
    <section className="card">
      <header>
        <h2>Account</h2>
      </header>
      <dl className="details">
        <Detail name="Name" value={user.name}>
          <button type="button" className="small" aria-label="Change the name" onClick={() => onChoose('name')}>
            Change
          </button>
        </Detail>
        <Detail
          name="Roles"
          value={
            <span className="chips">
              {user.roles.map((role) => (
                <span key={role} className="chip">
                  {role}
                </span>
              ))}
            </span>
          }
        >
          <button type="button" className="small" aria-label="Change the roles" onClick={() => onChoose('roles')}>
            Change
          </button>
        </Detail>
        <Detail name="Password" value={user.hasPassword ? 'Chosen' : 'Not chosen yet'}>
          {!user.disabled && (
            <button type="button" className="small" onClick={() => onChoose('password')}>
              Send mail
            </button>
          )}
        </Detail>
        <Detail name="Second step" value="App, passkeys, codes">
          <button
            type="button"
            className="small"
            aria-label="Reset sign-in methods"
            onClick={() => onChoose('factors')}
          >
            Reset
          </button>
        </Detail>
        {user.failures > 0 && (
          <Detail name="Wrong passwords" value={user.failures}>
            <button type="button" className="small" onClick={() => onChoose('unlock')}>
              Unlock
            </button>
          </Detail>
        )}
        <Detail name="State" value={user.disabled ? <span className="chip cancelled">Disabled</span> : 'May sign in'} />
        <Detail name="Last sign-in" value={user.lastSignInAt ? formatMoment(user.lastSignInAt) : 'Never'} />
        <Detail name="Since" value={formatDate(user.createdAt)} />
      </dl>
    </section>
  )
}

function Detail({ name, value, children }: { name: string; value: ReactNode; children?: ReactNode }) {
  return (
    <div>
      <dt>{name}</dt>
      <dd>{value}</dd>
      {children && <dd>{children}</dd>}
    </div>
  )
}

/** How many sessions that have ended are shown, the last used first. */
const mostEnded = 4

function Sessions({ user, onEnd }: { user: UserDetails; onEnd: () => void }) {
  const { data, error, refetch } = useQuery({
    queryKey: ['user', user.id, 'sessions'],
    queryFn: () => admin.sessionsOf(user.id),
  })
  return (
    <section className="card">
      <header>
        <h2>Sessions</h2>
        {user.sessions > 0 && (
          <button type="button" className="small" onClick={onEnd}>
            End sessions
          </button>
        )}
      </header>
      {error && !data ? (
        <Failure error={error} onRetry={() => void refetch()} />
      ) : !data ? (
        <Loading />
      ) : data.sessions.length + data.ended.length === 0 ? (
        <Empty title="Not signed in anywhere" />
      ) : (
        <ul>
          {data.sessions.map(({ id, device, ip, lastUsedAt }) => (
            <SessionRow key={id} device={device}>
              Last used {formatAgo(lastUsedAt)}
              {ip && <> from {ip}</>}
            </SessionRow>
          ))}
          {data.ended.slice(0, mostEnded).map(({ id, device, reason, endedAt }) => (
            <SessionRow key={id} device={device} isOver>
              {describeEnding(reason)}, {formatAgo(endedAt)}
            </SessionRow>
          ))}
        </ul>
      )}
    </section>
  )
}

function SessionRow({ device, isOver = false, children }: { device: string; isOver?: boolean; children: ReactNode }) {
  return (
    <li className={`row${isOver ? ' faded' : ''}`}>
      <span className="device">{/Android|iOS|iPhone/.test(device) ? <PhoneIcon /> : <MonitorIcon />}</span>
      <div className="row-main">
        <strong>{device}</strong>
        <span>{children}</span>
      </div>
    </li>
  )
}

const ids = /[0-9a-f]{8}(-[0-9a-f]{4}){3}-[0-9a-f]{12}/g

function Events({ id }: { id: string }) {
  const { data, error, hasNextPage, isFetchingNextPage, fetchNextPage, refetch } = useInfiniteQuery({
    queryKey: ['user', id, 'events'],
    queryFn: ({ pageParam }) => admin.eventsOf(id, pageParam),
    initialPageParam: null as string | null,
    getNextPageParam: (page) => page.nextCursor,
  })
  const events = data?.pages.flatMap((page) => page.events)
  // A reason may say who did it, by their id.
  const nameOf = useNames((events ?? []).flatMap(({ reason }) => reason?.match(ids) ?? []))
  const detailsOf = ({ reason, ip }: SecurityEvent) =>
    [reason?.replace('revoked_by_admin', 'by').replaceAll('_', ' ').replace(ids, nameOf), ip && `from ${ip}`]
      .filter(Boolean)
      .join(', ')
  return (
    <section className="card events">
      <header>
        <h2>Security events</h2>
      </header>
      {error && !events ? (
        <Failure error={error} onRetry={() => void refetch()} />
      ) : !events ? (
        <Loading />
      ) : events.length === 0 ? (
        <Empty title="Nothing yet" />
      ) : (
        <ol aria-label="Events, the newest first">
          {events.map((event) => (
            <li key={event.id}>
              <time dateTime={event.at}>{formatMoment(event.at)}</time>
              <div className="lines-text">
                <strong>{nameEvent(event.event)}</strong>
                <span className="event-details">{detailsOf(event)}</span>
              </div>
            </li>
          ))}
        </ol>
      )}
      {hasNextPage && (
        <button type="button" className="more" disabled={isFetchingNextPage} onClick={() => void fetchNextPage()}>
          {isFetchingNextPage ? 'Loading…' : 'Show more'}
        </button>
      )}
    </section>
  )
}

/** Such as "Password reset sent" of `password_reset_sent`. */
const nameEvent = (event: string) => event.charAt(0).toUpperCase() + event.slice(1).replaceAll('_', ' ')
