import { generateKeyPairSync } from 'node:crypto'
import { once } from 'node:events'
import { get } from 'node:http'
import {
  assertionIssuer,
  createAssertions,
  createSigner,
  type Guards,
  headersOf,
  type Identity,
  type Trust,
} from '@sallyport/identity'
import t, { type Test } from 'tap'
import { frameworks } from '../support/frameworks.ts'

// As PEM: on Node 20 the export of a key object that was generated can wait for itself forever (for a lock it holds).
const publicKeyEncoding = { type: 'spki', format: 'pem' } as const
const privateKeyEncoding = { type: 'pkcs8', format: 'pem' } as const
const makeKeys = () => generateKeyPairSync('ec', { namedCurve: 'P-256', publicKeyEncoding, privateKeyEncoding })
const [ours, next, foreign] = [makeKeys(), makeKeys(), makeKeys()]
const audience = 'ward'

const uuid = '0a1b2c3d-0000-4000-8000-000000000000'
const doctor: Identity = {
  caller: 'user',
  userId: 'user-1',
  email: 'doctor@example.com',
  role: 'doctor',
  roles: ['doctor', 'patient'],
  sessionId: 'session-1',
}
const patient: Identity = { ...doctor, role: 'patient', roles: ['patient'] }
const machine: Identity = {
  caller: 'client',
  userId: 'client:lab',
  clientId: 'lab',
  roles: [],
  sessionId: 'key-1',
  scopes: ['ward:read'],
}

/** What every framework serves, by its own guards. */
function routesOf<Guard>(guards: Guards<Guard>, trust: Trust, prefix: string): [path: string, guards: Guard[]][] {
  const { requireCaller, requireIdentity, requireRole, requireScope, requireUuids } = guards
  const anyone = requireCaller(['user', 'client'], trust)
  return [
    [`${prefix}/me`, [requireIdentity(trust)]],
    [`${prefix}/ward`, [requireRole(['doctor', 'admin'], trust)]],
    [`${prefix}/read`, [requireScope(['ward:read'], trust)]],
    [`${prefix}/machine`, [requireCaller(['client'], trust)]],
    [`${prefix}/any-ward`, [anyone, requireRole(['doctor', 'admin'], trust)]],
    [`${prefix}/any-write`, [anyone, requireScope(['ward:write', 'ward:read'], trust)]],
    [`${prefix}/ids`, [requireUuids(anyone)]],
  ]
}

const trusts: [prefix: string, trust: Trust][] = [
  ['/plain', { verify: false }],
  ['/signed', { verify: true, publicKeys: [ours.publicKey], audience }],
  ['/either', { verify: true, publicKeys: [foreign.publicKey, ours.publicKey], audience }],
  ['/one-text', { verify: true, publicKeys: [`${foreign.publicKey}${ours.publicKey}`], audience }],
]

const sign = (identity = doctor, to = audience, { privateKey } = ours) =>
  createAssertions(privateKey).sign(identity, to).token
const bearing = (...tokens: string[]) => tokens.map((token): [string, string] => ['x-identity-token', token])
const plain = (identity: Identity) => Object.entries(headersOf(identity))

/** An assertion that is right but for some claims, or its type. */
function signed(claims: object, typ = 'identity+jwt') {
  const now = Math.floor(Date.now() / 1000)
  const { userId: sub, sessionId: sid, email, role, roles } = doctor
  const right = { iss: assertionIssuer, aud: audience, sub, sid, email, role, roles, iat: now, exp: now + 60 }
  return createSigner(ours.privateKey, typ)({ ...right, ...claims })
}

/** An assertion with its payload changed under the same signature, or with none. */
function bent(change: 'payload' | 'unsigned') {
  const [header, payload, signature] = sign(patient).split('.') as [string, string, string]
  const encode = (part: object) => Buffer.from(JSON.stringify(part)).toString('base64url')
  if (change === 'unsigned') return `${encode({ alg: 'none', typ: 'identity+jwt' })}.${payload}.`
  const claims = JSON.parse(Buffer.from(payload, 'base64url').toString())
  return `${header}.${encode({ ...claims, role: 'doctor', roles: ['doctor'] })}.${signature}`
}

