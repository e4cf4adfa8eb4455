import type { AuthClient } from '@sallyport/client'
import { createContext, type ReactNode, useEffect, useMemo, useRef } from 'react'

/** Goes to another page, in place of the one that may not be shown. */
export type Navigate = (path: string) => void

export interface AuthContextValue {
  client: AuthClient
  loginPath: string
  homePath: string
  navigate: Navigate
}

export const AuthContext = createContext<AuthContextValue | null>(null)

export interface AuthProviderProps {
  /** Made once, outside of components. */
  client: AuthClient
  /** Where `ProtectedRoute` sends users who are not signed in. */
  loginPath?: string
  /** Where it sends users who lack the role. */
  homePath?: string
  /** How it goes there, such as a router's own navigation. By default the page is loaded. */
  navigate?: Navigate
  children?: ReactNode
}

/** Gives the client to all below, and keeps the user signed in as long as it is mounted. */
export function AuthProvider({
  client,
  loginPath = '/login',
  homePath = '/',
  navigate = loadPage,
  children,
}: AuthProviderProps) {
  useEffect(() => {
    client.startTokenMonitoring()
    return () => client.stopTokenMonitoring()
  }, [client])

  // Routers make a new function at each render, which is no reason to render everything below.
  const latest = useRef(navigate)
  useEffect(() => {
    latest.current = navigate
  })
  const value = useMemo(
    () => ({ client, loginPath, homePath, navigate: (path: string) => latest.current(path) }),
    [client, loginPath, homePath],
  )
  return <AuthContext.Provider value={value}>{children}</AuthContext.Provider>
}

function loadPage(path: string): void {
  window.location.replace(path)
}
