import { startSallyport, startUpstream } from '../lib/contestants.ts'
import { startIssuer } from '../lib/issuer.ts'
import { median, quantile } from '../lib/quantile.ts'
import { askingFor, costOf } from '../lib/wrk.ts'

/**
 * What a rule of step-up costs: CPU time of the gateway per request on a route with `acr` and `maxAge`, beside the same
 * route without, in short rounds one after the other, since machines are never quiet for long.
 *
 *   npm run bench:step-up            (needs wrk and nginx)
 */
const rounds = Number(process.env.ROUNDS ?? 80)
/** All rounds, of a second and one of each kind, have to end before the tokens are too old for the rule. */
const seconds = 1
const rule = { acr: 'aal2', maxAge: '5m' }

const issuer = await startIssuer()
const upstream = await startUpstream()
const gateway = await startSallyport({ issuer, upstream: upstream.port }, [
  { prefix: '/bare' },
  { prefix: '/rule', ...rule },
])
const proof = { acr: 'aal2', auth_time: Math.floor(Date.now() / 1000), amr: ['pwd', 'otp', 'mfa'] }
const tokens = Array.from({ length: 100 }, () => issuer.token(proof))
const costs = { '/bare': [] as number[], '/rule': [] as number[] }
const scripts = Object.keys(costs).map((path) => [path as keyof typeof costs, askingFor(path, tokens)] as const)

for (let round = -2; round < rounds; round++)
  for (const [path, script] of round % 2 === 0 ? scripts : scripts.toReversed()) {
    const cost = await costOf(gateway, script, seconds)
    // The first rounds warm up.
    if (round >= 0) costs[path].push(cost)
  }
await Promise.all([gateway.stop(), upstream.stop()])
issuer.close()

const ratios = costs['/rule'].map((cost, round) => cost / (costs['/bare'][round] as number))
const ratioAt = (share: number) => quantile(ratios, share).toFixed(3)
const costAt = (path: keyof typeof costs) => `${median(costs[path]).toFixed(1)} us`
process.stdout.write(
  `CPU per request: ${costAt('/bare')} without a rule, ${costAt('/rule')} with ${JSON.stringify(rule)}
ratio of ${rounds} rounds: median ${ratioAt(0.5)}, half of them from ${ratioAt(0.25)} to ${ratioAt(0.75)}
`,
)