type Refused = [status: 401 | 403, code: string, title: string, challenge?: string]
const missing: Refused = [401, 'TOKEN_MISSING', 'Sign in first', 'Bearer']
const invalid: Refused = [401, 'TOKEN_INVALID', 'The identity assertion is invalid', 'Bearer']
const otherIds: Refused = [401, 'TOKEN_INVALID', 'The identity is of another kind than those known here', 'Bearer']
const noMachines: Refused = [403, 'CALLER_REFUSED', 'This is not for service accounts']
const noPeople: Refused = [403, 'CALLER_REFUSED', 'This is not for people']
const noRole: Refused = [403, 'ROLE_REQUIRED', 'This needs the role doctor or admin']
const noScope = (scope: string): Refused => [
  403,
  'SCOPE_REQUIRED',
  `This needs the scope ${scope}`,
  `Bearer error="insufficient_scope", scope="${scope}"`,
]
const limited: Identity = { ...doctor, scopes: ['ward:write'] }
const known = { userId: uuid, sessionId: uuid }

type Case = [promise: string, path: string, headers: () => [string, string][], expected: Identity | Refused]
const cases: Case[] = [
  ['plain headers say who is calling', '/plain/me', () => plain(doctor), doctor],
  ['no headers are nobody', '/plain/me', () => [], missing],
  ['who is unknown is not forbidden', '/plain/ward', () => [], missing],
  [
    'a gateway of an earlier version does not say that it is a user',
    '/plain/me',
    () => plain(doctor).filter(([name]) => name !== 'x-caller'),
    doctor,
  ],
  ...Object.keys(headersOf(doctor))
    .filter((name) => name !== 'x-caller')
    .map(
      (missed): Case => [
        `without ${missed} nobody is calling`,
        '/plain/me',
        () => plain(doctor).filter(([name]) => name !== missed),
        missing,
      ],
    ),
  ...plain(doctor).map(
    (again): Case => [`${again[0]} twice is nobody`, '/plain/me', () => [...plain(doctor), again], missing],
  ),
  ['a malformed role is nobody', '/plain/ward', () => plain({ ...doctor, roles: ['doctor', 'Admin'] }), missing],
  ['a role opens', '/plain/ward', () => plain(doctor), doctor],
  [
    'any of the roles opens',
    '/plain/ward',
    () => plain({ ...patient, roles: ['patient', 'admin'] }),
    { ...patient, roles: ['patient', 'admin'] },
  ],
  ['without the role it stays closed', '/plain/ward', () => plain(patient), noRole],
  ['a service account is not let in where people are', '/plain/me', () => plain(machine), noMachines],
  ['nor by its scopes', '/plain/read', () => plain(machine), noMachines],
  ['people are not let in where service accounts are', '/plain/machine', () => plain(doctor), noPeople],
  ['a service account is let in where it may be', '/plain/machine', () => plain(machine), machine],
  ['no scope limits a person', '/plain/read', () => plain(doctor), doctor],
  ['but where the token says so', '/plain/read', () => plain(limited), noScope('ward:read')],
  ['after requireCaller a role is asked of service accounts too', '/plain/any-ward', () => plain(machine), noRole],
  ['and people go on', '/plain/any-ward', () => plain(doctor), doctor],
  ['after requireCaller every scope is', '/plain/any-write', () => plain(machine), noScope('ward:write ward:read')],
  ['ids that are UUIDs pass', '/plain/ids', () => plain({ ...doctor, ...known }), { ...doctor, ...known }],
  ['another user id does not', '/plain/ids', () => plain({ ...doctor, sessionId: uuid }), otherIds],
  ['nor another session id', '/plain/ids', () => plain({ ...doctor, userId: uuid }), otherIds],
  [
    'nor one with more around it',
    '/plain/ids',
    () => plain({ ...doctor, ...known, userId: `urn:uuid:${uuid}` }),
    otherIds,
  ],
  ['nobody has no ids', '/plain/ids', () => [], missing],
  ['the id of a service account does not', '/plain/ids', () => plain(machine), otherIds],

  ['an assertion says who is calling', '/signed/me', () => bearing(sign()), doctor],
  ['plain headers are nothing beside it', '/signed/me', () => [...plain(patient), ...bearing(sign())], doctor],
  ['plain headers are nothing without it', '/signed/me', () => plain(doctor), missing],
  ['without it nobody is calling', '/signed/ward', () => [], missing],
  ['for another service it is invalid', '/signed/me', () => bearing(sign(doctor, 'kitchen')), invalid],
  ['expired it is invalid', '/signed/me', () => bearing(signed({ exp: Math.floor(Date.now() / 1000) - 6 })), invalid],
  ['without an end it is invalid', '/signed/me', () => bearing(signed({ exp: undefined })), invalid],
  ['by another issuer it is invalid', '/signed/me', () => bearing(signed({ iss: 'somebody' })), invalid],
  ['an access token is none', '/signed/me', () => bearing(signed({}, 'at+jwt')), invalid],
  ['tampered with it is invalid', '/signed/ward', () => bearing(bent('payload')), invalid],
  ['unsigned it is invalid', '/signed/me', () => bearing(bent('unsigned')), invalid],
  ['by another key it is invalid', '/signed/me', () => bearing(sign(doctor, audience, foreign)), invalid],
  ['doubled it is invalid', '/signed/me', () => bearing(sign(), sign()), invalid],
  ['nonsense is invalid', '/signed/me', () => bearing('nonsense'), invalid],
  ['empty it is invalid', '/signed/me', () => bearing(''), invalid],
  ['its role opens', '/signed/ward', () => bearing(sign()), doctor],
  ['without the role it does not', '/signed/ward', () => bearing(sign(patient)), noRole],
  ['a signed service account is one', '/signed/machine', () => bearing(sign(machine)), machine],
  ['while the key is replaced it may be by the old one', '/either/me', () => bearing(sign()), doctor],
  ['or by the new one', '/either/me', () => bearing(sign(doctor, audience, foreign)), doctor],
  ['but by no third', '/either/me', () => bearing(sign(doctor, audience, next)), invalid],
  ['both keys may stand in one text', '/one-text/me', () => bearing(sign()), doctor],
]

