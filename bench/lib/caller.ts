import { randomBytes } from 'node:crypto'
import { demoPassword } from '@sallyport/database'
import { Agent, request } from 'undici'

export interface HttpResponse {
  status: number
  /** The refresh cookie that came with it, as `name=value`. */
  cookie: string | undefined
  body: string
}

const openAgent = () => new Agent({ connections: 400, pipelining: 1, headersTimeout: 10_000 })
let agent = openAgent()

/** One request over keep-alive connections, without retries. */
export async function call(
  method: 'GET' | 'POST' | 'DELETE',
  url: string,
  headers: Record<string, string> = {},
  json?: object,
): Promise<HttpResponse> {
  const response = await request(url, {
    dispatcher: agent,
    method,
    headers: { ...headers, ...(json ? { 'content-type': 'application/json' } : {}) },
    ...(json ? { body: JSON.stringify(json) } : {}),
  })
  const cookie = /(?:__Host-)?refreshToken=[^;]+/.exec(String(response.headers['set-cookie']))?.[0]
  return { status: response.statusCode, cookie, body: await response.body.text() }
}

/** Signs in as a demo user. */
export function logIn(gateway: string, email = 'doctor@example.com'): Promise<HttpResponse> {
  return call('POST', `${gateway}/api/auth/login`, {}, { email, password: demoPassword })
}

/** A user who is signed in. */
export interface User {
  /** The refresh cookie, as `name=value`. */
  cookie: string
  token: string
}

/** The user that the response to a login or a refresh is for. */
export function toUser({ cookie, body }: HttpResponse): User {
  return { cookie: cookie as string, token: JSON.parse(body).accessToken }
}

export const asUser = ({ token }: User) => ({ authorization: `Bearer ${token}` })

/** Refreshes as the browser client does, with an attempt id. The user gets the new cookie and token. */
export async function refresh(gateway: string, user: User): Promise<HttpResponse> {
  const attempt = randomBytes(16).toString('base64url')
  const headers = { cookie: user.cookie, 'x-refresh-attempt': attempt }
  const response = await call('POST', `${gateway}/api/auth/refresh`, headers)
  if (response.status === 200) Object.assign(user, toUser(response))
  return response
}

/** Closes every connection once it is not in use; the next request opens a new one. */
export async function closeConnections(): Promise<void> {
  const before = agent
  agent = openAgent()
  await before.close()
}
