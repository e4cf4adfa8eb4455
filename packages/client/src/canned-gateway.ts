import { type AuthClientOptions, createAuthClient } from './index.ts'

/** What a test's gateway says: 200 with this body, or a problem with its status. */
type Answer = object | { status: number; code: string }

export interface Request {
  path: string
  body: unknown
  acr: string
}

/**
 * A client of one user, who is signed in, and what it asked of a gateway that says what a test wants. For what depends on
 * the order of answers; whole journeys have real servers (test/journeys).
 */
export async function signedIn(answer: (request: Request) => Answer | undefined, options?: Partial<AuthClientOptions>) {
  const requests: Request[] = []
  const client = createAuthClient({ baseUrl: 'http://gateway.test', ...options, platform: { fetch: exchange } })
  await client.login({ email: 'u@example.com', password: 'x' })
  requests.length = 0
  return { client, requests }

  async function exchange(input: unknown, init?: RequestInit): Promise<Response> {
    const path = new URL(String(input)).pathname.replace('/api/auth/', '')
    const token = new Headers(init?.headers).get('authorization')?.split('.')[1] ?? 'e30'
    const { acr = 'none' } = JSON.parse(Buffer.from(token, 'base64url').toString())
    const request = { path, body: init?.body && JSON.parse(String(init.body)), acr }
    requests.push(request)
    const { status = 200, ...body } = { accessToken: tokenOf('aal1'), ...answer(request) } as { status?: number }
    return Response.json(body, { status })
  }
}

/** @param acr not there in tokens of versions before */
export function tokenOf(acr?: string): string {
  const iat = Math.floor(Date.now() / 1000)
  const claims = { iat, exp: iat + 900, sub: 'user-1', email: 'u@example.com', roles: ['patient'], acr }
  return `e30.${Buffer.from(JSON.stringify({ ...claims, jti: Math.random() })).toString('base64url')}.c2ln`
}
