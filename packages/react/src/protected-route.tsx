import { type ReactNode, useEffect, useRef } from 'react'
import { rememberReturnPath } from './return-path.ts'
import { useAuth, useAuthContext } from './use-auth.ts'

export interface ProtectedRouteProps {
  /** A role, or several of which one is enough. Without it every signed-in user may pass. */
  requireRole?: string | readonly string[]
  /** Shown while it is not known yet who is signed in. */
  loading?: ReactNode
  /** Shown to users who lack the role, instead of going to `homePath`. */
  forbidden?: ReactNode
  children?: ReactNode
}

/**
 * Shows its children to users who may see them. A user who is not signed in goes to `loginPath`, and `takeReturnPath`
 * then knows the way back. This is for convenience: whether data may be read is for the gateway and the services to
 * say.
 */
export function ProtectedRoute({ requireRole, loading = null, forbidden, children }: ProtectedRouteProps) {
  const { loginPath, homePath, navigate } = useAuthContext()
  const { status, roles, signOut } = useAuth()
  const isAllowed = requireRole === undefined || [requireRole].flat().some((role) => roles.includes(role as string))
  const redirect =
    status === 'signed-out'
      ? loginPath
      : status === 'signed-in' && !isAllowed && forbidden === undefined
        ? homePath
        : undefined
  // A user who logs out does not ask to come back, and the next user here has pages of their own.
  const remembers = redirect === loginPath && signOut?.code !== 'LOGOUT'

  // In development effects run twice, and the second time the page is another one already.
  const isOnItsWay = useRef(false)
  useEffect(() => {
    if (remembers && !isOnItsWay.current) rememberReturnPath(loginPath)
    isOnItsWay.current = redirect !== undefined
    if (redirect !== undefined) navigate(redirect)
  }, [redirect, remembers, loginPath, navigate])

  if (status === 'loading') return loading
  if (redirect !== undefined) return null
  return isAllowed ? children : forbidden
}
