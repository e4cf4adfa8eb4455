import { execFileSync, spawn, spawnSync } from 'node:child_process'
import { generateKeyPairSync } from 'node:crypto'
import { readFileSync, writeFileSync } from 'node:fs'
import type { AddressInfo } from 'node:net'
import { join } from 'node:path'
import { createInterface } from 'node:readline'
import { fileURLToPath } from 'node:url'
import { isDeepStrictEqual } from 'node:util'
import { routesFile } from '@sallyport/bench/settings'
import { createApplication, createLogger } from '@sallyport/chassis'
import { createAssertions, headersOf, type Identity } from '@sallyport/identity'
import { requireCaller, requireRole } from '@sallyport/identity/fastify'
import t, { type Test } from 'tap'
import { assertionOf, bentAssertions } from '../support/bent-assertions.ts'
import { each, exchange } from '../support/edge.ts'
import { makeKeyPair, openMachines } from '../support/machines.ts'
import { Client, signIn, temporaryFolder } from '../support/system.ts'

/** The Python of the system, which has what apt installs. */
const python = '/usr/bin/python3'
const runs = (program: string, ...args: string[]) => spawnSync(program, args).status === 0
const skip = !runs(python, '-c', 'import jwt, cryptography')
  ? 'python3-jwt and python3-cryptography are not installed'
  : !runs('go', 'version') && 'golang-go is not installed'

const examples = fileURLToPath(new URL('../../../examples/', import.meta.url))
// Nothing is fetched: the examples need nothing but what Debian has.
const offline = { ...process.env, GOPROXY: 'off', GOFLAGS: '-mod=mod', PYTHONDONTWRITEBYTECODE: '1' }
const go = (...args: string[]) =>
  execFileSync('go', args, { cwd: join(examples, 'go'), env: offline, stdio: ['ignore', 'pipe', 'pipe'] })

const publicKeyEncoding = { type: 'spki', format: 'pem' } as const
const privateKeyEncoding = { type: 'pkcs8', format: 'pem' } as const

/** The gateway's key, and two by which it is being replaced: the services take all of them. */
const ours = makeKeyPair()
const keys = {
  'EC P-256': ours,
  Ed25519: generateKeyPairSync('ed25519', { publicKeyEncoding, privateKeyEncoding }),
  RSA: generateKeyPairSync('rsa', { modulusLength: 2048, publicKeyEncoding, privateKeyEncoding }),
}
const publicKeys = Object.values(keys).map(({ publicKey }) => publicKey)

const doctor: Identity = {
  caller: 'user',
  userId: 'user-1',
  email: 'doctor@example.com',
  role: 'doctor',
  roles: ['doctor', 'patient'],
  sessionId: 'session-1',
}

interface Service {
  /** The first part of its paths, below /api. */
  name: string
  audience: string
  port: number
}

/** Starts a process that says on which port it listens. */
function start(t: Test, name: string, command: string, args: string[]): Promise<Service> {
  const env = { ...offline, PORT: '0', IDENTITY_PUBLIC_KEY: publicKeys.join('') }
  const child = spawn(command, args, { env, stdio: ['ignore', 'pipe', 'pipe'] })
  t.teardown(() => child.kill('SIGKILL'))
  let errors = ''
  child.stderr.on('data', (chunk) => {
    errors += chunk
  })
  return new Promise((resolve, reject) => {
    child.once('exit', (code) => reject(new Error(`${name} ended with ${code}: ${errors}`)))
    createInterface(child.stdout).on('line', (line) => {
      const [, port] = /^listening on (\d+)$/.exec(line) ?? []
      if (port) resolve({ name, audience: `${name}-example`, port: Number(port) })
    })
  })
}

