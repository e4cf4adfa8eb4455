import { randomUUID } from 'node:crypto'
import { readFileSync } from 'node:fs'
import { setTimeout as sleep } from 'node:timers/promises'
import { createAssertions } from '@sallyport/identity'
import t from 'tap'
import { Pool } from 'undici'
import { each } from '../support/edge.ts'
import { claimsOf, demoPassword, openSystem, signIn } from '../support/system.ts'

interface TestRequest {
  what: string
  method: 'GET' | 'POST' | 'PATCH' | 'DELETE'
  path: string
  headers?: Record<string, string>
  body?: unknown
}

/** A text as the bytes of a header line, without those that end one. */
function asHeader(text: string): string {
  return Buffer.from(text)
    .toString('latin1')
    .replace(/[\0-\x1f\x7f]/g, '')
}

const folder = process.env.VECTORS_DIR
t.test(
  'nothing that is sent to the auth service is too much for it',
  { skip: folder === undefined && 'set VECTORS_DIR to the folder of the corpora (json_bodies.json, blns.json)' },
  async (t) => {
    const read = (file: string) => JSON.parse(readFileSync(`${folder}/${file}`, 'utf8'))
    const texts: string[] = read('blns.json')
    const bodies: { id: string; raw_b64: string }[] = read('json_bodies.json').cases
    t.ok(texts.length >= 515 && bodies.length >= 318)

    const { gateway, auth, secrets } = await openSystem(t, {
      LOGIN_RATE_LIMIT_MAX: '1000000',
      RATE_LIMIT_MAX: '1000000',
      LOG_LEVEL: 'error',
    })
    const admin = await signIn(gateway, 'admin@example.com')
    const patient = await signIn(gateway, 'patient@example.com')
    const { sub: userId, sid: sessionId } = claimsOf(patient.accessToken as string) as { sub: string; sid: string }
    const assertions = createAssertions(secrets.IDENTITY_PRIVATE_KEY as string)
    const identity = {
      caller: 'user' as const,
      userId,
      sessionId,
      email: 'patient@example.com',
      role: 'patient',
      roles: ['patient'],
    }

    const pools = {
      gateway: new Pool(gateway, { connections: 16 }),
      auth: new Pool(auth, { connections: 16 }),
    }
    t.teardown(() => Promise.all([pools.gateway.close(), pools.auth.close()]))
    const signedIn = { authorization: `Bearer ${admin.accessToken}` }

    /** The status and the code. A 5xx fails the test, whatever the request. */
    async function send({ what, method, path, headers = {}, body }: TestRequest, to: Pool = pools.gateway) {
      const content = body === undefined || Buffer.isBuffer(body) ? body : JSON.stringify(body)
      const attempt = async () => {
        const response = await to.request({
          method,
          path,
          headers: { ...(content === undefined ? {} : { 'content-type': 'application/json' }), ...headers },
          body: content ?? null,
        })
        return Object.assign(response, { text: await response.body.text() })
      }
      let response = await attempt()
      // A login that is shed is tried again: more passwords come here at once than are checked in a second.
      while (response.text.includes('LOGIN_BUSY')) {
        await sleep(200)
        response = await attempt()
      }
      const { text } = response
      const code: string | undefined = /"code":"(\w+)"/.exec(text)?.[1]
      if (response.statusCode >= 500)
        t.fail(`${what}: ${method} ${path} ${response.statusCode}`, { text, headers, body })
      if (response.statusCode >= 400 && code === undefined)
        t.fail(`${what}: ${response.statusCode} without a code`, { text })
      return { status: response.statusCode, code }
    }
    /** Past the gateway, as the gateway would have sent it. */
    const sendDirectly = (request: TestRequest) => {
      const proof = { 'x-identity-token': assertions.sign(identity, 'auth').token }
      return send({ ...request, headers: { ...proof, ...request.headers } }, pools.auth)
    }

    await t.test('JSON: what is well-formed is read, what is not is 400', async (t) => {
      const endpoints: [method: TestRequest['method'], path: string, wants: 'a body' | 'none'][] = [
        ['POST', '/api/auth/login', 'a body'],
        ['POST', '/api/auth/password', 'a body'],
        ['PATCH', `/api/admin/users/${userId}`, 'a body'],
        ['POST', '/api/auth/refresh', 'none'],
        ['POST', '/api/auth/logout', 'none'],
        ['DELETE', `/api/auth/sessions/${randomUUID()}`, 'none'],
        ['DELETE', `/api/admin/users/${randomUUID()}/sessions`, 'none'],
      ]
      let judged = 0
      const judge = async (request: TestRequest, wants: 'a body' | 'none', via: typeof sendDirectly) => {
        const { status, code } = await via(request)
        judged += 1
        const isRejected = code === 'BODY_MALFORMED' || code === 'BODY_TOO_LARGE'
        const what = `${request.what} at ${request.method} ${request.path}: ${status} ${code}`
        const isEmpty = (request.body as Buffer).length === 0
        if (request.what.startsWith('n_') && !isEmpty && !isRejected) t.fail(what)
        if (request.what.startsWith('y_') && isRejected) t.fail(what)
        // None of them is a login or a password; that an update of a user names nothing to change is allowed.
        if (wants === 'a body' && request.method === 'POST' && ![400, 413].includes(status)) t.fail(what)
      }
      await each(
        endpoints.flatMap(([method, path, wants]) => bodies.map((body) => ({ method, path, wants, ...body }))),
        ({ method, path, wants, id, raw_b64: encoded }) => {
          const isPublic = /login|refresh|logout/.test(path)
          const request = {
            what: id,
            method,
            path,
            headers: isPublic ? {} : signedIn,
            body: Buffer.from(encoded, 'base64'),
          }
          return judge(request, wants, send)
        },
      )
      // By itself, since at the gateway the first of them would end the session that the rest needs.
      await each(bodies, ({ id, raw_b64: encoded }) => {
        const body = Buffer.from(encoded, 'base64')
        if (body.length > 16 * 1024) return Promise.resolve()
        return judge({ what: id, method: 'POST', path: '/api/auth/logout-all', body }, 'none', sendDirectly)
      })
      t.ok(judged > bodies.length * endpoints.length)
    })

    await t.test('naughty strings as values, names, parts of paths, queries and headers', async (t) => {
      // A hash takes 40 ms: those that a hash or a database may stumble over, and some of the others.
      const isOdd = (text: string, at: number) => /[^ -~]/.test(text) || at % 12 === 0
      const codes = new Map<string, number>()
      const requests = texts.flatMap((text, at): TestRequest[] => {
        const part = encodeURIComponent(text)
        const line = asHeader(text)
        const request = (method: TestRequest['method'], path: string, more: Partial<TestRequest> = {}) => [
          { what: text, method, path, headers: signedIn, ...more },
        ]
        const always = [
          request('POST', '/api/auth/login', { body: { email: text, password: isOdd(text, at) ? text : 7 } }),
          request('POST', '/api/auth/password', { body: { currentPassword: text, newPassword: text } }),
          request('PATCH', `/api/admin/users/${randomUUID()}`, { body: { [text]: text, roles: [text] } }),
          request('DELETE', `/api/auth/sessions/${part}`),
          request('GET', `/api/admin/users?email=${part}`),
          request('GET', '/api/auth/me', { headers: { authorization: `Bearer ${line}` } }),
          request('POST', '/api/auth/refresh', { headers: { cookie: `refreshToken=${line}`, 'user-agent': line } }),
        ]
        if (!isOdd(text, at)) return always.flat()
        const attempt = line.padEnd(16, '.')
        return [
          ...always,
          request('PATCH', `/api/admin/users/${part}`, { body: { disabled: true } }),
          request('DELETE', `/api/admin/users/${part}/sessions`),
          request('GET', `/api/admin/users?limit=${part}`),
          request('GET', `/api/admin/users?cursor=${part}&${part}=1`),
          request('GET', `/api/auth/me?${part}`),
          request('GET', `/.well-known/${part}`),
          request('POST', '/api/auth/login', { body: text }),
          request('POST', '/api/auth/login', { body: {}, headers: { 'content-type': line } }),
          request('POST', '/api/auth/logout', { headers: { cookie: `refreshToken=${line}` } }),
          request('POST', '/api/auth/logout', { headers: { origin: line } }),
          request('POST', '/api/auth/logout', { headers: { 'sec-fetch-site': line } }),
          request('POST', '/api/auth/refresh', {
            headers: { cookie: `${line};refreshToken="x"`, 'x-refresh-attempt': attempt },
          }),
        ].flat()
      })
      await each(requests, async (request) => {
        const { status, code } = await send(request)
        const key = `${status} ${code ?? ''}`
        codes.set(key, (codes.get(key) ?? 0) + 1)
      })
      // What a trusted proxy says of the client's address is recorded with each event.
      await each(texts, async (text) => {
        const line = asHeader(text)
        const headers = { 'x-forwarded-for': line, 'x-request-id': line, 'user-agent': line }
        await sendDirectly({ what: text, method: 'POST', path: '/api/auth/logout-all', headers })
      })
      await each(texts.filter(isOdd), async (text) => {
        const headers = { authorization: `Bearer ${asHeader(text)}` }
        await send({ what: text, method: 'GET', path: '/internal/revocations', headers }, pools.auth)
      })
      t.comment(Object.fromEntries(codes))
      t.ok((codes.get('401 AUTH_INVALID_CREDENTIALS') ?? 0) > 100, 'many came as far as the database and the hash')
    })

    await t.test('and afterwards everything is as it was', async (t) => {
      t.equal((await signIn(gateway, 'doctor@example.com')).accessToken?.split('.').length, 3)
      t.equal((await admin.login('admin@example.com', demoPassword)).status, 200)
    })
  },
)
