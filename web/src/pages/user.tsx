import { useAuth } from '@sallyport/react'
import { useInfiniteQuery, useMutation, useQuery, useQueryClient } from '@tanstack/react-query'
import { type ReactNode, useState } from 'react'
import { Link } from 'wouter'
import { admin, type UserDetails } from '../admin.ts'
import type { Actor } from '../api.ts'
import { ImpersonateDialog } from '../impersonate-dialog.tsx'
import { Ago } from '../parts/ago.tsx'
import { Detail } from '../parts/detail.tsx'
import { EventList } from '../parts/event-list.tsx'
import { KeyIcon, MonitorIcon, PasskeyIcon, PhoneIcon } from '../parts/icons.tsx'
import { MoreButton } from '../parts/more-button.tsx'
import { PageState } from '../parts/page-state.tsx'
import { Empty, Failure, Loading, Notice } from '../parts/states.tsx'
import { useToast } from '../parts/toasts.tsx'
import { formatDate, formatMoment } from '../times.ts'
import { type UserAction, UserDialog } from '../user-dialog.tsx'
import { describeEnding, nameActor } from '../words.ts'

/** One user, for admins. */
export function UserPage({ id }: { id: string }) {
  const { user: me } = useAuth()
  const [action, setAction] = useState<UserAction>()
  const [isImpersonating, setImpersonating] = useState(false)
  const { data: user, error, refetch } = useQuery({ queryKey: ['user', id, 'details'], queryFn: () => admin.user(id) })
  if (!user) return <PageState error={error} onRetry={() => void refetch()} unknown={unknown} />
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
          {id !== me?.id && !user.roles.includes('admin') && !user.disabled && (
            <button type="button" onClick={() => setImpersonating(true)}>
              Sign in as
            </button>
          )}
          {user.disabled ? (
            <button type="button" onClick={() => setAction('enable')}>
              Enable
            </button>
          ) : (
            <button type="button" className="danger" onClick={() => setAction('end')}>
              End everything
            </button>
          )}
          {!user.deleteAfter && (
            <button type="button" onClick={() => setAction('delete')}>
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
        <div className="column">
          <Account user={user} onChoose={setAction} />
          <Factors id={id} onReset={() => setAction('factors')} />
        </div>
        <Sessions user={user} onEnd={() => setAction('sessions')} />
      </div>
      <Events id={id} />
      {isImpersonating && <ImpersonateDialog user={user} onClose={() => setImpersonating(false)} />}
      {action && <UserDialog user={user} action={action} onClose={() => setAction(undefined)} />}
    </>
  )
}

/** Also of what is no id. */
const unknown = {
  title: 'There is no such user',
  code: 'USER_NOT_FOUND',
  back: { href: '/users', label: 'To the users' },
}

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
        {user.failures > 0 && (
          <Detail name="Wrong passwords" value={`${user.failures} since a right one`}>
            <button type="button" className="small" onClick={() => onChoose('unlock')}>
              Unlock
            </button>
          </Detail>
        )}
        <Detail name="State" value={user.disabled ? <span className="chip cancelled">Disabled</span> : 'May sign in'} />
        <Detail name="Last sign-in" value={user.lastSignInAt ? <Ago at={user.lastSignInAt} /> : 'Never'} />
        <Detail name="Since" value={formatDate(user.createdAt)} />
      </dl>
    </section>
  )
}

/** What somebody signs in with, beside the password. */
function Factors({ id, onReset }: { id: string; onReset: () => void }) {
  const { data, error, refetch } = useQuery({
    queryKey: ['user', id, 'factors'],
    queryFn: () => admin.factorsOf(id),
  })
  const hasOne = data && (data.totp !== null || data.passkeys.length > 0)
  return (
    <section className="card">
      <header>
        <h2>Second step</h2>
        {hasOne && (
          <button type="button" className="small" aria-label="Reset sign-in methods" onClick={onReset}>
            Reset
          </button>
        )}
      </header>
      {error && !data ? (
        <Failure error={error} onRetry={() => void refetch()} />
      ) : !data ? (
        <Loading rows={2} />
      ) : !hasOne ? (
        <Empty title="The password alone signs in" />
      ) : (
        <ul>
          {data.totp && (
            <FactorRow name="Authenticator app" icon={<PhoneIcon />}>
              Set up <Ago at={data.totp.createdAt} />
            </FactorRow>
          )}
          {data.passkeys.map(({ id, name, createdAt, lastUsedAt, backedUp }) => (
            <FactorRow key={id} name={name} icon={<PasskeyIcon />}>
              {backedUp ? 'Synced passkey' : 'Passkey of one device'}, made <Ago at={createdAt} />,{' '}
              {lastUsedAt ? (
                <>
                  last used <Ago at={lastUsedAt} />
                </>
              ) : (
                'never used'
              )}
            </FactorRow>
          ))}
          <FactorRow name="Recovery codes" icon={<KeyIcon />}>
            {data.recoveryCodesLeft} left
          </FactorRow>
        </ul>
      )}
    </section>
  )
}

