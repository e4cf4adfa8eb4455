import { AuthError } from '@sallyport/client'
import { client } from './client.ts'

export type Status = 'scheduled' | 'completed' | 'cancelled'

export interface Appointment {
  id: string
  doctorId: string
  patientId: string
  startsAt: string
  reason: string
  status: Status
  updatedAt: string
}

export interface Person {
  id: string
  name: string
}

export interface Actor {
  id: string
  /** null of somebody who is gone. */
  name: string | null
}

export interface User extends Person {
  email: string
  roles: string[]
  disabled: boolean
  /** When the account is to be erased. */
  deleteAfter: string | null
  createdAt: string
}

export interface Session {
  id: string
  /** Who acts in it, if that is somebody else. */
  actor?: Actor | null
  current: boolean
  device: string
  ip: string | null
  createdAt: string
  lastUsedAt: string
}

export interface EndedSession extends Session {
  endedAt: string
  reason: string
}

/** The gateway's API, as docs/api.md has it. Each function throws an AuthError with the code of what went wrong. */
export const api = {
  sessions: () => request<{ sessions: Session[]; ended: EndedSession[] }>('GET', '/api/auth/sessions'),
  endSession: (id: string) => request('DELETE', `/api/auth/sessions/${id}`),
  endAllSessions: () => request('POST', '/api/auth/logout-all'),

  given: () => request<{ appointments: Appointment[] }>('GET', '/api/doctor/appointments'),
  had: () => request<{ appointments: Appointment[] }>('GET', '/api/appointments'),
  makeAppointment: (body: { patientId: string; doctorId?: string; startsAt: string; reason: string }) =>
    request<Appointment>('POST', '/api/doctor/appointments', body),
  changeAppointment: (id: string, body: { startsAt?: string; reason?: string; status?: Status }) =>
    request<Appointment>('PATCH', `/api/doctor/appointments/${id}`, body),

  people: (ids: string[]) =>
    request<{ people: Person[] }>('GET', `/api/auth/people?${new URLSearchParams({ ids: ids.join() })}`),
  directory: (role: string) =>
    request<{ people: Person[] }>('GET', `/api/auth/directory?${new URLSearchParams({ role })}`),

  // What else admins do: admin.ts
  users: (email: string, cursor: string | null) =>
    request<{ users: User[]; nextCursor: string | null }>(
      'GET',
      `/api/admin/users?${new URLSearchParams({ limit: '20', ...(email && { email }), ...(cursor && { cursor }) })}`,
    ),
  changeUser: (id: string, body: { roles?: string[]; disabled?: boolean }) =>
    request<User>('PATCH', `/api/admin/users/${id}`, body),
  endSessionsOf: (id: string) => request('DELETE', `/api/admin/users/${id}/sessions`),
}

export async function request<Content = unknown>(method: string, path: string, body?: object): Promise<Content> {
  const response = await send(path, {
    method,
    ...(body && { headers: { 'content-type': 'application/json' }, body: JSON.stringify(body) }),
  })
  const content = await response.json().catch(() => ({}))
  if (response.ok) return content
  throw refusalOf(response, content)
}

/** What comes as lines of JSON, whole. */
export async function requestLines(path: string): Promise<Blob> {
  const response = await send(path, { headers: { accept: 'application/x-ndjson' } })
  if (!response.ok) throw refusalOf(response, await response.json().catch(() => ({})))
  return response.blob().catch((cause) => {
    throw unanswered(cause)
  })
}

const unanswered = (cause: unknown) => new AuthError('NETWORK', 'The server did not respond', { cause })

const send = (path: string, options: RequestInit): Promise<Response> =>
  client.fetch(path, options).catch((cause) => {
    throw cause instanceof AuthError ? cause : unanswered(cause)
  })

function refusalOf({ status }: Response, content: Record<string, string>): AuthError {
  const { code = 'ANSWER_INVALID', title = 'The response is invalid', detail, reason } = content
  return new AuthError(code, title, { status, detail, reason })
}
