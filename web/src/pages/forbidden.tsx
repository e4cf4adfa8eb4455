import { useAuth } from '@sallyport/react'
import { Link } from 'wouter'
import { Empty } from '../parts/states.tsx'

export function ForbiddenPage() {
  const { roles } = useAuth()
  return (
    <Empty isPage title="This page is for others">
      <p>
        Your {roles.length === 1 ? 'role is' : 'roles are'} {roles.join(' and ')}, which does not open it.
      </p>
      <Link href="/" className="button">
        Go home
      </Link>
    </Empty>
  )
}
