import { useAuth } from '@sallyport/react'
import { useInfiniteQuery } from '@tanstack/react-query'
import { useState } from 'react'
import { Link } from 'wouter'
import { api, type User } from '../api.ts'
import { Avatar } from '../parts/avatar.tsx'
import { SearchIcon } from '../parts/icons.tsx'
import { Empty, Failure, Loading } from '../parts/states.tsx'
import { useSettled } from '../parts/use-settled.ts'
import { UsersHead } from '../parts/users-head.tsx'
import { formatDate } from '../times.ts'
import { type UserAction, UserDialog } from '../user-dialog.tsx'

export function UsersPage() {
  const [text, setText] = useState('')
  const email = useSettled(text.trim())
  const [chosen, setChosen] = useState<{ user: User; action: UserAction }>()
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
      <UsersHead>
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
      </UsersHead>

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

function UserRow({ user, onChoose }: { user: User; onChoose: (action: UserAction) => void }) {
  const { user: me } = useAuth()
  const { name, email, roles, disabled, deleteAfter, createdAt } = user
  return (
    <li className="row user">
      <Avatar name={name} />
      <div className="row-main">
        <strong>
          <Link href={`/users/${user.id}`}>{name}</Link>
          {user.id === me?.id && <span className="you">you</span>}
        </strong>
        <span>{email}</span>
        <span>Since {formatDate(createdAt)}</span>
      </div>
      <div className="chips">
        {deleteAfter ? (
          <span className="chip cancelled">Deleted</span>
        ) : (
          disabled && <span className="chip cancelled">Disabled</span>
        )}
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
