import { Problem, unavailable } from '@sallyport/verify'
import type { FastifyBaseLogger } from 'fastify'
import t, { type Test } from 'tap'
import Type from 'typebox'
import { createApplication, noteProblem } from './application.ts'
import { createLogger } from './logging.ts'

const securityHeaders = {
  'x-content-type-options': 'nosniff',
  'cache-control': 'no-store',
  'referrer-policy': 'no-referrer',
  'content-security-policy': /default-src 'none'/,
  'cross-origin-resource-policy': 'same-site',
}

/** A small service, with what it logged. */
function serve(t: Test, options: Partial<Parameters<typeof createApplication>[0]> = {}) {
  const lines: Record<string, unknown>[] = []
  const logger = createLogger('test', 'info', { write: (line) => lines.push(JSON.parse(line)) }) as FastifyBaseLogger
  const app = createApplication({ logger, production: false, trustedProxies: [], bodyLimit: 1000, ...options })
  t.teardown(() => app.close())
  const body = Type.Object({
    name: Type.String({ minLength: 1 }),
    age: Type.Optional(Type.Integer()),
    pet: Type.Optional(Type.Object({ name: Type.String() })),
  })
  app.post('/people', { schema: { body } }, async (request) => request.body)
  const change = Type.Object({ name: Type.Optional(Type.String()) }, { minProperties: 1 })
  const headers = Type.Object({ 'x-attempt': Type.Optional(Type.String({ minLength: 2 })) })
  app.patch('/pets', { schema: { body: change, headers } }, async ({ body, ip, headers }) => ({ body, ip, headers }))
  const pet = Type.Object({ id: Type.String({ format: 'uuid' }), born: Type.String({ format: 'date-time' }) })
  app.post('/pets', { schema: { body: pet } }, async (request) => request.body)
  app.get('/people/:id', async (request) => ({ ip: request.ip, id: request.id }))
  app.delete('/people/:id', async (_request, reply) => reply.code(204).send())
  app.get('/gone', async (_request, reply) => reply.callNotFound())
  app.get('/cached', async (_request, reply) => reply.header('cache-control', 'max-age=60').send('kept'))
  return { app, lines }
}

/** A service whose only route throws this. */
function serveThrowing(t: Test, error: unknown, isOutage?: (error: unknown) => boolean) {
  const { app, lines } = serve(t, isOutage ? { isOutage } : {})
  app.get('/fault', async () => {
    throw error
  })
  return { response: app.inject('/fault'), lines }
}

t.test('a line says which service account is calling, and everybody who acts for whom', async (t) => {
  const { app, lines } = serve(t)
  const act = { sub: 'client:a', sid: 'key-a', grant: 'grant-a', act: { sub: 'admin-1', sid: 'session-1' } }
  let identity: object = {}
  app.get('/refused', async (request) => {
    Object.assign(request, { identity })
    throw new Problem(403, `OF_ITS_OWN`, 'No')
  })
  for (identity of [{ userId: 'user-1' }, { userId: 'user-1', act }, { userId: 'client:b', clientId: 'b' }])
    await app.inject('/refused')
  t.strictSame(
    lines.map(({ client, act }) => ({ client, act })),
    [
      { client: undefined, act: undefined },
      { client: undefined, act },
      { client: 'b', act: undefined },
    ],
  )
})

t.test('every response carries the security headers, whatever became of the request', async (t) => {
  const { app } = serve(t)
  for (const url of ['/people/1', '/nowhere', '/people/%zz', `/people/${'x'.repeat(500)}`])
    t.match((await app.inject(url)).headers, securityHeaders, url.slice(0, 20))
  t.equal((await app.inject('/cached')).headers['cache-control'], 'max-age=60', 'unless a route knows better')
})

t.test('browsers are held to HTTPS in production, and only there', async (t) => {
  const hsts = 'strict-transport-security'
  t.equal((await serve(t).app.inject('/people/1')).headers[hsts], undefined)
  const production = serve(t, { production: true }).app
  for (const url of ['/people/1', '/people/%zz']) t.match((await production.inject(url)).headers[hsts], /^max-age=/)
})

