import type { AuthClient, AuthSnapshot } from '@sallyport/client'
import type { Acting } from '@sallyport/client/impersonation'
import { useContext, useMemo, useSyncExternalStore } from 'react'
import { AuthContext, type AuthContextValue } from './auth-provider.tsx'

/** Who is signed in, and what the app can do about it. `actAs` and `stopActing` are those of `withImpersonation`. */
export interface Auth extends AuthSnapshot, Pick<AuthClient, 'login' | 'logout' | 'fetch'>, Partial<Acting> {
  client: AuthClient
}

/** A server knows nobody, and the first render in the browser must look the same. */
const unknown: AuthSnapshot = {
  status: 'loading',
  user: null,
  role: null,
  roles: [],
  expiresAt: null,
  refreshAt: null,
  trouble: null,
  signOut: null,
}

/** Renders again when anything of it changes. @throws Error outside of an AuthProvider */
export function useAuth(): Auth {
  const { client } = useAuthContext()
  const snapshot = useSyncExternalStore(client.subscribe, client.getSnapshot, () => unknown)
  return useMemo(() => {
    const { login, logout, fetch, actAs, stopActing } = client as AuthClient & Partial<Acting>
    return { ...snapshot, login, logout, fetch, client, ...(actAs && stopActing && { actAs, stopActing }) }
  }, [client, snapshot])
}

export function useAuthContext(): AuthContextValue {
  const context = useContext(AuthContext)
  if (!context) throw new Error('There is no AuthProvider above: put <AuthProvider client={client}> around the app')
  return context
}
