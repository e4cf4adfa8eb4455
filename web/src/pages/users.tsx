import { useAuth } from '@sallyport/react'
import { useInfiniteQuery, useMutation, useQueryClient } from '@tanstack/react-query'
import { useEffect, useState } from 'react'
import { api, type User } from '../api.ts'
import { Avatar } from '../parts/avatar.tsx'
import { Confirm } from '../parts/confirm.tsx'
import { SearchIcon } from '../parts/icons.tsx'
import { Empty, Failure, Loading } from '../parts/states.tsx'
import { useToast } from '../parts/toasts.tsx'
import { RolesDialog } from '../roles-dialog.tsx'
import { formatDate } from '../times.ts'

type Action = 'roles' | 'sessions' | 'disable' | 'enable'

export function UsersPage() {
  const [text, setText] = useState('')
  const email = useSettled(text.trim())
  const [chosen, setChosen] = useState<{ user: User; action: Action }>()
  const { data, error, isPlaceholderData, hasNextPage, isFetchingNextPage, fetchNextPage, refetch } = useInfiniteQuery({
    queryKey: ['users', email],
    queryFn: ({ pageParam }) => api.users(email, pageParam),
    initialPageParam: null as string | null,
    getNextPageParam: (page) => page.nextCursor,
    placeholderData: (before) => before,
  })
  const users = data?.pages.flatMap((page) => page.users)

  return (
    <>
      <header className="page-head">
        <div>
          <h1>Users</h1>
          <p>Who may sign in, and as what</p>
        </div>
        <label className="search">
          <SearchIcon />
          <input
            type="search"
            aria-label="Search by e-mail"
            placeholder="Search by e-mail"
            maxLength={254}
            value={text}
            onChange={(event) => setText(event.target.value)}
          />
        </label>
      </header>

      {error && !users ? (
        <Failure error={error} onRetry={() => void refetch()} />
      ) : !users ? (
        <Loading rows={4} />
      ) : users.length === 0 ? (
        <Empty title="Nobody found">
          <p>No e-mail address has “{email}” in it.</p>
        </Empty>
      ) : (
        <ul className="card rows" aria-busy={isPlaceholderData}>
          {users.map((user) => (
            <UserRow key={user.id} user={user} onChoose={(action) => setChosen({ user, action })} />
          ))}
        </ul>
      )}
      {hasNextPage && (
        <button type="button" className="more" disabled={isFetchingNextPage} onClick={() => void fetchNextPage()}>
          {isFetchingNextPage ? 'Loading…' : 'Show more'}
        </button>
      )}
      {chosen && <UserDialog {...chosen} onClose={() => setChosen(undefined)} />}
    </>
  )
}

function UserRow({ user, onChoose }: { user: User; onChoose: (action: Action) => void }) {
  const { user: me } = useAuth()
  const { name, email, roles, disabled, createdAt } = user
  return (
    <li className="row user">
      <Avatar name={name} />
      <div className="row-main">
        <strong>
          {name}
          {user.id === me?.id && <span className="you">you</span>}
        </strong>
        <span>{email}</span>
        <span>Since {formatDate(createdAt)}</span>
      </div>
      <div className="chips">
        {disabled && <span className="chip cancelled">Disabled</span>}
        {roles.map((role) => (
          <span key={role} className="chip">
            {role}
          </span>
        ))}
      </div>
      <fieldset className="actions" aria-label={name}>
        <button type="button" className="small" onClick={() => onChoose('roles')}>
          Roles
        </button>
        <button type="button" className="small" onClick={() => onChoose('sessions')}>
          End sessions
        </button>
        <button type="button" className="small" onClick={() => onChoose(disabled ? 'enable' : 'disable')}>
          {disabled ? 'Enable' : 'Disable'}
        </button>
      </fieldset>
    </li>
  )
}

function UserDialog({ user, action, onClose }: { user: User; action: Action; onClose: () => void }) {
  const queries = useQueryClient()
  const tell = useToast()
  const { mutate, isPending, error } = useMutation({
    mutationFn: (change: { roles?: string[]; disabled?: boolean }): Promise<unknown> =>
      action === 'sessions' ? api.endSessionsOf(user.id) : api.changeUser(user.id, change),
    onSuccess: async () => {
      const done = {
        roles: `${user.name} has new roles, from the next request on.`,
        sessions: `Every session of ${user.name} has ended.`,
        disable: `${user.name} is disabled and signed out everywhere.`,
        enable: `${user.name} may sign in again.`,
      }
      tell(done[action])
      onClose()
      await queries.invalidateQueries({ queryKey: ['users'] })
    },
  })
  const state = { isPending, error, onClose }
  switch (action) {
    case 'roles':
      return <RolesDialog user={user} onSave={(roles) => mutate({ roles })} {...state} />
    case 'sessions':
      return (
        <Confirm
          title={`End every session of ${user.name}?`}
          label="End sessions"
          onConfirm={() => mutate({})}
          {...state}
        >
          They are signed out on every device, at once, and can sign in again.
        </Confirm>
      )
    case 'disable':
      return (
        <Confirm
          title={`Disable ${user.name}?`}
          label="Disable"
          onConfirm={() => mutate({ disabled: true })}
          {...state}
        >
          They are signed out on every device, at once, and cannot sign in until you enable them again.
        </Confirm>
      )
    case 'enable':
      return (
        <Confirm title={`Enable ${user.name}?`} label="Enable" onConfirm={() => mutate({ disabled: false })} {...state}>
          They can sign in again, with the password they had.
        </Confirm>
      )
  }
}

/** The text once nobody has typed for a moment. */
function useSettled(text: string): string {
  const [settled, setSettled] = useState(text)
  useEffect(() => {
    const timer = setTimeout(() => setSettled(text), 250)
    return () => clearTimeout(timer)
  }, [text])
  return settled
}
