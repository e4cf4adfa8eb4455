import { bearer, call, type Peer, type Session } from './peer.ts'

export interface GoTrueOptions {
  name: string
  /** Of the API, such as https://project.supabase.co/auth/v1. */
  url: string
  /** The key of the project that may be public; a GoTrue by itself wants none. */
  key?: string | undefined
  email: string
  password: string
  used?: (() => number) | undefined
}

/** Supabase Auth (GoTrue). It has no tokens of machines; a check asks it for the user of a token. */
export function goTruePeer({ name, url, key, email, password, used }: GoTrueOptions): Peer {
  const base = url.replace(/\/$/, '')
  const headers: Record<string, string> = key ? { apikey: key } : {}
  const token = async (grant: string, json: object): Promise<Session> => {
    const { access_token, refresh_token } = (await call(`${base}/token?grant_type=${grant}`, { headers, json })).body
    return { access: access_token, refresh: refresh_token }
  }
  return {
    name,
    measured: ['signIn', 'refresh', 'check', 'logOut'],
    signIn: () => token('password', { email, password }),
    refresh: (session) => token('refresh_token', { refresh_token: session.refresh }),
    check: (session) => call(`${base}/user`, { method: 'GET', headers: { ...headers, ...bearer(session) } }),
    // Of this session alone, and not of all that the user has.
    logOut: (session) => call(`${base}/logout?scope=local`, { headers: { ...headers, ...bearer(session) } }),
    ...(used && { used }),
  }
}
