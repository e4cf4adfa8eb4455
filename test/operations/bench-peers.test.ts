import { once } from 'node:events'
import { createServer } from 'node:http'
import type { AddressInfo } from 'node:net'
import { namedPeers } from '@sallyport/bench/named-peers'
import type { Session } from '@sallyport/bench/peer'
import t, { type Test } from 'tap'

/** The API of Supabase Auth as its client uses it: a key of the project, refresh tokens that are good once, logouts. */
async function startGoTrue(t: Test) {
  const requests: string[] = []
  const live = new Set<string>()
  const server = createServer(async (request, response) => {
    let body = ''
    for await (const chunk of request) body += chunk
    const json = body === '' ? {} : JSON.parse(body)
    const token = request.headers.authorization?.replace(/^Bearer access-/, '') ?? ''
    const give = () => {
      const refreshToken = `refresh-${requests.length}`
      live.add(refreshToken)
      const given = { access_token: `access-${refreshToken}`, token_type: 'bearer', refresh_token: refreshToken }
      response.end(JSON.stringify(given))
    }
    const refuse = (status: number) => response.writeHead(status).end('{"msg":"refused"}')
    requests.push(`${request.method} ${request.url}`)
    if (request.headers.apikey !== 'public') return refuse(401)
    switch (requests.at(-1)) {
      case 'POST /token?grant_type=password':
        return json.email === 'someone@example.com' && json.password === 'right' ? give() : refuse(400)
      case 'POST /token?grant_type=refresh_token':
        return live.delete(json.refresh_token) ? give() : refuse(400)
      case 'GET /user':
        return live.has(token) ? response.end('{"id":"someone"}') : refuse(403)
      case 'POST /logout?scope=local':
        return live.delete(token) ? response.writeHead(204).end() : refuse(403)
      default:
        return refuse(404)
    }
  }).listen(0, '127.0.0.1')
  await once(server, 'listening')
  t.teardown(() => server.closeAllConnections())
  t.teardown(() => server.close())
  return { url: `http://127.0.0.1:${(server.address() as AddressInfo).port}`, requests }
}

t.test('a Supabase Auth that variables name signs in, refreshes, is asked and signs out', async (t) => {
  const { url, requests } = await startGoTrue(t)
  const environment = {
    SUPABASE_GOTRUE: `${url}/`,
    SUPABASE_KEY: 'public',
    SUPABASE_USERNAME: 'someone@example.com',
    SUPABASE_PASSWORD: 'right',
    SUPABASE_PIDS: String(process.pid),
    JWT_ISSUER: 'https://nobody.example',
  }
  const [peer, ...more] = await namedPeers(environment)
  t.strictSame(more, [])
  t.strictSame([peer?.name, peer?.measured], ['Supabase', ['signIn', 'refresh', 'check', 'logOut']])
  const begun = (await peer?.signIn(0)) as Session
  const session = (await peer?.refresh?.(begun)) as Session
  await t.rejects(async () => peer?.refresh?.(begun), { message: /^400 / }, 'a refresh token is good once')
  await t.resolves(async () => peer?.check?.(session))
  await t.resolves(async () => peer?.logOut?.(session))
  await t.rejects(async () => peer?.check?.(session), { message: /^403 / }, 'it is signed out')
  t.ok((peer?.used?.() ?? 0) > 0, 'its CPU is known')
  t.equal(requests[0], 'POST /token?grant_type=password')
  const wrong = await namedPeers({ ...environment, SUPABASE_PASSWORD: 'wrong', SUPABASE_PIDS: '' })
  await t.rejects(async () => wrong[0]?.signIn(0), { message: '400 {"msg":"refused"}' })
  t.equal(wrong[0]?.used, undefined)
})

t.test('a variable that is missing is named', async (t) => {
  await t.rejects(namedPeers({ SUPABASE_GOTRUE: 'http://127.0.0.1:1', SUPABASE_USERNAME: 'someone' }), {
    message: 'SUPABASE_GOTRUE needs SUPABASE_PASSWORD',
  })
  await t.rejects(namedPeers({ KEYCLOAK_OPENID: 'http://127.0.0.1:1' }), {
    message: 'KEYCLOAK_OPENID needs KEYCLOAK_CLIENT_ID',
  })
})
