import { Refusal } from '@sallyport/identity'
import { Problem, unavailable } from '@sallyport/verify'
import t from 'tap'
import { toProblem } from './problem.ts'

t.test('a problem reads as RFC 9457 and repeats its title as `error`', async (t) => {
  t.strictSame(new Problem(404, 'NOT_FOUND', 'There is nothing here').body(), {
    type: 'urn:sallyport:problem:not-found',
    title: 'There is nothing here',
    status: 404,
    code: 'NOT_FOUND',
    error: 'There is nothing here',
  })
})

t.test('details and further members are shown, the cause is not', async (t) => {
  const options = { detail: 'Sign in again.', members: { reason: 'logout' }, cause: new Error('hush') }
  const problem = new Problem(401, 'SESSION_ENDED', 'The session has ended', options)
  t.match(problem.body(), { detail: 'Sign in again.', reason: 'logout' })
  t.notOk(JSON.stringify(problem.body()).includes('hush'))
  t.match(problem.cause, { message: 'hush' })
})

t.test('every 401 challenges, and may say more', async (t) => {
  t.strictSame(new Problem(401, 'TOKEN_MISSING', 'x').headers, { 'www-authenticate': 'Bearer' })
  const headers = { 'www-authenticate': 'Bearer error="invalid_token"' }
  t.strictSame(new Problem(401, 'TOKEN_INVALID', 'x', { headers }).headers, headers)
  t.strictSame(new Problem(403, 'ROLE_REQUIRED', 'x').headers, {})
})

t.test('what cannot be served just now says when to try again', async (t) => {
  const problem = unavailable(new Error('hush'))
  t.match(problem, { statusCode: 503, code: 'UNAVAILABLE', headers: { 'retry-after': '1' } })
})

t.test('an error that names a 4xx status and a code of ours is shown as it is', async (t) => {
  const guard = Object.assign(new Error('Sign in first'), { statusCode: 401, code: 'TOKEN_MISSING' })
  t.match(toProblem(guard), { statusCode: 401, code: 'TOKEN_MISSING', message: 'Sign in first' })
  t.match(toProblem({ statusCode: 429, code: 'RATE_LIMITED' }), { message: 'RATE_LIMITED' })
  const problem = new Problem(409, 'TAKEN', 'That is taken')
  t.equal(toProblem(problem), problem)
})

t.test('a refusal of a guard reads the same in a service of ours as in any framework', async (t) => {
  const headers = { 'www-authenticate': 'Bearer error="insufficient_scope", scope="read"' }
  for (const refusal of [
    new Refusal(401, 'TOKEN_MISSING', 'Sign in first'),
    new Refusal(403, 'ROLE_REQUIRED', 'This needs the role admin'),
    new Refusal(403, 'SCOPE_REQUIRED', 'This needs the scope read', headers),
  ]) {
    t.strictSame(toProblem(refusal).body(), refusal.problem)
    t.strictSame(toProblem(refusal).headers, refusal.headers)
  }
})

t.test('whatever else was thrown is a 500 that says nothing of it', async (t) => {
  const thrown: unknown[] = [
    new Error('hush'),
    Object.assign(new Error('hush'), { code: 'ECONNREFUSED', statusCode: 400 }),
    Object.assign(new Error('hush'), { code: 'SOME_CODE', statusCode: 500 }),
    Object.assign(new Error('hush'), { code: 'SOME_CODE', statusCode: 302 }),
    Object.assign(new Error('hush'), { code: 'SOME_CODE' }),
    Object.assign(new Error('hush'), { code: 'FST_ERR_UNHEARD_OF', statusCode: 400 }),
    Object.assign(new Error('hush'), { code: 23505, statusCode: 400 }),
    'hush',
    42,
    null,
    undefined,
  ]
  for (const error of thrown) {
    const problem = toProblem(error)
    t.match(problem, { statusCode: 500, code: 'INTERNAL', message: 'Something went wrong' }, String(error))
    t.notOk(JSON.stringify(problem.body()).includes('hush'))
    t.equal(problem.cause, error, 'the log may know')
  }
})
