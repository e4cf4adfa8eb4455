import { contentOf, fail } from './auth-error.ts'
import type { AuthClient } from './client.ts'

export type Call = <Content>(method: string, path: string, body?: object) => Promise<Content>

/** Calls of the auth service, with the access token. Each rejects with an AuthError. */
export function callsOf(client: AuthClient): Call {
  return (method, path, body) => {
    const json = body && { headers: { 'content-type': 'application/json' }, body: JSON.stringify(body) }
    return client
      .fetch(`/api/auth/${path}`, { method, ...json })
      .then(contentOf)
      .catch(fail)
  }
}