t.test('what is not there is 404, as a problem', async (t) => {
  const response = await serve(t).app.inject('/nowhere?x=1')
  t.equal(response.statusCode, 404)
  t.equal(response.headers['content-type'], 'application/problem+json')
  t.match(response.json(), { type: 'urn:sallyport:problem:not-found', status: 404, code: 'NOT_FOUND', error: String })
})

t.test('a method that a path does not take is 405 with those it does', async (t) => {
  const { app } = serve(t)
  const response = await app.inject({ method: 'PUT', url: '/people/1?x=1' })
  t.equal(response.statusCode, 405)
  t.equal(response.headers.allow, 'GET, HEAD, DELETE')
  t.match(response.json(), { code: 'METHOD_NOT_ALLOWED' })
  const long = await app.inject({ method: 'PUT', url: `/people/${'x'.repeat(150)}` })
  t.equal(long.statusCode, 405, 'also where the parameter is long')
  t.equal((await app.inject('/gone')).statusCode, 404, 'where the method is right, what was asked for is not there')
})

t.test('a method that nothing here takes is 405 whatever comes with it', async (t) => {
  const { app } = serve(t, { bodyLimit: 10 })
  for (const method of ['QUERY', 'PROPFIND', 'PUT', 'TRACE', 'OPTIONS'] as const)
    for (const headers of [{}, { 'content-type': 'text/plain' }, { 'content-type': ';' }] as Record<string, string>[])
      for (const payload of ['', 'x'.repeat(100)]) {
        const response = await app.inject({ method: method as 'PUT', url: '/pets', headers, payload })
        t.match(response, { statusCode: 405, headers: { ...securityHeaders, allow: 'POST, PATCH' } }, method)
        t.equal((await app.inject({ method: method as 'PUT', url: '/nowhere', headers, payload })).statusCode, 404)
      }
})

t.test('a schema for headers checks them and takes none away', async (t) => {
  const { app } = serve(t, { trustedProxies: ['127.0.0.1'] })
  const patch = (headers: Record<string, string>) =>
    app.inject({ method: 'PATCH', url: '/pets', payload: { name: 'Rex' }, headers })
  const headers = { 'x-forwarded-for': '203.0.113.9', 'user-agent': 'Lynx', 'x-attempt': 'one' }
  t.match((await patch(headers)).json(), { ip: '203.0.113.9', headers })
  t.equal((await patch({ 'x-attempt': '1' })).statusCode, 400)
})

t.test('a path that cannot be read is 400, one with a parameter beyond measure 414', async (t) => {
  const { app } = serve(t)
  const bad = await app.inject('/people/%zz')
  t.equal(bad.statusCode, 400)
  t.match(bad.json(), { code: 'PATH_INVALID' })
  const long = await app.inject(`/people/${'x'.repeat(1_365)}`)
  t.equal(long.statusCode, 414)
  t.match(long.json(), { code: 'PATH_INVALID' })
})

