import type { ActorClaim } from '@sallyport/client'
import type { Impersonation } from '@sallyport/client/impersonation'
import { type EndedSession, request, requestLines, type Session, type User } from './api.ts'

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
  user?: string | null
  ip: string | null
  reason: string | null
  /** The service account that did it, or that it was done to. */
  client?: string | null
  /** Who acted for the user. */
  act?: ActorClaim | null
}

/** Which events; what is not given is any. */
export interface EventFilter {
  user?: string | undefined
  client?: string | undefined
  event?: string | undefined
  /** RFC 3339; the second is not included. */
  from?: string | undefined
  to?: string | undefined
}

export interface FactorsOfUser {
  totp: { createdAt: string } | null
  passkeys: { id: string; name: string; createdAt: string; lastUsedAt: string | null; backedUp: boolean }[]
  recoveryCodesLeft: number
}

export type Judgement = 'ok' | 'warning' | 'failure'

/** How a part of the system is, and what to do about it. */
export interface Verdict {
  judgement: Judgement
  advice: string | null
}

/** A process that says that it runs. */
export interface Replica extends Verdict {
  id: string
  kind: string
  version: string
  startedAt: string
  seenAt: string
  gone: boolean
  clockSkewMs: number
  keys: string[]
  streamAge: number | null
}

export interface Health extends Verdict {
  at: string
  replicas: Replica[]
  revocations: Verdict & { gateways: number; withoutStream: number; oldestSeconds: number | null }
  keys: Verdict & { active: string; published: string[]; gatewaysWithout: { id: string; missing: string[] }[] }
  queue: Verdict & {
    waiting: number
    failing: number
    dead: number
    oldestSeconds: number
    deadLetters: { id: string; task: string; failedAt: string; attempts: number; code: string | null }[]
  }
  mail: Verdict & {
    configured: boolean
    lastSentAt: string | null
    lastFailure: { at: string; reason: string; code: string } | null
  }
  database: Verdict & { version: string; connections: number; maxConnections: number; clockSkewMs: number }
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
const page = (cursor: string | null, filter: EventFilter = {}, limit = 20) =>
  new URLSearchParams({ ...(filter as Record<string, string>), limit: String(limit), ...(cursor && { cursor }) })

type Events = { events: SecurityEvent[]; nextCursor: string | null }

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
  endSessionOf: (id: string, session: string) =>
    request('DELETE', `${userPath(id)}/sessions/${encodeURIComponent(session)}`),
  factorsOf: (id: string) => request<FactorsOfUser>('GET', `${userPath(id)}/factors`),
  sendPasswordMail: (id: string) => request('POST', `${userPath(id)}/password-reset`),
  resetFactors: (id: string) => request('POST', `${userPath(id)}/factors/reset`, {}),
  unlock: (id: string) => request('POST', `${userPath(id)}/unlock`),
  impersonate: (id: string, body: { reason: string }) =>
    request<Impersonation>('POST', `${userPath(id)}/impersonate`, body),
  eventsOf: (id: string, cursor: string | null) => request<Events>('GET', `${userPath(id)}/events?${page(cursor)}`),

  events: (filter: EventFilter, cursor: string | null, limit?: number) =>
    request<Events>('GET', `/api/admin/events?${page(cursor, filter, limit)}`),
  /** Every one that matches, as a line of JSON each. */
  exportEvents: (filter: EventFilter) =>
    requestLines(`/api/admin/events?${new URLSearchParams(filter as Record<string, string>)}`),
  health: () => request<Health>('GET', '/api/admin/health'),

  invitations: (cursor: string | null) =>
    request<{ invitations: Invitation[]; nextCursor: string | null }>('GET', `/api/admin/invitations?${page(cursor)}`),
  invite: (body: { email: string; roles: string[] }) => request<Invitation>('POST', '/api/admin/invitations', body),
  resendInvitation: (id: string) => request<Invitation>('POST', `/api/admin/invitations/${id}/resend`),
  withdrawInvitation: (id: string) => request('DELETE', `/api/admin/invitations/${id}`),
}
