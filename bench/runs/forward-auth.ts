import { mkdtempSync, rmSync } from 'node:fs'
import { tmpdir } from 'node:os'
import { join } from 'node:path'
import { endProcesses, freePort, startProcess } from '@sallyport/local'
import { asUser, call, closeConnections, logIn, toUser } from '../lib/caller.ts'
import { type Contestant, contestants, startSallyport, startUpstream } from '../lib/contestants.ts'
import { startIssuer } from '../lib/issuer.ts'
import { startExample } from '../lib/proxies.ts'
import { quantile } from '../lib/quantile.ts'
import { startReplicas } from '../lib/replicas.ts'
import { TimedConnection } from '../lib/timed-connection.ts'

/**
 * What it costs nginx to ask Sallyport about every request, as in examples/nginx: latency beside nginx that asks nobody,
 * one request at a time and in turns. Then how long a request still passes after another gateway has responded to a logout.
 *
 *   npm run bench:forward-auth            (needs nginx; REQUESTS to each, LOGOUTS)
 */
const requests = Number(process.env.REQUESTS ?? 10_000)
const logouts = Number(process.env.LOGOUTS ?? 200)
const folder = mkdtempSync(join(tmpdir(), 'sallyport-forward-auth-'))
const trusted = { TRUSTED_PROXIES: '127.0.0.1' }

await measureLatency()
await measureLogouts()
rmSync(folder, { recursive: true })

async function measureLatency(): Promise<void> {
  const issuer = await startIssuer()
  const upstream = await startUpstream()
  const around = { issuer, upstream: upstream.port }
  const bare = (await contestants['nginx, bare']?.(around)) as Contestant
  const sallyport = await freePort()
  const settings = { ...trusted, FORWARD_AUTH_PORT: String(sallyport) }
  const gateway = await startSallyport(around, [{ prefix: '/' }], settings)
  const asking = await startExample('nginx', folder, { sallyport, service: upstream.port })

  const times = { alone: [] as number[], asking: [] as number[] }
  const ports = { alone: bare.port, asking: asking.port }
  // nginx closes a connection after a thousand requests.
  for (let sent = -500; sent < requests; sent += 500) {
    const connections = (['alone', 'asking'] as const).map((name) => ({
      name,
      connection: new TimedConnection(`http://127.0.0.1:${ports[name]}`),
    }))
    const token = issuer.token()
    const request = `GET /api/things/42 HTTP/1.1\r\nHost: app.test\r\nAuthorization: Bearer ${token}\r\n\r\n`
    for (let at = 0; at < 500; at++)
      for (const { name, connection } of at % 2 === 0 ? connections : connections.toReversed()) {
        const { head, total } = await connection.exchange(request)
        if (!head.startsWith('HTTP/1.1 200')) throw new Error(head)
        // The first ones warm up.
        if (sent >= 0) times[name].push(total)
      }
    for (const { connection } of connections) connection.close()
  }
  await Promise.all([asking.stop(), gateway.stop(), bare.stop(), upstream.stop()])
  issuer.close()

  const at = (name: keyof typeof times, share: number) => quantile(times[name], share)
  const row = (what: string, figure: (share: number) => number) =>
    `| ${what} | ${[0.5, 0.9, 0.99].map((share) => `${figure(share).toFixed(2)} ms`).join(' | ')} |\n`
  process.stdout.write(`| ${requests} requests to each | p50 | p90 | p99 |\n| --- | ---: | ---: | ---: |
${row('nginx', (share) => at('alone', share))}${row('nginx that asks Sallyport', (share) => at('asking', share))}${row('difference', (share) => at('asking', share) - at('alone', share))}
`)
}

async function measureLogouts(): Promise<void> {
  const { gateways, gatewaySettings, stop } = await startReplicas()
  const sallyport = await freePort()
  const settings = { ...gatewaySettings, ...trusted, GATEWAY_PORT: '0', FORWARD_AUTH_PORT: String(sallyport) }
  const gateway = await startProcess('gateway', settings, () => {})
  const upstream = await startUpstream()
  const nginx = await startExample('nginx', folder, { sallyport, service: upstream.port })
  const times: number[] = []
  for (let round = 0; round < logouts; round++) {
    const user = toUser(await logIn(gateways[0] as string))
    const passes = async () => {
      const { status } = await call('GET', `http://127.0.0.1:${nginx.port}/api/whoami`, asUser(user))
      if (status !== 200 && status !== 401) throw new Error(`nginx responded with ${status}`)
      return status === 200
    }
    if (!(await passes())) throw new Error('a valid token was refused')
    await call('POST', `${gateways[0]}/api/auth/logout`, { cookie: user.cookie })
    const responded = performance.now()
    while (await passes()) {}
    times.push(performance.now() - responded)
  }
  await closeConnections()
  await Promise.all([nginx.stop(), upstream.stop(), endProcesses([gateway])])
  await stop()
  const at = (share: number) => `${quantile(times, share).toFixed(1)} ms`
  process.stdout.write(`| from the response to a logout until nginx refuses | ${logouts} times |\n| --- | ---: |
| median | ${at(0.5)} |\n| 99 of 100 | ${at(0.99)} |\n| longest | ${at(1)} |\n`)
}