t.test('bodies', async (t) => {
  const { app } = serve(t)
  const post = async (payload: string, type = 'application/json') => {
    const response = await app.inject({ method: 'POST', url: '/people', payload, headers: { 'content-type': type } })
    return { status: response.statusCode, ...response.json() }
  }

  t.test('arrive as sent', async (t) => {
    t.strictSame(await post('{"name":"Ada","age":36}'), { status: 200, name: 'Ada', age: 36 })
    t.match(await post('{"name":"Ada"}', 'application/json; charset=utf-8'), { status: 200 })
  })

  t.test('lose what the schema does not name, at every depth', async (t) => {
    const sent = '{"name":"Ada","admin":true,"pet":{"name":"Rex","owner":"Eve"}}'
    t.strictSame(await post(sent), { status: 200, name: 'Ada', pet: { name: 'Rex' } })
  })

  t.test('in which nothing is left that the route knows are rejected', async (t) => {
    const patch = async (payload: object) => (await app.inject({ method: 'PATCH', url: '/pets', payload })).statusCode
    t.equal(await patch({ name: 'Rex' }), 200)
    t.equal(await patch({ name: 'Rex', owner: 'Eve' }), 200)
    for (const payload of [{}, { owner: 'Eve' }, { Name: 'Rex' }]) t.equal(await patch(payload), 400)
  })

  t.test('have ids and times as the database takes them', async (t) => {
    const [id, born] = ['0a1b2c3d-0000-4000-8000-000000000000', '2026-11-25T09:00:00Z']
    const post = async (payload: object) => (await app.inject({ method: 'POST', url: '/pets', payload })).statusCode
    t.equal(await post({ id, born }), 200)
    for (const change of [{ id: `urn:uuid:${id}` }, { id: id.toUpperCase() }, { born: '2016-12-31T23:59:60Z' }])
      t.equal(await post({ id, born, ...change }), 400, JSON.stringify(change))
  })

  t.test('are not coerced into shape, and the response says what is wrong', async (t) => {
    t.match(await post('{"name":"Ada","age":"36"}'), { status: 400, code: 'REQUEST_INVALID', detail: /age/ })
    for (const body of ['{"name":7}', '{"name":["Ada"]}', '{"name":null}', '{"name":""}', '{}', '[]', '"Ada"', 'null'])
      t.match(await post(body), { status: 400, code: 'REQUEST_INVALID' }, body)
  })

  t.test('cannot reach a prototype', async (t) => {
    for (const body of [
      '{"name":"Ada","__proto__":{"admin":true}}',
      '{"name":"Ada","\\u005f_proto__":{"admin":true}}',
      '{"name":"Ada","constructor":{"prototype":{"admin":true}}}',
      '{"name":"Ada","pet":{"name":"Rex","__proto__":{"admin":true}}}',
    ])
      t.match(await post(body), { status: 400, code: 'BODY_MALFORMED' }, body)
    t.equal(({} as { admin?: boolean }).admin, undefined)
  })

  t.test('that are no JSON are 400', async (t) => {
    for (const body of ['{"name":', '{name:1}', 'name=Ada', ' '])
      t.match(await post(body), { status: 400, code: 'BODY_MALFORMED' }, body)
  })

  t.test('may be announced and not come, where none is needed', async (t) => {
    const headers = { 'content-type': 'application/json' }
    t.equal((await app.inject({ method: 'DELETE', url: '/people/1', headers })).statusCode, 204)
    t.match(await post(''), { status: 400, code: 'REQUEST_INVALID' })
  })

  t.test('in other media types are 415', async (t) => {
    for (const type of ['text/plain', 'application/x-www-form-urlencoded', 'application/xml', 'application/jsonp', ';'])
      t.match(await post('{"name":"Ada"}', type), { status: 415, code: 'MEDIA_TYPE_UNSUPPORTED' }, type)
  })

  t.test('over the limit are 413', async (t) => {
    t.match(await post(JSON.stringify({ name: 'x'.repeat(1000) })), { status: 413, code: 'BODY_TOO_LARGE' })
  })
})

t.test('what was thrown and nobody foresaw is 500, and only the log says what', async (t) => {
  for (const error of [
    new Error('hush'),
    new Error('outer hush', { cause: new Error('hush') }),
    'hush',
    null,
    undefined,
  ]) {
    const { response, lines } = serveThrowing(t, error)
    const { statusCode, headers, body } = await response
    t.equal(statusCode, 500, String(error))
    t.match(JSON.parse(body), { code: 'INTERNAL', title: 'Something went wrong' })
    t.notOk(body.includes('hush') || JSON.stringify(headers).includes('hush'))
    t.match(lines.at(-1), { level: 'error', event: 'request_failed', status: 500, req: { path: '/fault' } })
    if (error) t.match(JSON.stringify(lines.at(-1)), /hush/)
  }
})

t.test('an outage is 503 with Retry-After, and nothing else is', async (t) => {
  const outage = new Error('hush')
  const down = await serveThrowing(t, outage, (error) => error === outage).response
  t.equal(down.statusCode, 503)
  t.equal(down.headers['retry-after'], '1')
  t.match(down.json(), { code: 'UNAVAILABLE', detail: 'Nothing has changed. Try again shortly.' })
  t.equal((await serveThrowing(t, new Error('x'), (error) => error === outage).response).statusCode, 500)
  t.equal((await serveThrowing(t, unavailable('the keys are not there')).response).statusCode, 503)
})

