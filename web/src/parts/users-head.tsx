import { type ReactNode, useState } from 'react'
import { Link, useLocation } from 'wouter'
import { InviteDialog } from '../invite-dialog.tsx'
import { PlusIcon } from './icons.tsx'

const tabs = [
  { path: '/users', name: 'Accounts' },
  { path: '/users/invitations', name: 'Invitations' },
]

/** The head of the pages about users: they are two lists. */
export function UsersHead({ children }: { children?: ReactNode }) {
  const [path] = useLocation()
  const [isInviting, setInviting] = useState(false)
  return (
    <>
      <header className="page-head">
        <div>
          <h1>{path === '/users' ? 'Users' : 'Invitations'}</h1>
          <p>{path === '/users' ? 'Who may sign in, and as what' : 'Who was asked to make an account'}</p>
        </div>
        <button type="button" className="primary" onClick={() => setInviting(true)}>
          <PlusIcon />
          Invite
        </button>
      </header>
      <div className="list-head">
        <nav className="segments" aria-label="Users">
          {tabs.map(({ path: to, name }) => (
            <Link key={to} href={to} aria-current={to === path ? 'page' : undefined}>
              {name}
            </Link>
          ))}
        </nav>
        {children}
      </div>
      {isInviting && <InviteDialog onClose={() => setInviting(false)} />}
    </>
  )
}
