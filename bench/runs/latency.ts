import { asPerson, call, closeConnections, logIn, toPerson } from '../lib/caller.ts'
import { quantile } from '../lib/quantile.ts'
import { startReplicas } from '../lib/replicas.ts'

/**
 * How long after a logout has been answered by one gateway the other one still takes the access token, with two
 * replicas of each.
 *
 *   npm run bench:latency
 */
const rounds = 200
const { gateways, stop } = await startReplicas()
const times: number[] = []
for (let round = 0; round < rounds; round++) {
  const person = toPerson(await logIn(gateways[0] as string))
  // A route to a service that is not there: 502 says that the token was taken, 401 that it was not.
  const isTaken = async () => (await call('GET', `${gateways[1]}/api/whoami`, asPerson(person))).status !== 401
  await isTaken()
  await call('POST', `${gateways[0]}/api/auth/logout`, { cookie: person.cookie })
  const answered = performance.now()
  while (await isTaken()) {}
  times.push(performance.now() - answered)
}
await closeConnections()
await stop()
const at = (share: number) => `${quantile(times, share).toFixed(1)} ms`
process.stdout.write(`| from the answer to a logout until the other gateway refuses the token | ${rounds} times |
| --- | ---: |
| median | ${at(0.5)} |
| 99 of 100 | ${at(0.99)} |
| longest | ${at(1)} |
`)
