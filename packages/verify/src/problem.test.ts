import t from 'tap'
import { invalid, Problem, unavailable } from './problem.ts'

t.test('a refusal says what its caller can do about it, and not what happened', async (t) => {
  const problem = new Problem(403, 'ROLE_NEEDED', 'A role is needed', { cause: new Error('secret') })
  t.strictSame(problem.body(), {
    type: 'urn:sallyport:problem:role-needed',
    title: 'A role is needed',
    status: 403,
    code: 'ROLE_NEEDED',
    error: 'A role is needed',
  })
  t.strictSame(problem.headers, {})
  t.match(problem.cause, { message: 'secret' })
  const more = new Problem(401, 'SESSION_ENDED', 'The session has ended', {
    detail: 'Sign in.',
    members: { reason: 'logout' },
    headers: { 'x-more': '1' },
  })
  t.match(more.body(), { detail: 'Sign in.', reason: 'logout' })
  t.strictSame(more.headers, { 'www-authenticate': 'Bearer', 'x-more': '1' }, 'every 401 has a challenge')
  t.strictSame(invalid('why').headers, { 'www-authenticate': 'Bearer error="invalid_token"' })
  t.notMatch(JSON.stringify(invalid('why').body()), 'why')
  t.match(unavailable('why'), { statusCode: 503, cause: 'why', headers: { 'retry-after': '1' } })
})
