import { request } from './api.ts'

/** A service account. */
export interface Machine {
  id: string
  name: string
  roles: string[]
  scopes: string[]
  audiences: string[]
  createdAt: string
  lastUsedAt: string | null
}

export interface Credential {
  id: string
  kind: 'secret' | 'keys' | 'api_key'
  name: string
  createdAt: string
  expiresAt: string | null
  lastUsedAt: string | null
  jwksUri: string | null
  keys: { kid: string; alg: string }[]
}

/** What lets a service account act for its callers. */
export interface Exchange {
  id: string
  /** Under which audience the gateway's routes know the service account. */
  from: string
  /** What the tokens of an exchange are for. */
  audience: string
  roles: string[]
  scopes: string[]
}

export interface MachineDetails extends Machine {
  credentials: Credential[]
  exchanges: Exchange[]
}

/** What one may be made or changed to. */
export type MachineFields = Pick<Machine, 'name' | 'roles' | 'scopes' | 'audiences'>

export type NewCredential = { name: string } & (
  | { kind: 'secret' | 'api_key'; expiresAt?: string }
  | { kind: 'keys'; jwks: unknown }
  | { kind: 'keys'; jwksUri: string }
)

/** One of the two is there, this once, unless the credential is public keys. */
export type MadeCredential = Credential & { clientSecret?: string; apiKey?: string }

const machinePath = (id: string) => `/api/admin/clients/${encodeURIComponent(id)}`

/** The calls about service accounts, for admins. */
export const machines = {
  list: (cursor: string | null, limit = 20) =>
    request<{ clients: Machine[]; nextCursor: string | null }>(
      'GET',
      `/api/admin/clients?${new URLSearchParams({ limit: String(limit), ...(cursor && { cursor }) })}`,
    ),
  get: (id: string) => request<MachineDetails>('GET', machinePath(id)),
  make: (body: Partial<MachineFields>) => request<Machine>('POST', '/api/admin/clients', body),
  change: (id: string, body: Partial<MachineFields>) => request<Machine>('PATCH', machinePath(id), body),
  remove: (id: string) => request('DELETE', machinePath(id)),
  addCredential: (id: string, body: NewCredential) =>
    request<MadeCredential>('POST', `${machinePath(id)}/credentials`, body),
  revokeCredential: (id: string, credential: string) =>
    request('DELETE', `${machinePath(id)}/credentials/${encodeURIComponent(credential)}`),
  addExchange: (id: string, body: Omit<Exchange, 'id'>) =>
    request<Exchange>('POST', `${machinePath(id)}/exchanges`, body),
  removeExchange: (id: string, exchange: string) =>
    request('DELETE', `${machinePath(id)}/exchanges/${encodeURIComponent(exchange)}`),
}
