import { useAuth } from '@sallyport/react'
import type { ReactNode } from 'react'
import { Link } from 'wouter'
import { Empty } from '../parts/states.tsx'

/** A page that nobody else may see or use, also who acts for the user. */
export function Own({ children }: { children: ReactNode }) {
  const { actor, user } = useAuth()
  if (!actor) return children
  return (
    <Empty isPage title="Not while you act for somebody">
      <p>What this page is about is for {user?.name ?? user?.email} alone. Stop to go on as yourself.</p>
      <Link href="/" className="button">
        Go home
      </Link>
    </Empty>
  )
}