t.test('a problem is sent as it is, with its headers, and its cause is for the log', async (t) => {
  const refused = (cause?: unknown) =>
    new Problem(401, 'TOKEN_INVALID', 'No', { headers: { 'x-why': 'because' }, cause })
  const { response, lines } = serveThrowing(t, refused('not a JWT'))
  const { statusCode, headers, body } = await response
  t.equal(statusCode, 401)
  t.match(headers, { 'www-authenticate': 'Bearer', 'x-why': 'because' })
  t.notOk(body.includes('JWT'))
  t.match(lines.at(-1), { level: 'info', code: 'TOKEN_INVALID', why: 'not a JWT', ip: '127.0.0.1' })
  const error = serveThrowing(t, refused(new Error('bad signature')))
  await error.response
  t.match(error.lines.at(-1), { why: 'bad signature' })
  const silent = serveThrowing(t, refused())
  await silent.response
  t.notOk('why' in (silent.lines.at(-1) ?? {}))
})

t.test('requests that went well leave no line of their own', async (t) => {
  const { app, lines } = serve(t)
  await app.inject('/people/1')
  t.strictSame(lines, [])
})

t.test('the client’s address is believed only from a trusted proxy', async (t) => {
  const ask = async (trustedProxies: string[], remoteAddress: string) => {
    const { app } = serve(t, { trustedProxies })
    const headers = { 'x-forwarded-for': '192.0.2.66, 203.0.113.9' }
    return (await app.inject({ url: '/people/1', remoteAddress, headers })).json().ip
  }
  t.equal(await ask([], '10.0.0.1'), '10.0.0.1')
  t.equal(await ask(['10.0.0.0/8'], '10.0.0.1'), '203.0.113.9')
  t.equal(await ask(['10.0.0.0/8'], '198.51.100.7'), '198.51.100.7')
})

t.test('a request keeps the id the gateway gave it, within bounds, or gets one', async (t) => {
  const { app } = serve(t)
  const ask = async (headers: Record<string, string>) => (await app.inject({ url: '/people/1', headers })).json().id
  t.equal(await ask({ 'x-request-id': 'request-1' }), 'request-1')
  t.equal(await ask({ 'x-request-id': 'x'.repeat(1000) }), 'x'.repeat(64))
  t.match(await ask({}), /^[0-9a-f-]{36}$/)
})

t.test('a flood of refusals has a few lines, and a count of the rest', async (t) => {
  const code = 'FLOODED_HERE'
  const logged: Record<string, unknown>[] = []
  const write = (line: string) => logged.push(JSON.parse(line))
  const logger = createLogger('test', 'info', { write })
  const request = { id: '1', method: 'GET', url: '/x', ip: '192.0.2.1' }
  const fail = (status: number, name: string, times: number) => {
    for (let count = 0; count < times; count++)
      t.equal(
        noteProblem(new Problem(status, name, 'No'), request, logger).code,
        name,
        'it gets a response all the same',
      )
  }
  const linesOf = (name: string) =>
    logged.filter((line) => line.code === name && line.event === 'request_failed').length

  fail(404, code, 25)
  fail(502, 'FLOODED_BEHIND', 120)
  t.equal(linesOf(code), 10)
  t.equal(linesOf('FLOODED_BEHIND'), 100, 'what fails has more')
  const countsAre = async (number: number) => {
    const counts = () => logged.filter(({ event }) => event === 'requests_failed')
    // Their timers hold no process up: this one does.
    for (let wait = 0; counts().length < number && wait < 500; wait++) await new Promise((go) => setTimeout(go, 20))
    return counts()
  }
  t.match(await countsAre(2), [
    { level: 'warn', code, left_out: 15 },
    { level: 'warn', code: 'FLOODED_BEHIND', left_out: 20 },
  ])
  fail(404, code, 3)
  fail(404, 'FLOODED_AGAIN', 11)
  t.equal(linesOf(code), 13, 'the next second has lines of its own')
  t.match(
    (await countsAre(3)).slice(2),
    [{ code: 'FLOODED_AGAIN', left_out: 1 }],
    'where all have a line, none says so',
  )
})
