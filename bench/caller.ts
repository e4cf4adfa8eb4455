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

/** Closes every connection once it is not in use; the next request opens a new one. */
export async function closeConnections(): Promise<void> {
  const before = agent
  agent = openAgent()
  await before.close()
}
