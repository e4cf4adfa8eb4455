import { type EndedSession, request, type Session, type User } from './api.ts'

export interface UserDetails extends User {
  locale: string | null
  /** False until the user has chosen one. */
  hasPassword: boolean
  /** How many go on. */
  sessions: number
  lastSignInAt: string | null
  /** How many wrong passwords came since a right one. */
  failures: number
}

export interface SecurityEvent {
  id: string
  at: string
  event: string
  ip: string | null
  reason: string | null
}

export interface Invitation {
  id: string
  email: string
  roles: string[]
  state: 'open' | 'expired' | 'accepted' | 'withdrawn'
  invitedBy: string | null
  createdAt: string
  expiresAt: string
  endedAt: string | null
}

const userPath = (id: string) => `/api/admin/users/${encodeURIComponent(id)}`
const page = (cursor: string | null) => new URLSearchParams({ limit: '20', ...(cursor && { cursor }) })

/** The calls for admins, as those of `api`. */
export const admin = {
  user: (id: string) => request<UserDetails>('GET', userPath(id)),
  createUser: (body: { email: string; name: string; roles: string[] }) =>
    request<User>('POST', '/api/admin/users', body),
  changeUser: (id: string, body: { name?: string; roles?: string[]; disabled?: boolean }) =>
    request<User>('PATCH', userPath(id), body),
  deleteUser: (id: string) => request<{ deleteAfter: string }>('DELETE', userPath(id)),
  sessionsOf: (id: string) =>
    request<{ sessions: Session[]; ended: EndedSession[] }>('GET', `${userPath(id)}/sessions`),
  endSessionsOf: (id: string) => request('DELETE', `${userPath(id)}/sessions`),
  sendPasswordMail: (id: string) => request('POST', `${userPath(id)}/password-reset`),
  resetFactors: (id: string) => request('POST', `${userPath(id)}/factors/reset`, {}),
  unlock: (id: string) => request('POST', `${userPath(id)}/unlock`),
  eventsOf: (id: string, cursor: string | null) =>
    request<{ events: SecurityEvent[]; nextCursor: string | null }>('GET', `${userPath(id)}/events?${page(cursor)}`),

  invitations: (cursor: string | null) =>
    request<{ invitations: Invitation[]; nextCursor: string | null }>('GET', `/api/admin/invitations?${page(cursor)}`),
  invite: (body: { email: string; roles: string[] }) => request<Invitation>('POST', '/api/admin/invitations', body),
  resendInvitation: (id: string) => request<Invitation>('POST', `/api/admin/invitations/${id}/resend`),
  withdrawInvitation: (id: string) => request('DELETE', `/api/admin/invitations/${id}`),
}
