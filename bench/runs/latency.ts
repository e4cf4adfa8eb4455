import { asUser, call, closeConnections, logIn, toUser } from '../lib/caller.ts'
import { quantile } from '../lib/quantile.ts'
import { startReplicas } from '../lib/replicas.ts'

/**
 * How long one gateway still accepts the access token after the other has responded to a logout, with two replicas of
 * each.
 *
 *   npm run bench:latency
 */
const rounds = 200
const { gateways, stop } = await startReplicas()
const times: number[] = []
for (let round = 0; round < rounds; round++) {
  const user = toUser(await logIn(gateways[0] as string))
  // A route to a service that is not there: 502 says that the token was accepted, 401 that it was not.
  const isAccepted = async () => (await call('GET', `${gateways[1]}/api/whoami`, asUser(user))).status !== 401
  await isAccepted()
  await call('POST', `${gateways[0]}/api/auth/logout`, { cookie: user.cookie })
  const responded = performance.now()
  while (await isAccepted()) {}
  times.push(performance.now() - responded)
}
await closeConnections()
await stop()
const at = (share: number) => `${quantile(times, share).toFixed(1)} ms`
process.stdout.write(`| from the response to a logout until the other gateway rejects the token | ${rounds} times |
| --- | ---: |
| median | ${at(0.5)} |
| 99 of 100 | ${at(0.99)} |
| longest | ${at(1)} |
`)
