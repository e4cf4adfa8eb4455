import { demoPassword } from '@sallyport/database'
import { startReplicas } from './replicas.ts'

/**
 * How long after a logout has been answered by one gateway the other one still takes the access token, with two
 * replicas of each.
 *
 *   npm run bench:latency
 */
const rounds = 200
const { gateways, stop } = await startReplicas()
const body = JSON.stringify({ email: 'doctor@example.com', password: demoPassword })
const times: number[] = []
for (let round = 0; round < rounds; round++) {
  const login = await fetch(`${gateways[0]}/api/auth/login`, {
    method: 'POST',
    headers: { 'content-type': 'application/json' },
    body,
  })
  const { accessToken } = (await login.json()) as { accessToken: string }
  const cookie = String(login.headers.get('set-cookie')).split(';', 1)[0] as string
  // A route to a service that is not there: 502 says that the token was taken, 401 that it was not.
  const isTaken = async () =>
    (await fetch(`${gateways[1]}/api/whoami`, { headers: { authorization: `Bearer ${accessToken}` } })).status !== 401
  await isTaken()
  await fetch(`${gateways[0]}/api/auth/logout`, { method: 'POST', headers: { cookie } })
  const answered = performance.now()
  while (await isTaken()) {}
  times.push(performance.now() - answered)
}
await stop()
times.sort((one, other) => one - other)
const at = (share: number) => `${(times[Math.min(rounds - 1, Math.floor(rounds * share))] as number).toFixed(1)} ms`
process.stdout.write(`| from the answer to a logout until the other gateway refuses the token | ${rounds} times |
| --- | ---: |
| median | ${at(0.5)} |
| 99 of 100 | ${at(0.99)} |
| longest | ${at(1)} |
`)