/** The same service with the guards of Node, by whose decisions the others are judged. */
async function startNode(t: Test): Promise<Service> {
  const trust = { verify: true as const, publicKeys, audience: 'node-example' }
  const logger = createLogger('node', 'error', { write: () => {} })
  const app = createApplication({ logger, production: false, trustedProxies: [], bodyLimit: 1024 })
  app.get('/api/node/public', async () => ({ hello: 'everyone' }))
  app.get('/api/node/whoami', { preHandler: requireCaller(['user', 'client'], trust) }, async ({ identity }) => ({
    caller: identity.caller,
    id: identity.clientId ?? identity.userId,
    roles: identity.roles,
  }))
  app.get('/api/node/ward', { preHandler: requireRole(['doctor'], trust) }, async ({ identity }) => ({
    doctor: identity.email,
  }))
  t.teardown(() => app.close())
  await app.listen({ host: '127.0.0.1', port: 0 })
  return { name: 'node', audience: 'node-example', port: (app.server.address() as AddressInfo).port }
}

interface Answer {
  status: number
  type: string | undefined
  challenge: string | undefined
  body: unknown
}

/** What a service says to a request past the gateway, with these header lines. */
async function ask({ name, port }: Service, path: string, lines: string[] = []): Promise<Answer> {
  const head = [`GET /api/${name}/${path} HTTP/1.1`, 'Host: service', ...lines, 'Connection: close']
  const sent = Buffer.from(`${head.join('\r\n')}\r\n\r\n`, 'latin1')
  const response = Buffer.from(await exchange(port, sent, 10_000), 'latin1').toString()
  const body = response.slice(response.indexOf('\r\n\r\n') + 4)
  return {
    status: Number(/^HTTP\/1\.[01] (\d{3})/.exec(response)?.[1]),
    type: /^content-type: ([\w/+]+)/im.exec(response)?.[1],
    challenge: /^www-authenticate: ([^\r]*)/im.exec(response)?.[1],
    body: body.startsWith('{') ? JSON.parse(body) : body,
  }
}

const carrying = (values: string[]) => values.map((value) => `X-Identity-Token: ${value}`)
const codeOf = ({ status, body }: Answer) => `${status} ${(body as { code?: string }).code ?? ''}`.trim()

