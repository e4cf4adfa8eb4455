import { type Application, Problem } from '@sallyport/chassis'
import type { Database } from '@sallyport/database'
import Fastify from 'fastify'
import t from 'tap'
import type { Config } from '../config.ts'
import { oauthRoutes } from './oauth.ts'
import { OAuthError, respondWithOAuthError } from './oauth-error.ts'

t.test('an error of any kind is one of OAuth (RFC 6749 section 5.2)', async (t) => {
  for (const [error, status, code, description] of [
    [new OAuthError('invalid_request', 'a'), 400, 'invalid_request', 'a'],
    [new OAuthError('invalid_client', 'a'), 401, 'invalid_client', 'a'],
    [new Problem(415, 'MEDIA_TYPE_UNSUPPORTED', 'a'), 400, 'invalid_request', /x-www-form-urlencoded/],
    [new Problem(413, 'BODY_TOO_LARGE', 'It says "no", \\ and ü'), 413, 'invalid_request', 'It says  no ,   and  '],
    [new Problem(401, 'X', 'a', { headers: { 'www-authenticate': 'Bearer' } }), 401, 'invalid_request', 'a'],
    [new Problem(429, 'X', 'a', { headers: { 'retry-after': '7' } }), 429, 'temporarily_unavailable', 'a'],
    [new Problem(503, 'X', 'a', { headers: { 'retry-after': '7' } }), 503, 'temporarily_unavailable', 'a'],
    [new Error('a secret'), 500, 'server_error', /wrong/],
  ] as const) {
    const app = Fastify()
    app.setErrorHandler(respondWithOAuthError)
    app.get('/', () => {
      throw error
    })
    const response = await app.inject('/')
    t.equal(response.statusCode, status)
    t.match(response.json(), { error: code, error_description: description })
    t.match(response.headers['www-authenticate'], code === 'invalid_client' ? /^Basic / : undefined)
    t.equal(response.headers['retry-after'], status === 429 || status === 503 ? '7' : undefined)
  }
})

t.test('an outage is none of the client, and an event that cannot be written changes no response', async (t) => {
  const id = '01890000-0000-7000-8000-000000000000'
  let run: () => Promise<unknown[]> = async () => []
  const isOutage = (error: unknown) => (error as Error).message === 'gone'
  const app = Fastify()
  const config = { accessToken: { issuer: 'https://issuer.test' }, trust: { verify: false } } as Config
  const database = { run: () => run() } as unknown as Database
  await oauthRoutes(app as unknown as Application, { config, database, isOutage } as never)
  const ask = () => {
    const authorization = `Basic ${Buffer.from(`${id}:secret`).toString('base64')}`
    const headers = { authorization, 'content-type': 'application/x-www-form-urlencoded' }
    return app.inject({ method: 'POST', url: '/oauth/token', headers, payload: 'grant_type=client_credentials' })
  }
  t.match(await ask(), { statusCode: 401 })
  run = async () => [{ id, credentials: [] }]
  t.match(await ask(), { statusCode: 401 }, 'its event is not written')
  run = () => Promise.reject(new Error('gone'))
  const outage = await ask()
  t.match(outage, { statusCode: 503, headers: { 'retry-after': /./, pragma: 'no-cache' } })
  t.match(outage.json(), { error: 'temporarily_unavailable' })
  run = () => Promise.reject(new Error('a bug'))
  t.match(await ask(), { statusCode: 500 })
})
