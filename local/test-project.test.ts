import { existsSync, mkdtempSync, readdirSync, readFileSync, rmSync, writeFileSync } from 'node:fs'
import { tmpdir } from 'node:os'
import { join } from 'node:path'
import { createDatabase, migrate } from '@sallyport/database'
import t, { type Test } from 'tap'
import { makeFirstUser } from './first-user.ts'
import { startPostgres } from './postgres.ts'
import type { Project } from './project.ts'
import { freePort } from './system.ts'
import { testProject } from './test-project.ts'

/** A project whose users another issuer signs in, with one service, in a folder of its own. */
function makeProject(t: Test, service: string): Project {
  const folder = mkdtempSync(join(tmpdir(), 'sallyport-project-'))
  t.teardown(() => rmSync(folder, { recursive: true }))
  const [routes, program] = [join(folder, 'routes.yaml'), join(folder, 'service.mjs')]
  writeFileSync(
    routes,
    `issuers: [{ issuer: "https://login.test", audience: api, jwks: "http://127.0.0.1:1/jwks" }]
routes:
  - { prefix: /, upstreams: ["\${SERVICE_URL}"], access: public, audience: service }
  - { prefix: /closed, upstreams: ["\${SERVICE_URL}"], access: authenticated, audience: service }`,
  )
  writeFileSync(program, service)
  const services = { service: { program, port: 5010, settings: { GREETING: 'hello' } } }
  return { name: 'test', routes, signIn: 'issuers', services, production: 'nothing is' }
}

const service = `
  import { createServer } from 'node:http'
  const { GREETING, SERVICE_PORT, DATABASE_URL = 'none' } = process.env
  const server = createServer((request, response) => response.end(GREETING + ' ' + DATABASE_URL))
  server.listen(Number(SERVICE_PORT), '127.0.0.1', () => process.send({ port: server.address().port }))
  process.once('disconnect', () => process.exit())`

/** A project whose users the auth service signs in. */
function makeOwnProject(t: Test): Project {
  const project = makeProject(t, service)
  const auth = 'upstreams: ["${AUTH_URL}"], access: public, audience: auth, refreshCookie: true'
  writeFileSync(
    project.routes,
    `routes:
  - { prefix: /, upstreams: ["\${SERVICE_URL}"], access: public, audience: service }
  - { prefix: /api/auth/login, ${auth} }`,
  )
  return { ...project, signIn: 'auth', settings: { REGISTRATION: 'closed' } }
}

async function signIn(gateway: string, credentials: { email: string | undefined; password: string }): Promise<number> {
  const headers = { 'content-type': 'application/json' }
  const body = JSON.stringify(credentials)
  return (await fetch(`${gateway}/api/auth/login`, { method: 'POST', headers, body })).status
}

function temporaryFolder(t: Test): string {
  const folder = mkdtempSync(join(tmpdir(), 'sallyport-data-'))
  t.teardown(() => rmSync(folder, { recursive: true }))
  return folder
}

/** A database without anybody in it. */
async function startDatabase(t: Test) {
  const postgres = await startPostgres({ folder: temporaryFolder(t), port: await freePort() })
  t.teardown(postgres.stop)
  await migrate(postgres.url)
  return postgres
}

const folders = () => readdirSync(tmpdir()).filter((name) => /^sallyport-\w{6}$/.test(name))

t.test('a project without the auth service runs its service behind the gateway alone', async (t) => {
  const project = makeProject(t, service)
  const system = await testProject(project, { DATABASE_URL: 'postgresql://a:b@db/c' })
  t.strictSame([system.page, system.mailbox, system.databaseUrl], [system.gateway, undefined, undefined])
  t.equal(await (await fetch(system.gateway)).text(), 'hello none', 'no database is the service’s')
  t.equal((await fetch(`${system.gateway}/closed`)).status, 401)
  await t.rejects(system.makeUser(['member']), { message: 'users are those of the issuers in the route file' })
  await system.stop()
  await t.rejects(fetch(system.gateway), 'it has ended')
  const loud = await testProject(project, { GREETING: 'good morning' })
  t.match(await (await fetch(loud.gateway)).text(), 'good morning', 'what is set from outside wins')
  await loud.stop()
})

t.test('what keeps it from starting is thrown, and nothing is left', async (t) => {
  const before = folders()
  const project = makeProject(t, 'throw new Error("no service today")')
  await t.rejects(testProject(project), { name: 'ConfigurationError', message: /no service today/ })
  t.strictSame(
    folders().filter((name) => !before.includes(name)),
    [],
  )
  await t.rejects(testProject(project, { NODE_ENV: 'production' }), {
    message: 'NODE_ENV is production, which `npm start` is not for: nothing is',
  })
})

t.test('a new database begins with one user', async (t) => {
  const system = await testProject(makeOwnProject(t))
  const { emails, password } = system.users
  t.strictSame(emails, ['admin@example.com'])
  t.equal(await signIn(system.gateway, { email: emails[0], password }), 200)
  t.equal(await signIn(system.gateway, await system.makeUser(['member'])), 200, 'a test makes others')
  await system.stop()
})

t.test('the random password of the first user is kept until somebody deletes it', async (t) => {
  const { url } = await startDatabase(t)
  const database = createDatabase(url, { connections: 1, onError: () => {} })
  t.teardown(() => database.$disconnect())
  const folder = temporaryFolder(t)
  const first = await makeFirstUser(database, folder)
  t.strictSame(first, { emails: ['admin@example.com'], password: readFileSync(join(folder, 'first-password'), 'utf8') })
  t.strictSame(await makeFirstUser(database, folder), first)
  rmSync(join(folder, 'first-password'))
  t.strictSame((await makeFirstUser(database, folder)).emails, [])
  t.equal(await database.user.count(), 1)
})

t.test('with DATABASE_URL there is no other database, and nobody is made', async (t) => {
  const postgres = await startDatabase(t)
  const DATA_DIR = temporaryFolder(t)
  const system = await testProject(makeOwnProject(t), { DATA_DIR, DATABASE_URL: postgres.url })
  t.equal(system.databaseUrl, postgres.url)
  t.strictSame(system.users.emails, [])
  t.notOk(existsSync(join(DATA_DIR, 'postgres')))
  t.equal(await signIn(system.gateway, await system.makeUser(['member'])), 200)
  await system.stop()
})
