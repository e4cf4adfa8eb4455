import { Agent, request } from 'undici'
import { childrenOf, endedCpuSeconds, preciseCpuSeconds } from './cpu.ts'

/** What users and their services do with an identity system. */
export const operations = ['signIn', 'refresh', 'check', 'machineToken', 'logOut'] as const
export type Operation = (typeof operations)[number]

export interface Session {
  /** What a service gets: an access token, or cookies. */
  access: string
  /** What the next access is got by, where that is another thing. */
  refresh: string
}

/** A system that is compared; `measured` is which of its operations are, and it has a function for each. */
export interface Peer {
  name: string
  ours?: boolean
  measured: Operation[]
  /** What is to be read with its figures of an operation. */
  remarks?: Partial<Record<Operation, string>>
  /** How many sessions there can be at once, where that is limited. */
  sessions?: number
  signIn(turn: number): Promise<Session>
  refresh?(session: Session): Promise<Session>
  check?(session: Session): Promise<unknown>
  machineToken?(): Promise<unknown>
  logOut?(session: Session): Promise<unknown>
  /** Seconds of CPU used so far by all its processes; without it they are on another machine. */
  used?(): number
}

/** Seconds of CPU used so far by processes and those that they started, whether these still run or not. */
export function usedBy(pids: number[]): number {
  const running = pids.flatMap((pid) => [pid, ...childrenOf(pid)])
  return sumOf(running, preciseCpuSeconds) + sumOf(pids, endedCpuSeconds)
}

const sumOf = (pids: number[], used: (pid: number) => number) => pids.reduce((sum, pid) => sum + used(pid), 0)

const agent = new Agent({ connections: 64, pipelining: 1, headersTimeout: 30_000 })

interface Call {
  method?: 'GET' | 'POST'
  headers?: Record<string, string>
  json?: object
  form?: Record<string, string>
}

export interface Response {
  // biome-ignore lint/suspicious/noExplicitAny: whatever a peer says
  body: any
  /** The cookies that came with it, as the next request has them. */
  cookies: string
}

/** A response that was no success; its message says which. */
export class Refused extends Error {}

/**
 * One request over connections that are kept.
 *
 * @throws Refused with what was said instead of a success
 */
export async function call(url: string, { method = 'POST', headers = {}, json, form }: Call = {}): Promise<Response> {
  const type = json ? 'application/json' : form && 'application/x-www-form-urlencoded'
  const response = await request(url, {
    dispatcher: agent,
    method,
    headers: { ...headers, ...(type ? { 'content-type': type } : {}) },
    body: json ? JSON.stringify(json) : form ? new URLSearchParams(form).toString() : null,
  })
  const text = await response.body.text()
  if (response.statusCode >= 300) throw new Refused(`${response.statusCode} ${text.slice(0, 300)}`)
  const cookies = [response.headers['set-cookie'] ?? []].flat().map((cookie) => cookie.split(';', 1)[0])
  return { body: text.startsWith('{') ? JSON.parse(text) : undefined, cookies: cookies.join('; ') }
}

export const bearer = ({ access }: Session) => ({ authorization: `Bearer ${access}` })

export const closeConnections = () => agent.close()
