import assert from 'node:assert/strict'
import { after, test } from 'node:test'
import { createAuthClient } from '@sallyport/client'
import { testProject } from '@sallyport/local'
import { project } from '../project.js'

// The whole system, with a database of its own, which is deleted in the end.
const system = await testProject(project)
after(() => system.stop())

const clientOf = async (roles) => {
  const client = createAuthClient({ baseUrl: system.gateway })
  await client.login(await system.makeUser(roles))
  return client
}
const statusOf = async (client, path) => (await client.fetch(path)).status

test('everyone gets the page, and what is public', async () => {
  assert.match(await (await fetch(`${system.gateway}/`)).text(), /<h1>{{name}}<\/h1>/)
  assert.equal((await fetch(`${system.gateway}/client/index.js`)).status, 200)
  assert.equal((await fetch(`${system.gateway}/api/public`)).status, 200)
})

test('nobody gets further without signing in', async () => {
  for (const path of ['/api/hello', '/api/reports', '/api/anything'])
    assert.equal((await fetch(system.gateway + path)).status, 401, path)
  const forged = { 'x-user-id': '1', 'x-user-role': 'admin', 'x-identity-token': 'x' }
  assert.equal((await fetch(`${system.gateway}/api/reports`, { headers: forged })).status, 401)
})

test('a user gets what is for users, and an admin what is for admins', async () => {
  const [member, admin] = [await clientOf(['member']), await clientOf(['admin'])]
  assert.deepEqual((await (await member.fetch('/api/hello')).json()).roles, ['member'])
  assert.equal(await statusOf(member, '/api/reports'), 403)
  assert.equal(await statusOf(admin, '/api/reports'), 200)
})

test('a token is refused once its user has signed out everywhere', async () => {
  const client = await clientOf(['member'])
  const headers = { authorization: `Bearer ${client.getAccessToken()}` }
  const call = async () => (await fetch(`${system.gateway}/api/hello`, { headers })).status
  assert.equal(await call(), 200)
  await client.fetch('/api/auth/logout-all', { method: 'POST' })
  // The gateway hears of it from the auth service.
  for (const deadline = Date.now() + 5_000; (await call()) !== 401; ) assert.ok(Date.now() < deadline)
})
