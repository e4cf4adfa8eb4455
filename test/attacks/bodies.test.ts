import { randomUUID } from 'node:crypto'
import { readFileSync } from 'node:fs'
import { setTimeout as sleep } from 'node:timers/promises'
import { createAssertions } from '@sallyport/identity'
import t from 'tap'
import { Pool } from 'undici'
import { each } from '../support/edge.ts'
import { claimsOf, demoPassword, openSystem, signIn } from '../support/system.ts'

interface Call {
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
    const identity = { userId, sessionId, email: 'patient@example.com', role: 'patient', roles: ['patient'] }

    const pools = {
      gateway: new Pool(gateway, { connections: 16 }),
      auth: new Pool(auth, { connections: 16 }),
    }
    t.teardown(() => Promise.all([pools.gateway.close(), pools.auth.close()]))
    const signedIn = { authorization: `Bearer ${admin.accessToken}` }

    /** The status and the code. A 5xx fails the test, whatever asked for it. */
    async function send({ what, method, path, headers = {}, body }: Call, to: Pool = pools.gateway) {
      const content = body === undefined || Buffer.isBuffer(body) ? body : JSON.stringify(body)
      const ask = async () => {
        const answer = await to.request({
          method,
          path,
          headers: { ...(content === undefined ? {} : { 'content-type': 'application/json' }), ...headers },
          body: content ?? null,
        })
        return Object.assign(answer, { text: await answer.body.text() })
      }
      let answer = await ask()
      // Who is asked to come again does so: more passwords come here at once than are checked in a second.
      while (answer.text.includes('LOGIN_BUSY')) {
        await sleep(200)
        answer = await ask()
      }
      const { text } = answer
      const code: string | undefined = /"code":"(\w+)"/.exec(text)?.[1]
      if (answer.statusCode >= 500) t.fail(`${what}: ${method} ${path} ${answer.statusCode}`, { text, headers, body })
      if (answer.statusCode >= 400 && code === undefined)
        t.fail(`${what}: ${answer.statusCode} without a code`, { text })
      return { status: answer.statusCode, code }
    }
    /** Past the gateway, as it would have sent it. */
    const sendDirectly = (call: Call) => {
      const proof = { 'x-identity-token': assertions.sign(identity, 'auth').token }
      return send({ ...call, headers: { ...proof, ...call.headers } }, pools.auth)
    }

    await t.test('JSON: what is well-formed is read, what is not is 400', async (t) => {
      const endpoints: [method: Call['method'], path: string, wants: 'a body' | 'none'][] = [
        ['POST', '/api/auth/login', 'a body'],
        ['POST', '/api/auth/password', 'a body'],
        ['PATCH', `/api/admin/users/${userId}`, 'a body'],
        ['POST', '/api/auth/refresh', 'none'],
        ['POST', '/api/auth/logout', 'none'],
        ['DELETE', `/api/auth/sessions/${randomUUID()}`, 'none'],
        ['DELETE', `/api/admin/users/${randomUUID()}/sessions`, 'none'],
      ]
      let judged = 0
      const judge = async (call: Call, wants: 'a body' | 'none', ask: typeof sendDirectly) => {
        const { status, code } = await ask(call)
        judged += 1
        const isRefused = code === 'BODY_MALFORMED' || code === 'BODY_TOO_LARGE'
        const what = `${call.what} at ${call.method} ${call.path}: ${status} ${code}`
        const isNothing = (call.body as Buffer).length === 0
        if (call.what.startsWith('n_') && !isNothing && !isRefused) t.fail(what)
        if (call.what.startsWith('y_') && isRefused) t.fail(what)
        // None of them is a login or a password; that a change of a user names nothing to change is allowed.
        if (wants === 'a body' && call.method === 'POST' && ![400, 413].includes(status)) t.fail(what)
      }
      await each(
        endpoints.flatMap(([method, path, wants]) => bodies.map((body) => ({ method, path, wants, ...body }))),
        ({ method, path, wants, id, raw_b64: encoded }) => {
          const isPublic = /login|refresh|logout/.test(path)
          const call = {
            what: id,
            method,
            path,
            headers: isPublic ? {} : signedIn,
            body: Buffer.from(encoded, 'base64'),
          }
          return judge(call, wants, send)
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
      const calls = texts.flatMap((text, at): Call[] => {
        const part = encodeURIComponent(text)
        const line = asHeader(text)
        const call = (method: Call['method'], path: string, more: Partial<Call> = {}) => [
          { what: text, method, path, headers: signedIn, ...more },
        ]
        const always = [
          call('POST', '/api/auth/login', { body: { email: text, password: isOdd(text, at) ? text : 7 } }),
          call('POST', '/api/auth/password', { body: { currentPassword: text, newPassword: text } }),
          call('PATCH', `/api/admin/users/${randomUUID()}`, { body: { [text]: text, roles: [text] } }),
          call('DELETE', `/api/auth/sessions/${part}`),
          call('GET', `/api/admin/users?email=${part}`),
          call('GET', '/api/auth/me', { headers: { authorization: `Bearer ${line}` } }),
          call('POST', '/api/auth/refresh', { headers: { cookie: `refreshToken=${line}`, 'user-agent': line } }),
        ]
        if (!isOdd(text, at)) return always.flat()
        const attempt = line.padEnd(16, '.')
        return [
          ...always,
          call('PATCH', `/api/admin/users/${part}`, { body: { disabled: true } }),
          call('DELETE', `/api/admin/users/${part}/sessions`),
          call('GET', `/api/admin/users?limit=${part}`),
          call('GET', `/api/admin/users?cursor=${part}&${part}=1`),
          call('GET', `/api/auth/me?${part}`),
          call('GET', `/.well-known/${part}`),
          call('POST', '/api/auth/login', { body: text }),
          call('POST', '/api/auth/login', { body: {}, headers: { 'content-type': line } }),
          call('POST', '/api/auth/logout', { headers: { cookie: `refreshToken=${line}` } }),
          call('POST', '/api/auth/logout', { headers: { origin: line } }),
          call('POST', '/api/auth/logout', { headers: { 'sec-fetch-site': line } }),
          call('POST', '/api/auth/refresh', {
            headers: { cookie: `${line};refreshToken="x"`, 'x-refresh-attempt': attempt },
          }),
        ].flat()
      })
      await each(calls, async (call) => {
        const { status, code } = await send(call)
        const key = `${status} ${code ?? ''}`
        codes.set(key, (codes.get(key) ?? 0) + 1)
      })
      // What a trusted proxy says of the client's address is written down with each event.
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
