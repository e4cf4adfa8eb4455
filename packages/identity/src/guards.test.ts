import { generateKeyPairSync } from 'node:crypto'
import type { ExecutionContext } from '@nestjs/common'
import type { Identity } from '@sallyport/verify'
import { headersOf } from '@sallyport/verify'
import t from 'tap'
import { createAssertions } from './assertion.ts'
import * as express from './express.ts'
import * as fastify from './fastify.ts'
import * as hono from './hono.ts'
import * as nest from './nest.ts'
import * as node from './node.ts'
import type { Trust } from './trust.ts'

// As PEM: on Node 20 the export of a key object that was generated can wait for itself forever (for a lock it holds).
const publicKeyEncoding = { type: 'spki', format: 'pem' } as const
const privateKeyEncoding = { type: 'pkcs8', format: 'pem' } as const
const { publicKey, privateKey } = generateKeyPairSync('ed25519', { publicKeyEncoding, privateKeyEncoding })
const trust: Trust = { verify: true, publicKeys: [publicKey], audience: 'ward' }
const plain: Trust = { verify: false }
const doctor: Identity = {
  caller: 'user',
  userId: 'user-1',
  email: 'doctor@example.com',
  role: 'doctor',
  roles: ['doctor'],
  sessionId: 'session-1',
}

t.test('no guard is made without a trust that says what to believe', async (t) => {
  const withKeys = (...publicKeys: unknown[]) => ({ ...trust, publicKeys })
  const said: [untrusted: unknown, error: RegExp][] = [
    [undefined, /must be told whom it trusts: \{ verify: true, publicKeys, audience \}.*\{ verify: false \}/],
    [{}, /must be told whom it trusts/],
    [{ verify: 'false' }, /must be told whom it trusts/],
    [{ ...trust, publicKeys: undefined }, /publicKeys is no list of keys.*`openssl pkey -pubout`/],
    [{ ...trust, publicKeys: publicKey }, /publicKeys is no list of keys/],
    [withKeys(), /publicKeys is no list of keys/],
    [
      withKeys(undefined),
      /publicKeys\[0\] is undefined; set IDENTITY_PUBLIC_KEY\..*IDENTITY_PRIVATE_KEY of the gateway/,
    ],
    [withKeys(publicKey, ''), /publicKeys\[1\] holds no PEM/],
    [withKeys('secret'), /publicKeys\[0\] holds no PEM/],
    [withKeys(privateKey), /publicKeys\[0\] is a private key/],
    [withKeys(`${publicKey}${privateKey}`), /publicKeys\[0\] is a private key/],
    [withKeys(publicKey.replace('MCow', 'MCov')), /publicKeys\[0\]: the key must be EC P-256/],
    [{ ...trust, audience: undefined }, /audience is not set/],
    [{ ...trust, audience: '' }, /audience is not set/],
  ]
  for (const { requireIdentity, requireCaller, requireRole, requireScope } of [express, fastify, hono, nest, node])
    for (const [untrusted, error] of said)
      for (const make of [
        () => requireIdentity(untrusted as Trust),
        () => requireCaller(['client'], untrusted as Trust),
        () => requireRole(['doctor'], untrusted as Trust),
        () => requireScope(['read'], untrusted as Trust),
      ])
        t.throws(make, error)
})

t.test('a key whose line breaks are written as \\n, as in an env file, is read', async (t) => {
  const guard = fastify.requireIdentity({ ...trust, publicKeys: [publicKey.replaceAll('\n', '\\n')] })
  await t.resolves(guard({ headers: { 'x-identity-token': createAssertions(privateKey).sign(doctor, 'ward').token } }))
})

t.test('one text in place of a list is refused: each part of it would be a role', async (t) => {
  t.throws(() => fastify.requireRole('doctor' as never, plain), /takes a list, such as \['doctor'\]/)
  t.throws(() => fastify.requireScope('read' as never, plain), /takes a list/)
  t.throws(() => fastify.requireCaller('user' as never, plain), /takes a list/)
  for (const none of [[], [''], [undefined as never]])
    t.throws(() => fastify.requireScope(none, plain), /takes a list of words, and at least one/)
})

t.test('requireUuids takes guards of its own framework', async (t) => {
  t.throws(() => fastify.requireUuids(async () => {}), /takes a guard that was made by a function beside it/)
  t.throws(() => express.requireUuids(node.requireIdentity(plain) as never), /takes a guard that was made/)
})

t.test('a list of assertions, as of a server that keeps doubled headers apart, is invalid', async (t) => {
  const { token } = createAssertions(privateKey).sign(doctor, 'ward')
  await t.rejects(fastify.requireIdentity(trust)({ headers: { 'x-identity-token': [token, token] } }), {
    statusCode: 401,
    code: 'TOKEN_INVALID',
  })
})

t.test('an identity that something else put on a request is not believed', async (t) => {
  const request = { headers: {}, identity: { ...doctor, roles: ['admin'] } }
  await t.rejects(fastify.requireRole(['admin'], plain)(request), { code: 'TOKEN_MISSING' })
})

t.test('called by another framework, a guard throws at once', async (t) => {
  const response = { setHeader() {} } as never
  const next = (() => t.fail('it let pass')) as never
  const request = { headers: headersOf(doctor) } as never
  const ofExpress = express.requireIdentity(plain)
  const ofNode = node.requireIdentity(plain) as (...given: unknown[]) => unknown
  for (const [entry, call] of [
    ['fastify', () => fastify.requireIdentity(plain)(request, response)],
    ['express', () => ofExpress(request, { code() {} } as never, next)],
    ['express', () => ofExpress(request, undefined as never, next)],
    ['express', () => ofExpress(request, response, undefined as never)],
    ['node', () => ofNode(request, response, next)],
    ['node', () => ofNode(request, {})],
    ['hono', () => hono.requireIdentity(plain)(request, next)],
    ['hono', () => hono.requireIdentity(plain)(undefined as never, next)],
  ] as const)
    t.throws(call, new RegExp(`identity/${entry} was called by another framework.*@sallyport/identity/express`))
})

t.test("what goes wrong within a guard is an error of the service's, and no refusal", async (t) => {
  const broken = {
    get headers() {
      throw new Error('broken')
    },
  } as never
  const response = { setHeader() {} } as never
  t.throws(() => node.requireIdentity(plain)(broken, response), /broken/)
  const header = () => {
    throw new Error('broken')
  }
  await t.rejects(
    hono.requireIdentity(plain)({ req: { header } } as never, async () => {}),
    /broken/,
  )
  t.throws(() => nest.requireIdentity(plain).canActivate(contextOf(broken)), /broken/)
})

t.test('a guard of Nest is for HTTP alone', async (t) => {
  const context = contextOf({ headers: headersOf(doctor) }, 'ws')
  t.throws(() => nest.requireIdentity(plain).canActivate(context), /are for HTTP routes/)
})

function contextOf(request: object, type = 'http') {
  return { getType: () => type, switchToHttp: () => ({ getRequest: () => request }) } as ExecutionContext
}