function FactorRow({ name, icon, children }: { name: string; icon: ReactNode; children: ReactNode }) {
  return (
    <li className="row">
      <span className="device">{icon}</span>
      <div className="row-main">
        <strong>{name}</strong>
        <span>{children}</span>
      </div>
    </li>
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
          {data.sessions.map(({ id, actor, device, ip, createdAt, lastUsedAt }) => (
            <SessionRow
              key={id}
              device={device}
              actor={actor}
              end={<EndOne user={user} session={id} device={device} />}
            >
              Last used <Ago at={lastUsedAt} />
              {ip && <> from {ip}</>}, begun <Ago at={createdAt} />
            </SessionRow>
          ))}
          {data.ended.slice(0, mostEnded).map(({ id, actor, device, reason, endedAt }) => (
            <SessionRow key={id} device={device} actor={actor} isOver>
              {describeEnding(reason)}, <Ago at={endedAt} />
            </SessionRow>
          ))}
        </ul>
      )}
    </section>
  )
}

interface SessionProps {
  device: string
  actor: Actor | null | undefined
  isOver?: boolean
  /** What ends it. */
  end?: ReactNode
  children: ReactNode
}

function SessionRow({ device, actor, isOver = false, end, children }: SessionProps) {
  return (
    <li className={`row${isOver ? ' faded' : ''}`}>
      <span className="device">{/Android|iOS|iPhone/.test(device) ? <PhoneIcon /> : <MonitorIcon />}</span>
      <div className="row-main">
        <strong>{actor ? `${nameActor(actor)} acting for them` : device}</strong>
        <span>{children}</span>
      </div>
      {end}
    </li>
  )
}

/** Ends one session. What it was is still listed, among those that have ended. */
function EndOne({ user, session, device }: { user: UserDetails; session: string; device: string }) {
  const queries = useQueryClient()
  const tell = useToast()
  const { mutate, isPending, error } = useMutation({
    mutationFn: () => admin.endSessionOf(user.id, session),
    onSuccess: () => {
      tell(`${user.name} is signed out of ${device}.`)
      // The button that had the focus goes.
      document.getElementById('main')?.focus()
    },
    onSettled: () => queries.invalidateQueries({ queryKey: ['user', user.id] }),
  })
  return (
    <>
      <button
        type="button"
        className="small"
        aria-label={`End the session of ${device}`}
        disabled={isPending}
        onClick={() => mutate()}
      >
        End
      </button>
      {error && <Failure error={error} />}
    </>
  )
}

function Events({ id }: { id: string }) {
  const { data, error, refetch, ...pages } = useInfiniteQuery({
    queryKey: ['user', id, 'events'],
    queryFn: ({ pageParam }) => admin.eventsOf(id, pageParam),
    initialPageParam: null as string | null,
    getNextPageParam: (page) => page.nextCursor,
  })
  const events = data?.pages.flatMap((page) => page.events)
  return (
    <section className="card events">
      <header>
        <h2>Security events</h2>
        <Link href={`/admin/events?user=${id}`}>Live, and to filter</Link>
      </header>
      {error && !events ? (
        <Failure error={error} onRetry={() => void refetch()} />
      ) : !events ? (
        <Loading />
      ) : events.length === 0 ? (
        <Empty title="Nothing yet" />
      ) : (
        <EventList events={events} />
      )}
      <MoreButton {...pages} />
    </section>
  )
}
