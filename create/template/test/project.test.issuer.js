import assert from 'node:assert/strict'
import { once } from 'node:events'
import { createServer } from 'node:http'
import { after, test } from 'node:test'
import { testProject } from '@sallyport/local'
import { exportJWK, generateKeyPair, SignJWT } from 'jose'
import { project } from '../project.js'

// An issuer of the test's own takes the place of yours.
const { privateKey, publicKey } = await generateKeyPair('ES256')
const keys = [{ ...(await exportJWK(publicKey)), kid: 'key', use: 'sig' }]
const server = createServer((request, response) => {
  const isMetadata = request.url === '/.well-known/openid-configuration'
  response.setHeader('content-type', 'application/json')
  response.end(JSON.stringify(isMetadata ? { issuer, jwks_uri: `${issuer}/jwks` } : { keys }))
}).listen(0, '127.0.0.1')
await once(server, 'listening')
const issuer = `http://127.0.0.1:${server.address().port}`

const system = await testProject(project, { ISSUER: issuer, AUDIENCE: 'test' })
after(async () => {
  await system.stop()
  server.close()
})

const tokenOf = (claims, audience = 'test') =>
  new SignJWT(claims)
    .setProtectedHeader({ alg: 'ES256', kid: 'key', typ: 'at+jwt' })
    .setIssuer(issuer)
    .setAudience(audience)
    .setSubject('someone')
    .setIssuedAt()
    .setExpirationTime('5m')
    .sign(privateKey)

async function call(path, token) {
  const headers = token ? { authorization: `Bearer ${token}` } : {}
  return fetch(system.gateway + path, { headers })
}

test('everyone gets the page, and what is public', async () => {
  assert.match(await (await call('/')).text(), /<h1>{{name}}<\/h1>/)
  assert.equal((await call('/api/public')).status, 200)
})

test('nobody gets further without a token that is for us', async () => {
  for (const path of ['/api/hello', '/api/reports', '/api/anything']) assert.equal((await call(path)).status, 401, path)
  assert.equal((await call('/api/hello', await tokenOf({}, 'others'))).status, 401)
})

test('a user gets what is for users, and an admin what is for admins', async () => {
  const member = await tokenOf({ roles: ['member'] })
  assert.deepEqual(await (await call('/api/hello', member)).json(), { hello: 'someone', roles: ['member'] })
  assert.equal((await call('/api/reports', member)).status, 403)
  assert.equal((await call('/api/reports', await tokenOf({ roles: ['admin'] }))).status, 200)
})
