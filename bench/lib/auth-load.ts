import { setTimeout as sleep } from 'node:timers/promises'
import { demoPassword } from '@sallyport/database'
import { Pool } from 'undici'
import { type Server, usersToLogIn } from './auth-servers.ts'
import { Connection } from './connection.ts'

/** Milliseconds that each request took. */
export type Times = number[]

/** Whom requests go to. */
export type Target = Pick<Server, 'name' | 'address' | 'method' | 'path' | 'cookies'>

const pools = new Map<string, Pool>()
function poolOf({ address }: Target): Pool {
  const pool = pools.get(address) ?? new Pool(address, { connections: 600, pipelining: 1 })
  pools.set(address, pool)
  return pool
}

const idleConnections = new Map<Target, Connection[]>()

const loginRequests = Array.from({ length: usersToLogIn }, (_, number) => {
  const body = JSON.stringify({ email: `user-${number}@example.com`, password: demoPassword })
  return Buffer.from(
    `POST /api/auth/login HTTP/1.1\r\nhost: auth\r\ncontent-type: application/json\r\ncontent-length: ${body.length}\r\n\r\n${body}`,
  )
})
let logins = 0

/** One request with the session whose turn it is; its next cookie replaces the one that was used. */
async function requestOnce(server: Target, turn: number): Promise<number> {
  const index = turn % server.cookies.length
  const began = performance.now()
  const { statusCode, headers, body } = await poolOf(server).request({
    method: server.method,
    path: server.path,
    headers: { cookie: server.cookies[index] as string },
  })
  await body.dump()
  if (statusCode !== 200) throw new Error(`${server.name} responded with ${statusCode}`)
  const next = headers['set-cookie']
  if (next) server.cookies[index] = String(next).split(';', 1)[0] as string
  return performance.now() - began
}

/** Requests as fast as the server responds, some at once. @returns how many responses there were */
export async function requestAtFullSpeed(server: Target, seconds: number, atOnce = 16): Promise<number> {
  const end = performance.now() + seconds * 1000
  let turn = 0
  await Promise.all(
    Array.from({ length: atOnce }, async () => {
      while (performance.now() < end) await requestOnce(server, turn++)
    }),
  )
  return turn
}

/** Requests at a fixed pace, however long the responses take. */
export async function requestAtPace(server: Target, seconds: number, perSecond: number): Promise<Times> {
  return Promise.all(await paced(seconds, perSecond, (turn) => requestOnce(server, turn)))
}

export interface LoginResponse {
  status: number
  took: number
  /** When it came, by performance.now(). */
  at: number
}

async function logIn(server: Target): Promise<LoginResponse> {
  const began = performance.now()
  const connections = idleConnections.get(server) ?? []
  idleConnections.set(server, connections)
  const connection = connections.pop() ?? new Connection(server.address)
  const status = await connection.exchange(loginRequests[logins++ % usersToLogIn] as Buffer)
  const at = performance.now()
  connections.push(connection)
  return { status, took: at - began, at }
}

/** Logins in a loop, so many at once. @returns how many succeeded in that time */
export async function logInAtFullSpeed(server: Target, seconds: number, atOnce: number): Promise<number> {
  const end = performance.now() + seconds * 1000
  let succeeded = 0
  await Promise.all(
    Array.from({ length: atOnce }, async () => {
      while (performance.now() < end) {
        const { status, at } = await logIn(server)
        if (status === 200) succeeded += at <= end ? 1 : 0
        // A user whose login is shed does not come back within a bench.
        else await sleep(200)
      }
    }),
  )
  return succeeded
}

/** Logins at a fixed pace, however long the responses take. */
export async function logInAtPace(server: Target, seconds: number, perSecond: number): Promise<LoginResponse[]> {
  return Promise.all(await paced(seconds, perSecond, () => logIn(server)))
}

async function paced<Outcome>(
  seconds: number,
  perSecond: number,
  begin: (turn: number) => Promise<Outcome>,
): Promise<Promise<Outcome>[]> {
  const began = performance.now()
  const running: Promise<Outcome>[] = []
  while (running.length < seconds * perSecond) {
    const due = Math.min(seconds * perSecond, ((performance.now() - began) / 1000) * perSecond)
    while (running.length < due) running.push(begin(running.length))
    await sleep(5)
  }
  return running
}

export async function closeConnections(): Promise<void> {
  await Promise.all([...pools.values()].map((pool) => pool.close()))
  for (const connection of [...idleConnections.values()].flat()) connection.close()
}
