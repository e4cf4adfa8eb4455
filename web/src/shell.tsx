import { useAuth } from '@sallyport/react'
import { type ReactNode, useEffect, useRef } from 'react'
import { Link, useLocation } from 'wouter'
import { hasSamples } from './client.ts'
import { Avatar } from './parts/avatar.tsx'
import {
  CalendarIcon,
  DevicesIcon,
  EventsIcon,
  HealthIcon,
  HomeIcon,
  KeyIcon,
  MachineIcon,
  PeopleIcon,
  ShieldIcon,
  SignOutIcon,
  WebhookIcon,
} from './parts/icons.tsx'
import { Logo } from './parts/logo.tsx'
import { Notice } from './parts/states.tsx'
import { ThemeToggle } from './parts/theme.tsx'
import { useName } from './people.ts'
import { explainActingEnd } from './words.ts'

const places = [
  { path: '/', name: 'Home', Icon: HomeIcon },
  ...(hasSamples ? [{ path: '/appointments', name: 'Appointments', Icon: CalendarIcon }] : []),
  { path: '/users', name: 'Users', Icon: PeopleIcon, role: 'admin', own: true },
  { path: '/admin/machines', name: 'Machines', Icon: MachineIcon, role: 'admin', own: true },
  { path: '/admin/events', name: 'Events', Icon: EventsIcon, role: 'admin', own: true },
  { path: '/admin/health', name: 'Health', Icon: HealthIcon, role: 'admin', own: true },
  { path: '/admin/webhooks', name: 'Webhooks', Icon: WebhookIcon, role: 'admin', own: true },
  { path: '/sessions', name: 'Sessions', Icon: DevicesIcon, own: true },
  { path: '/token', name: 'Token', Icon: KeyIcon },
]

/** Where the name of the user leads. */
const accountPlace = { path: '/account', name: 'Account' }

/** What is around every page of somebody who is signed in. */
export function Shell({ children }: { children: ReactNode }) {
  const { roles, trouble, actor, actingEnd, stopActing } = useAuth()
  const [path] = useLocation()
  const isAt = (to: string) => path === to || (to !== '/' && path.startsWith(`${to}/`))
  const name = [...places, accountPlace].find((place) => isAt(place.path))?.name
  useEffect(() => {
    document.title = name ? `${name} · Sallyport` : 'Sallyport'
  }, [name])

  const shown = places.filter(({ role, own }) => (role === undefined || roles.includes(role)) && !(own && actor))
  const forAdmins = shown.filter(({ role }) => role)
  const isAdmin = forAdmins.some((place) => isAt(place.path)) || undefined
  // On a phone a button opens these places; elsewhere they are always there.
  const adminPlaces = useRef<HTMLDivElement>(null)
  const toLink = ({ path: to, name, Icon }: (typeof places)[number]) => (
    <Link
      key={to}
      href={to}
      aria-current={to === path ? 'page' : isAt(to) ? 'true' : undefined}
      onClick={() => adminPlaces.current?.hidePopover()}
    >
      <Icon />
      <span>{name}</span>
    </Link>
  )

  return (
    <div className="shell">
      <a className="skip" href="#main">
        Skip to the content
      </a>
      <header className="side">
        <Logo />
        <nav aria-label="Main">
          {shown.filter(({ role }) => !role).map(toLink)}
          {forAdmins.length > 0 && (
            <>
              <button type="button" className="quiet to-admin" popoverTarget="admin-places" aria-current={isAdmin}>
                <ShieldIcon />
                <span>Admin</span>
              </button>
              <div className="admin-places" id="admin-places" popover="auto" ref={adminPlaces}>
                <p>Administration</p>
                {forAdmins.map(toLink)}
              </div>
            </>
          )}
        </nav>
        {actor ? <ActedFor /> : <Account />}
      </header>
      <main id="main" tabIndex={-1}>
        {trouble && (
          <Notice tone="warn">
            The server cannot be reached just now. You stay signed in, and everything goes on once it is back.
          </Notice>
        )}
        {actingEnd && (
          <Notice tone="info" action={{ label: 'OK', run: () => void stopActing?.() }}>
            {explainActingEnd(actingEnd)}
          </Notice>
        )}
        {children}
      </main>
    </div>
  )
}

function Who() {
  const { role } = useAuth()
  const name = useName()
  return (
    <>
      <Avatar name={name} />
      <span className="account-name">
        <strong>{name}</strong>
        <span>{role}</span>
      </span>
    </>
  )
}

/** Whose account and session are not those of who acts. */
function ActedFor() {
  return (
    <div className="account">
      <Who />
      <ThemeToggle />
    </div>
  )
}

function Account() {
  const { logout } = useAuth()
  const [path] = useLocation()
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
        <Who />
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