const server = (t: Test, framework: (typeof frameworks)[keyof typeof frameworks]) =>
  framework(t, (guards) => trusts.flatMap(([prefix, trust]) => routesOf(guards, trust, prefix)))

for (const [name, framework] of Object.entries(frameworks))
  t.test(`with ${name}`, async (t) => {
    const origin = await server(t, framework)
    for (const [promise, path, headers, expected] of cases)
      t.strictSame(await request(origin + path, headers()), responseOf(expected), promise)
  })

function responseOf(expected: Identity | Refused) {
  if (!Array.isArray(expected)) return { status: 200, challenge: undefined, type: 'application/json', body: expected }
  const [status, code, title, challenge] = expected
  const type = `urn:sallyport:problem:${code.toLowerCase().replace('_', '-')}`
  return { status, challenge, type: 'application/problem+json', body: { type, title, status, code, error: title } }
}

/** A request with headers as they are, one twice where it stands twice. */
async function request(url: string, headers: [string, string][]) {
  const sent = get(url, { agent: false, headers: ['host', new URL(url).host, ...headers.flat()] })
  const [response] = await once(sent, 'response')
  const body = JSON.parse(Buffer.concat(await response.toArray()).toString())
  const { 'www-authenticate': challenge, 'content-type': type } = response.headers
  return { status: response.statusCode, challenge, type: type.split(';')[0], body }
}