t.test('the examples in Python and Go', { skip }, async (t) => {
  t.test('the one in Go is vetted, formatted, and passes its own tests, without a network', async (t) => {
    t.doesNotThrow(() => go('vet', './...'))
    t.doesNotThrow(() => go('test', './...'))
    t.equal(execFileSync('gofmt', ['-l', join(examples, 'go')], { encoding: 'utf8' }), '')
  })

  const program = join(temporaryFolder(t), 'service')
  go('build', '-o', program, '.')
  const services = await Promise.all([
    start(t, 'python', python, [join(examples, 'python/service.py')]),
    start(t, 'go', program, []),
  ])
  const node = await startNode(t)

  t.test('behind the gateway let everyone, who is signed in, or who has the role call', async (t) => {
    const routes = join(temporaryFolder(t), 'routes.yaml')
    const added = services.flatMap(({ name, port, audience }) => {
      // The READMEs have the routes, with the port that a reader's service is on.
      const [, yaml = ''] = /```yaml\n([\s\S]*?)```/.exec(readFileSync(join(examples, name, 'README.md'), 'utf8')) ?? []
      t.match(yaml, `audience: ${audience}`)
      return yaml.replace(/127\.0\.0\.1:\d+/g, `127.0.0.1:${port}`).replace(/^/gm, '  ')
    })
    writeFileSync(routes, readFileSync(routesFile, 'utf8') + added.join('\n'))
    const { gateway, makeMachine, tokenOf, bearing } = await openMachines(t, {
      GATEWAY_ROUTES: routes,
      IDENTITY_PRIVATE_KEY: ours.privateKey,
      IDENTITY_PUBLIC_KEY: ours.publicKey,
    })
    const nobody = new Client(gateway)
    const people = { doctor: await signIn(gateway), patient: await signIn(gateway, 'patient@example.com') }
    const machine = bearing(await tokenOf(await makeMachine({ scopes: ['a'], roles: ['doctor'] })))
    const forged = { ...headersOf({ ...doctor, role: 'doctor' }), 'x-identity-token': 'x' }
    for (const { name } of services) {
      const at = (path: string) => `/api/${name}/${path}`
      for (const who of [nobody, people.patient])
        t.match(await who.call('GET', at('public')), { status: 200, body: { hello: 'everyone' } })
      t.match(await nobody.call('GET', at('whoami')), { status: 401, body: { code: 'TOKEN_MISSING' } })
      t.match(await nobody.call('GET', at('whoami'), { headers: forged }), { status: 401 })
      t.match(await people.patient.call('GET', at('whoami')), {
        status: 200,
        body: { caller: 'user', roles: ['patient'] },
      })
      t.match(await machine.call('GET', at('whoami')), { status: 200, body: { caller: 'client', roles: ['doctor'] } })
      t.match(await people.doctor.call('GET', at('ward')), { status: 200, body: { doctor: 'doctor@example.com' } })
      for (const headers of [{}, forged])
        t.match(await people.patient.call('GET', at('ward'), { headers }), {
          status: 403,
          body: { code: 'ROLE_REQUIRED' },
        })
      t.match(await machine.call('GET', at('ward')), { status: 403, body: { code: 'CALLER_REFUSED' } })
      t.match(await people.doctor.call('GET', at('nowhere')), { status: 404, body: { code: 'NOT_FOUND' } })
    }
  })

  /** Every answer of a service, by what was asked of it. */
  async function answersOf(service: Service): Promise<Map<string, Answer>> {
    const { audience } = service
    const { privateKey } = ours
    const answers = new Map<string, Answer>()
    const asked: [what: string, path: string, lines: string[]][] = []
    const add = (what: string, lines: string[]) => {
      for (const path of ['public', 'whoami', 'ward']) asked.push([`${what} at ${path}`, path, lines])
    }
    const machine: Omit<Identity, 'roles'> = {
      caller: 'client',
      userId: 'client:nightly',
      clientId: 'nightly',
      sessionId: 'credential-1',
      scopes: [],
    }
    const good: Record<string, Identity> = {
      doctor,
      patient: { ...doctor, role: 'patient', roles: ['patient'] },
      'a doctor in the second place': { ...doctor, role: 'patient', roles: ['patient', 'doctor'] },
      'a doctor with another address': { ...doctor, email: 'josé@例え.example' },
      'a doctor of whom all is known': { ...doctor, acr: 'aal2', authTime: 1_700_000_000, amr: ['pwd', 'otp'] },
      'a doctor for whom a machine acts': {
        ...doctor,
        scopes: [],
        act: { sub: 'client:nightly', sid: 'c', grant: 'g' },
      },
      'a doctor for whom an admin acts': { ...doctor, act: { sub: 'admin-1', act: { sub: 'admin-2' } } },
      'a doctor of many roles': { ...doctor, roles: ['doctor', ...Array.from({ length: 31 }, (_, n) => `r${n}`)] },
      'a machine': { ...machine, roles: [] },
      'a machine that is a doctor': { ...machine, role: 'doctor', roles: ['doctor'], scopes: ['a', 'b'] },
    }
    for (const [who, identity] of Object.entries(good))
      for (const [kind, { privateKey }] of Object.entries(keys))
        add(`${who} by ${kind}`, carrying([createAssertions(privateKey).sign(identity, audience).token]))
    add('an audience in a list', carrying([assertionOf(privateKey, audience, { aud: ['other', audience] })]))
    add('an end two seconds ago', carrying([assertionOf(privateKey, audience, { exp: Date.now() / 1000 - 2 })]))
    add('a clock that is ahead', carrying([assertionOf(privateKey, audience, { iat: Date.now() / 1000 + 20 })]))
    add('a claim that nobody knows', carrying([assertionOf(privateKey, audience, { note: { a: [1] } })]))
    add('white space around', [`X-Identity-Token: \t ${assertionOf(privateKey, audience)} \t`])
    add('another case', [`x-iDENTITY-tOKEN: ${assertionOf(privateKey, audience)}`])
    add('another name', [`X_Identity_Token: ${assertionOf(privateKey, audience)}`])
    add('nothing', [])
    add(
      'plain headers',
      Object.entries(headersOf(doctor)).map(([name, value]) => `${name}: ${value}`),
    )
    add('the access token of a client', [`Authorization: Bearer ${assertionOf(privateKey, audience)}`])
    add('a header of 100,000 characters', carrying(['x'.repeat(100_000)]))
    for (const [what, values] of bentAssertions(privateKey, audience)) add(what, carrying(values))
    await each(
      asked,
      async ([what, path, lines]) => {
        answers.set(what, await ask(service, path, lines))
      },
      4,
    )
    return answers
  }

  t.test('past the gateway decide as the guards of Node do', async (t) => {
    const expected = await answersOf(node)
    t.ok(expected.size > 600, `${expected.size} requests`)
    const refused = [...expected].filter(([what, answer]) => !what.endsWith('public') && answer.status === 401)
    t.ok(refused.length > 400, `${refused.length} of them without a good assertion`)
    t.equal(codeOf(expected.get('nothing at ward') as Answer), '401 TOKEN_MISSING')
    t.equal(codeOf(expected.get('plain headers at ward') as Answer), '401 TOKEN_MISSING')
    t.equal(codeOf(expected.get('patient by RSA at ward') as Answer), '403 ROLE_REQUIRED')
    for (const [what] of bentAssertions(ours.privateKey, node.audience))
      for (const path of ['whoami', 'ward'])
        t.equal(codeOf(expected.get(`${what} at ${path}`) as Answer), '401 TOKEN_INVALID', what)

    for (const service of services) {
      const answers = await answersOf(service)
      const differences = [...expected].filter(([what, answer]) => {
        const found = answers.get(what) as Answer
        // A header that is too long is refused by the server, each in its own words.
        return answer.status === 431 ? found.status !== 431 : !isDeepStrictEqual(found, answer)
      })
      t.strictSame(
        differences.map(([what, answer]) => ({ what, node: answer, found: answers.get(what) })),
        [],
        service.name,
      )
    }
  })

  t.test('know people of another issuer, of whom less is known', async (t) => {
    for (const service of services) {
      const foreign = { token_iss: 'https://login.example', scope: '', email: undefined, sid: undefined }
      const bearing = (claims: object) => carrying([assertionOf(ours.privateKey, service.audience, claims)])
      t.match(await ask(service, 'ward', bearing(foreign)), { status: 200, body: { roles: undefined } })
      const unknown = bearing({ ...foreign, role: undefined, roles: [] })
      t.match(await ask(service, 'whoami', unknown), { status: 200, body: { id: 'user-1', roles: [] } })
      t.equal(codeOf(await ask(service, 'ward', unknown)), '403 ROLE_REQUIRED')
      for (const wrong of [{ token_iss: '' }, { token_iss: 7 }, { scope: undefined }])
        t.equal(codeOf(await ask(service, 'whoami', bearing({ ...foreign, ...wrong }))), '401 TOKEN_INVALID')
    }
  })

  t.test('do not start without a key, and say what to set', async (t) => {
    for (const [command, args] of [
      [python, [join(examples, 'python/service.py')]],
      [program, []],
    ] as const) {
      const { status, stderr } = spawnSync(command, args, {
        env: { ...offline, PORT: '0', IDENTITY_PUBLIC_KEY: '' },
        encoding: 'utf8',
      })
      t.not(status, 0)
      t.match(stderr, 'set IDENTITY_PUBLIC_KEY')
    }
  })
})
