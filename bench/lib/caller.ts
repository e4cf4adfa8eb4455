import { randomBytes } from 'node:crypto'
import { demoPassword } from '@sallyport/database'
import { Agent, request } from 'undici'

export interface Answer {
  status: number
  /** The refresh cookie that came with it, as `name=value`. */
  cookie: string | undefined
  body: string
}

const openAgent = () => new Agent({ connections: 400, pipelining: 1, headersTimeout: 10_000 })
let agent = openAgent()

/** One request over connections that are kept; nothing is tried twice. */
export async function call(
  method: 'GET' | 'POST',
  url: string,
  headers: Record<string, string> = {},
  json?: object,
): Promise<Answer> {
  const answer = await request(url, {
    dispatcher: agent,
    method,
    headers: { ...headers, ...(json ? { 'content-type': 'application/json' } : {}) },
    ...(json ? { body: JSON.stringify(json) } : {}),
  })
  const cookie = /(?:__Host-)?refreshToken=[^;]+/.exec(String(answer.headers['set-cookie']))?.[0]
  return { status: answer.statusCode, cookie, body: await answer.body.text() }
}

/** Signs in as a demo user. */
export function logIn(gateway: string): Promise<Answer> {
  return call('POST', `${gateway}/api/auth/login`, {}, { email: 'doctor@example.com', password: demoPassword })
}

/** Someone who is signed in. */
export interface Person {
  /** The refresh cookie, as `name=value`. */
  cookie: string
  token: string
}

/** Who an answer to a login or a refresh says one is. */
export function toPerson({ cookie, body }: Answer): Person {
  return { cookie: cookie as string, token: JSON.parse(body).accessToken }
}

export const asPerson = ({ token }: Person) => ({ authorization: `Bearer ${token}` })

/** Refreshes as the browser client does, with an id for the attempt. The person goes on with what the answer gives. */
export async function refresh(gateway: string, person: Person): Promise<Answer> {
  const attempt = randomBytes(16).toString('base64url')
  const headers = { cookie: person.cookie, 'x-refresh-attempt': attempt }
  const answer = await call('POST', `${gateway}/api/auth/refresh`, headers)
  if (answer.status === 200) Object.assign(person, toPerson(answer))
  return answer
}

/** Closes every connection once it is not in use; the next request opens a new one. */
export async function closeConnections(): Promise<void> {
  const before = agent
  agent = openAgent()
  await before.close()
}
