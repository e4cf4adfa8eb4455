import { execFileSync } from 'node:child_process'
import { generateKeyPairSync, randomBytes } from 'node:crypto'
import diagnostics from 'node:diagnostics_channel'
import { readdirSync, readFileSync } from 'node:fs'
import { createRequire } from 'node:module'
import { fileURLToPath } from 'node:url'
import { buildApp } from '@sallyport/auth/app'
import { readConfig } from '@sallyport/auth/config'
import { createPasswords } from '@sallyport/auth/passwords/passwords'
import { createKeySet } from '@sallyport/auth/tokens/key-set'
import { type Application, createLogger } from '@sallyport/chassis'
import { createDatabase, isOutage } from '@sallyport/database'
import { Validator } from '@seriousme/openapi-schema-validator'
import t, { type Test } from 'tap'

interface Operation {
  security?: Record<string, string[]>[]
  tags: string[]
  summary: string
  operationId: string
  responses: Record<string, { content: Record<string, { schema: { allOf?: [unknown, ProblemCode] } }> }>
}
interface ProblemCode {
  properties: { code: { enum: string[] } }
}
interface Document {
  openapi: string
  servers: { url: string }[]
  tags: { name: string }[]
  paths: Record<string, Record<string, Operation>>
}

const root = fileURLToPath(new URL('../../..', import.meta.url))
const committed: Document = JSON.parse(readFileSync(`${root}/docs/openapi.json`, 'utf8'))
const operations = Object.entries(committed.paths).flatMap(([path, methods]) =>
  Object.entries(methods).map(([method, operation]) => ({ path, method, operation })),
)
const codesOf = ({ responses }: Operation) =>
  Object.entries(responses).flatMap(([status, { content }]) =>
    (content['application/problem+json']?.schema.allOf?.[1].properties.code.enum ?? []).map((code) =>
      [status, code].join(' '),
    ),
  )

/** The auth service's app on a port, with no database behind it, and the routes it was built of. */
async function start(t: Test, environment: 'development' | 'test' | 'production', settings = {}) {
  const [signing, gateways] = [1, 2].map(() => generateKeyPairSync('ec', { namedCurve: 'P-256' }))
  const config = readConfig({
    NODE_ENV: environment,
    DATABASE_URL: 'postgresql://nobody@127.0.0.1:1/none',
    JWT_ISSUER: 'https://issuer.test',
    JWT_AUDIENCE: 'https://api.test',
    JWT_PRIVATE_KEY: String(signing?.privateKey.export({ type: 'pkcs8', format: 'pem' })),
    IDENTITY_PUBLIC_KEY: String(gateways?.publicKey.export({ type: 'spki', format: 'pem' })),
    JWT_REFRESH_SECRET: randomBytes(48).toString('hex'),
    FACTOR_KEY: randomBytes(48).toString('hex'),
    ...settings,
  })
  const routes: { url: string; method: string }[] = []
  const watch = (message: unknown) =>
    (message as { fastify: Application }).fastify.addHook('onRoute', ({ url, method }) => {
      routes.push({ url, method: String(method) })
    })
  diagnostics.subscribe('fastify.initialization', watch)
  const database = createDatabase(config.databaseUrl, { connections: 1, onError: () => {} })
  const logger = createLogger('auth', 'silent')
  const [keys, passwords] = [{ current: createKeySet(config) }, await createPasswords()]
  const app = await buildApp({ config, database, loginDatabase: database, isOutage, logger, passwords, keys })
  diagnostics.unsubscribe('fastify.initialization', watch)
  t.teardown(() => Promise.all([app.close(), passwords.close()]))
  return { routes, origin: await app.listen({ port: 0 }) }
}

