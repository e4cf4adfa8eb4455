import { useAuth } from '@sallyport/react'
import { type ReactNode, useEffect } from 'react'
import { Link, useLocation } from 'wouter'
import { Avatar } from './parts/avatar.tsx'
import { CalendarIcon, DevicesIcon, HomeIcon, KeyIcon, PeopleIcon, SignOutIcon } from './parts/icons.tsx'
import { Logo } from './parts/logo.tsx'
import { Notice } from './parts/states.tsx'
import { ThemeToggle } from './parts/theme.tsx'
import { useName } from './people.ts'

const places = [
  { path: '/', name: 'Home', Icon: HomeIcon },
  { path: '/appointments', name: 'Appointments', Icon: CalendarIcon },
  { path: '/users', name: 'Users', Icon: PeopleIcon, role: 'admin' },
  { path: '/sessions', name: 'Sessions', Icon: DevicesIcon },
  { path: '/token', name: 'Token', Icon: KeyIcon },
]

/** Where the name of the user leads. */
const accountPlace = { path: '/account', name: 'Account' }

/** What is around every page of somebody who is signed in. */
export function Shell({ children }: { children: ReactNode }) {
  const { roles, trouble } = useAuth()
  const [path] = useLocation()
  const isAt = (to: string) => path === to || (to !== '/' && path.startsWith(`${to}/`))
  const name = [...places, accountPlace].find((place) => isAt(place.path))?.name
  useEffect(() => {
    document.title = name ? `${name} · Sallyport` : 'Sallyport'
  }, [name])

  return (
    <div className="shell">
      <a className="skip" href="#main">
        Skip to the content
      </a>
      <header className="side">
        <Logo />
        <nav aria-label="Main">
          {places
            .filter(({ role }) => role === undefined || roles.includes(role))
            .map(({ path: to, name, Icon }) => (
              <Link key={to} href={to} aria-current={to === path ? 'page' : isAt(to) ? 'true' : undefined}>
                <Icon />
                <span>{name}</span>
              </Link>
            ))}
        </nav>
        <Account />
      </header>
      <main id="main" tabIndex={-1}>
        {trouble && (
          <Notice tone="warn">
            The server cannot be reached just now. You stay signed in, and everything goes on once it is back.
          </Notice>
        )}
        {children}
      </main>
    </div>
  )
}

function Account() {
  const { role, logout } = useAuth()
  const [path] = useLocation()
  const name = useName()
  return (
    <div className="account">
      <Link
        className="account-link"
        href={accountPlace.path}
        title="Account"
        aria-current={
          path === accountPlace.path ? 'page' : path.startsWith(`${accountPlace.path}/`) ? 'true' : undefined
        }
      >
        <Avatar name={name} />
        <span className="account-name">
          <strong>{name}</strong>
          <span>{role}</span>
        </span>
      </Link>
      <ThemeToggle />
      <button
        type="button"
        className="quiet square"
        aria-label="Sign out"
        title="Sign out"
        onClick={() => void logout()}
      >
        <SignOutIcon />
      </button>
    </div>
  )
}
