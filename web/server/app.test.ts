import { mkdirSync, mkdtempSync, rmSync, writeFileSync } from 'node:fs'
import { tmpdir } from 'node:os'
import { join } from 'node:path'
import { createLogger } from '@sallyport/chassis'
import t, { type Test } from 'tap'
import { buildApp } from './app.ts'
import { readConfig } from './config.ts'
import { readPage } from './page.ts'

const asBrowser = { accept: 'text/html,application/xhtml+xml,*/*;q=0.8' }

/** The server with a page of two files, as a build leaves them. */
function serve(t: Test, environment: Record<string, string> = {}) {
  const folder = mkdtempSync(join(tmpdir(), 'sallyport-web-'))
  mkdirSync(join(folder, 'assets'))
  const metas = ['gateway', 'registration', 'samples'].map((name) => `<meta name="${name}" content="" />`).join('')
  writeFileSync(join(folder, 'index.html'), `${metas}<script src="/assets/index-1a2b.js">`)
  const asset = join(folder, 'assets/index-1a2b.js')
  writeFileSync(asset, 'export {}')
  const config = readConfig(environment)
  const app = buildApp({ config, page: readPage(folder, config), logger: createLogger('web', 'silent') })
  t.teardown(async () => {
    await app.close()
    rmSync(folder, { recursive: true })
  })
  const send = (url: string, method: 'GET' | 'HEAD' | 'POST' = 'GET', headers: Record<string, string> = asBrowser) =>
    app.inject({ method, url, headers })
  return Object.assign(send, { asset })
}

t.test('every address that a user may open is the page, fresh each time', async (t) => {
  const send = serve(t)
  for (const url of ['/', '/login', '/appointments?when=today', '/users/some/one', '/?next=/a.b']) {
    const response = await send(url)
    t.equal(response.statusCode, 200, url)
    t.match(response.body, 'index-1a2b.js')
    t.match(response.headers, { 'content-type': 'text/html; charset=utf-8', 'cache-control': 'no-store' })
  }
  t.equal((await send('/', 'HEAD')).statusCode, 200)
})

t.test('what the page loads is kept by browsers for good, since its name changes with its content', async (t) => {
  const { statusCode, headers, body } = await serve(t)('/assets/index-1a2b.js')
  t.equal(statusCode, 200)
  t.equal(body, 'export {}')
  t.match(headers, {
    'cache-control': 'public, max-age=31536000, immutable',
    'content-type': /javascript/,
    'x-content-type-options': 'nosniff',
  })
})

t.test('what a newer build took away is 404', async (t) => {
  const send = serve(t)
  rmSync(send.asset)
  t.match(await send('/assets/index-1a2b.js'), { statusCode: 404 })
})

t.test('what is not there is 404 and never HTML', async (t) => {
  const send = serve(t)
  for (const url of [
    '/assets/index-old.js',
    '/assets/',
    '/assets/../index.html',
    '/assets/%00',
    '/assets/..%2findex.html',
    '/favicon.ico',
    '/a/b.map',
  ]) {
    const { statusCode, headers } = await send(url)
    t.equal(statusCode, 404, url)
    t.match(headers, { 'content-type': 'application/problem+json', 'cache-control': 'no-store' }, url)
  }
  t.match(
    await send('/api/whoami', 'GET', { accept: 'application/json' }),
    { statusCode: 404 },
    'a request gone astray',
  )
  t.match(await send('/api/whoami', 'GET', {}), { statusCode: 404 })
  t.match(await send('/login', 'POST'), { statusCode: 405, headers: { allow: 'GET, HEAD' } })
})

t.test('the page runs its own files alone, in no frame, and connects to its own origin', async (t) => {
  const { headers, body } = await serve(t)('/')
  t.match(
    body,
    '<meta name="gateway" content="" /><meta name="registration" content="invite" /><meta name="samples" content="on" />',
  )
  t.match(headers, {
    'content-security-policy':
      "default-src 'none'; script-src 'self'; style-src 'self'; font-src 'self'; img-src 'self' data:; connect-src 'self'; base-uri 'none'; form-action 'none'; frame-ancestors 'none'; require-trusted-types-for 'script'; trusted-types 'none'",
    'x-content-type-options': 'nosniff',
    'referrer-policy': 'no-referrer',
    'cross-origin-opener-policy': 'same-origin',
    'permissions-policy': /camera=\(\)/,
  })
  t.notOk('strict-transport-security' in headers)
})

t.test('one build does for every gateway: its origin is a setting', async (t) => {
  const { headers, body } = await serve(t, { GATEWAY_ORIGIN: 'https://api.test', NODE_ENV: 'production' })('/')
  t.match(body, '<meta name="gateway" content="https://api.test" />')
  t.match(headers['content-security-policy'], "connect-src 'self' https://api.test wss://api.test;")
  t.ok(headers['strict-transport-security'])
})

t.test('the page learns whether anybody may register', async (t) => {
  t.match((await serve(t, { REGISTRATION: 'open' })('/')).body, '<meta name="registration" content="open" />')
  t.throws(() => readConfig({ REGISTRATION: 'yes' }), /REGISTRATION/)
})

t.test('the page learns whether the samples run', async (t) => {
  t.match((await serve(t, { SAMPLES: 'off' })('/')).body, '<meta name="samples" content="off" />')
  t.throws(() => readConfig({ SAMPLES: 'no' }), /SAMPLES/)
})

t.test('what cannot be served says how to correct it', async (t) => {
  t.throws(() => readPage('/nowhere', { registration: 'open', samples: 'on' }), {
    name: 'ConfigurationError',
    message: '/nowhere/index.html cannot be read; make it with `npm run build`',
  })
  t.throws(
    () => readConfig({ GATEWAY_ORIGIN: 'https://api.test/path' }),
    /GATEWAY_ORIGIN holds .* where browsers reach/,
  )
})