// First, while nothing has loaded the packages yet.
for (const environment of ['production', 'test'] as const)
  t.test(`outside development there are no docs, and nothing of them is loaded: ${environment}`, async (t) => {
    const { origin } = await start(t, environment)
    for (const path of [
      '/docs',
      '/docs/',
      '/docs/json',
      '/docs/yaml',
      '/docs/static/index.html',
      '/documentation/json',
    ])
      t.equal((await fetch(origin + path, { redirect: 'manual' })).status, 404, path)
    const loaded = Object.keys(createRequire(import.meta.url).cache).join('\n')
    t.match(loaded, /node_modules\/fastify\//, 'what is loaded can be seen')
    t.notMatch(loaded, /swagger/)
  })

/** Where a name means something else than elsewhere. */
const webhookMembers = (path: string) => ({
  ...(path.endsWith('/webhooks') && { url: 'https://example.com/', events: ['login.failed'] }),
  ...(path.endsWith('/replay') && { from: '2026-01-01T00:00:00Z', to: '2026-01-02T00:00:00Z' }),
})

/** As browsers send one, of no passkey. */
const credential = {
  ...{ id: 'x', rawId: 'x', type: 'public-key' },
  response: { clientDataJSON: 'x', attestationObject: 'x', authenticatorData: 'x', signature: 'x' },
}

t.test('docs/openapi.json is what `npm run openapi` prints now', async (t) => {
  const printed = execFileSync(process.execPath, [`${root}/services/auth/dist/openapi/print.js`])
  t.strictSame(committed, JSON.parse(String(printed)))
})

t.test('the document is valid OpenAPI 3.1', async (t) => {
  t.equal(committed.openapi, '3.1.0')
  t.strictSame(await new Validator().validate({ ...structuredClone(committed) }), { valid: true })
})

t.test('in development', async (t) => {
  const { origin, routes } = await start(t, 'development')

  t.test('the document and the page that shows it are there, from here alone', async (t) => {
    t.strictSame(await (await fetch(`${origin}/docs/json`)).json(), committed)
    const page = await fetch(`${origin}/docs`)
    t.equal(page.status, 200)
    t.match(page.headers.get('content-security-policy'), /^default-src 'self'; connect-src 'self' ?; /)
    t.strictSame(
      committed.servers,
      [{ url: '/', description: 'the gateway' }],
      'where the page is, if nothing else is configured',
    )
    t.notMatch(await page.text(), /(src|href)="(https?:)?\/\//)
  })

  t.test('every route is in the document and what is internal is not', async (t) => {
    const served = routes
      .filter(({ url, method }) => method !== 'HEAD' && !/^\/(docs|internal)\b/.test(url))
      .map(({ url, method }) => `${method} ${url.replace(/:(\w+)/g, '{$1}')}`)
    t.ok(served.length > 10)
    t.strictSame(operations.map(({ path, method }) => `${method.toUpperCase()} ${path}`).sort(), served.sort())
  })

  t.test('each says who may use it, and requests confirm it', async (t) => {
    for (const { path, method, operation } of operations) {
      const url =
        origin + path.replace('{deliveryId}', '1').replaceAll(/\{\w+\}/g, '00000000-0000-4000-8000-000000000000')
      const query = path.endsWith('people') ? '?ids=00000000-0000-4000-8000-000000000000' : '?role=doctor'
      const response = await fetch(url + query, {
        method: method.toUpperCase(),
        ...(method === 'post' || method === 'patch'
          ? {
              headers: { 'content-type': 'application/json' },
              body: JSON.stringify({
                ...{ currentPassword: 'x', newPassword: 'long enough to do', password: 'long enough to do' },
                ...{ code: '123456', challenge: 'x', challengeId: '00000000-0000-4000-8000-000000000000', credential },
                ...{ disabled: false, name: 'Nina', email: 'nina@example.com', roles: ['doctor'] },
                ...{ reason: 'x', kind: 'secret', from: 'a', audience: 'b', scopes: ['c'] },
                ...webhookMembers(path),
              }),
            }
          : {}),
      })
      const { code } = (await response.json()) as { code?: string }
      t.equal(code === 'TOKEN_MISSING', !!operation.security?.some((one) => 'accessToken' in one), `${method} ${path}`)
      if (code) t.ok(codesOf(operation).includes(`${response.status} ${code}`), `${method} ${path}: ${code}`)
    }
  })
})

t.test('the page sends its requests to the configured address of the gateway', async (t) => {
  const gateway = 'https://api.test:8443'
  const { origin } = await start(t, 'development', { GATEWAY_ORIGIN: gateway })
  t.match(await (await fetch(`${origin}/docs/json`)).json(), { servers: [{ url: gateway }] })
  const { headers } = await fetch(`${origin}/docs/`)
  t.match(headers.get('content-security-policy'), `connect-src 'self' ${gateway};`)
})

t.test('every operation has a name, a summary and a known tag', async (t) => {
  const tags = committed.tags.map(({ name }) => name)
  for (const { operation } of operations) {
    t.match(operation, { operationId: /^[a-zA-Z]+$/, summary: /^[A-Z].+[^.]$/ })
    t.ok(operation.tags.every((tag) => tags.includes(tag)))
  }
  t.equal(new Set(operations.map(({ operation }) => operation.operationId)).size, operations.length)
})

const sourcesIn = (folder: string) =>
  readdirSync(`${root}/${folder}`, { recursive: true, encoding: 'utf8' })
    .filter((name) => name.endsWith('.ts') && !name.endsWith('.test.ts'))
    .map((name) => `${root}/${folder}/${name}`)

/** The statuses and codes of the problems that a source file throws, such as "401 TOKEN_MISSING". */
const thrownIn = (file: string) =>
  [...readFileSync(file, 'utf8').matchAll(/\b([45]\d\d),\s*'([A-Z_]+)'/g)].map(
    ([, status, code]) => `${status} ${code}`,
  )

t.test('every code that a route throws is documented at that route', async (t) => {
  const files = sourcesIn('services/auth/src').filter((file) =>
    /'\/(?:api|\.well-known)\//.test(readFileSync(file, 'utf8')),
  )
  const documented = operations.map(({ path, operation }) => ({ path, codes: codesOf(operation) }))
  t.ok(files.length > 5)
  for (const file of files) {
    const paths = [...readFileSync(file, 'utf8').matchAll(/'(\/(?:api|\.well-known)\/[^']+)'/g)].map((match) =>
      String(match[1]).replace(/:(\w+)/g, '{$1}'),
    )
    const codes = documented.filter(({ path }) => paths.includes(path)).flatMap((one) => one.codes)
    for (const code of thrownIn(file)) t.ok(codes.includes(code), `${code} of ${file.slice(root.length)}`)
  }
})

t.test('every code of the auth service and of its guards is documented at some route', async (t) => {
  // A path that cannot be read comes to no route.
  // What is internal is not for clients, and what its guard for scopes says is for services that use it.
  const elsewhere = ['400 PATH_INVALID', '401 GATEWAY_ONLY', '401 API_KEY_INVALID', '403 SCOPE_REQUIRED']
  const codes = [
    ...sourcesIn('services/auth/src'),
    `${root}/packages/chassis/src/problem.ts`,
    `${root}/packages/identity/src/guards.ts`,
  ].flatMap(thrownIn)
  const documented = operations.flatMap(({ operation }) => codesOf(operation))
  t.ok(codes.length > 25)
  for (const code of new Set(codes)) t.ok(documented.includes(code) || elsewhere.includes(code), code)
})
