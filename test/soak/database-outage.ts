import { createServer } from 'node:http'
import { setTimeout as sleep } from 'node:timers/promises'
import { asUser, call, closeConnections, logIn, toUser, type User } from '@sallyport/bench/caller'
import { startReplicas } from '@sallyport/bench/replicas'

/**
 * Postgres is unavailable for minutes under load: the gateways serve requests with valid tokens all the time, the auth
 * service responds with 503 at once, and when Postgres is back everything goes on with the sessions of before.
 *
 *   npm run outage -- [minutes]
 */
const minutes = Number(process.argv[2] ?? 10)
const perSecond = 50
const users = 20

// A service that needs no database.
const service = createServer((_request, response) => response.end('{}')).listen(0, '127.0.0.1')
await new Promise((resolve) => service.once('listening', resolve))
const { port } = service.address() as { port: number }
const { gateways, pausePostgres, stop } = await startReplicas({ APPOINTMENTS_URL: `http://127.0.0.1:${port}` })
const anyGateway = () => gateways[Math.floor(Math.random() * gateways.length)] as string
const refresh = (cookie: string) => call('POST', `${anyGateway()}/api/auth/refresh`, { cookie })

const signedIn: User[] = []
while (signedIn.length < users) signedIn.push(toUser(await logIn(anyGateway())))
const someone = () => signedIn[Math.floor(Math.random() * users)] as User

const served = { requests: 0, failed: 0 }
const refused = { requests: 0, other: 0, slowest: 0 }
let isDown = false
let isOver = false
const wrong: string[] = []

async function useToken(): Promise<void> {
  served.requests += 1
  const { status } = await call('GET', `${anyGateway()}/api/whoami`, asUser(someone())).catch(() => ({ status: 0 }))
  if (status !== 200) served.failed += 1
}

async function askAuth(): Promise<void> {
  refused.requests += 1
  const begun = performance.now()
  const { status, body } = await (Math.random() < 0.5 ? refresh(someone().cookie) : logIn(anyGateway()))
  refused.slowest = Math.max(refused.slowest, performance.now() - begun)
  if (status === 503) return
  refused.other += 1
  wrong.push(`${status} ${body}`)
}

const resume = await pausePostgres()
// What was in flight has ended.
await sleep(500)
isDown = true
const begun = Date.now()
const asking = (async () => {
  while (isDown) {
    await askAuth()
    await sleep(200)
  }
})()
const using = (async () => {
  for (let sent = 0; !isOver; await sleep(5))
    while (sent < ((Date.now() - begun) / 1000) * perSecond) {
      sent += 1
      void useToken()
    }
})()
await sleep(minutes * 60_000)
isDown = false
await asking
await resume()
const back = Date.now()
let signedOut = 0
let recovered = 0
for (const user of signedIn)
  for (;;) {
    const { status } = await refresh(user.cookie)
    if (status === 401) signedOut += 1
    if (status === 200 || status === 401) {
      recovered ||= Date.now() - back
      break
    }
    await sleep(20)
  }
isOver = true
await using
await closeConnections()
await stop()
service.close()

process.stdout.write(`| what | figure |
| --- | ---: |
| minutes without Postgres | ${minutes} |
| requests with valid tokens | ${served.requests} |
| of them not served | ${served.failed} |
| refreshes and logins meanwhile | ${refused.requests} |
| of them without a 503 | ${refused.other} |
| slowest of these responses | ${refused.slowest.toFixed(0)} ms |
| first refresh after Postgres took connections again | ${recovered} ms |
| users signed out | ${signedOut} |
`)
for (const response of wrong) process.stdout.write(`not 503: ${response}\n`)
process.exit(served.failed + refused.other + signedOut === 0 && recovered < 5_000 ? 0 : 1)
