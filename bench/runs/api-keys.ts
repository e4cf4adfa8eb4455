import { randomUUID } from 'node:crypto'
import { once } from 'node:events'
import { createServer } from 'node:http'
import type { AddressInfo } from 'node:net'
import { apiKeyId, makeApiKey } from '@sallyport/identity'
import { startSallyport, startUpstream } from '../lib/contestants.ts'
import { startIssuer } from '../lib/issuer.ts'
import { median, quantile } from '../lib/quantile.ts'
import { askingFor, costOf } from '../lib/wrk.ts'

/**
 * What an API key costs that the gateway has seen: CPU time of the gateway per request with 10,000 of them in use, beside as
 * many access tokens of service accounts, in short rounds one after the other, since machines are never quiet for long.
 *
 *   npm run bench:api-keys            (needs wrk and nginx)
 */
const rounds = Number(process.env.ROUNDS ?? 40)
const count = 10_000
/** Long enough for each of them to be used several times. */
const seconds = 2

const issuer = await startIssuer()
const upstream = await startUpstream()
const tokenOf = (id: string, sid: string) =>
  issuer.token({
    ...{ sub: `client:${id}`, client_id: id, sid, scope: 'appointments:read' },
    ...{ email: undefined, role: 'nurse', roles: ['nurse'] },
  })

let calls = 0
const auth = createServer(async (request, response) => {
  calls += 1
  let body = ''
  for await (const chunk of request) body += chunk
  response.end(JSON.stringify({ accessToken: tokenOf(randomUUID(), apiKeyId(JSON.parse(body).key) as string) }))
}).listen(0, '127.0.0.1')
await once(auth, 'listening')

const gateway = await startSallyport({ issuer, upstream: upstream.port }, [{ prefix: '/api', callers: ['client'] }], {
  API_KEYS_URL: `http://127.0.0.1:${(auth.address() as AddressInfo).port}/internal/api-keys`,
  REVOCATIONS_SECRET: randomUUID() + randomUUID(),
})
const keys = Array.from({ length: count }, () => makeApiKey(randomUUID()))
const scripts = {
  tokens: askingFor(
    '/api',
    Array.from({ length: count }, () => tokenOf(randomUUID(), randomUUID())),
  ),
  apiKeys: askingFor('/api', keys),
}
const costs = { tokens: [] as number[], apiKeys: [] as number[] }
const kinds = Object.keys(costs) as (keyof typeof costs)[]

// Each key is seen before anything is measured.
const unseen = keys.values()
const see = async () => {
  for (const key of unseen) {
    const headers = { authorization: `Bearer ${key}` }
    await (await fetch(`http://127.0.0.1:${gateway.port}/api`, { headers })).text()
  }
}
await Promise.all(Array.from({ length: 16 }, see))
for (let round = -2; round < rounds; round++)
  for (const kind of round % 2 === 0 ? kinds : kinds.toReversed()) {
    const cost = await costOf(gateway, scripts[kind], seconds)
    // The first rounds warm up.
    if (round >= 0) costs[kind].push(cost)
  }
await Promise.all([gateway.stop(), upstream.stop()])
issuer.close()
auth.close()

const ratios = costs.apiKeys.map((cost, round) => cost / (costs.tokens[round] as number))
const ratioAt = (share: number) => quantile(ratios, share).toFixed(3)
const costAt = (kind: keyof typeof costs) => `${median(costs[kind]).toFixed(1)} us`
process.stdout.write(
  `CPU per request: ${costAt('tokens')} with an access token, ${costAt('apiKeys')} with an API key
ratio of ${rounds} rounds: median ${ratioAt(0.5)}, half of them from ${ratioAt(0.25)} to ${ratioAt(0.75)}
calls to the auth service: ${calls} for ${count} API keys
`,
)
