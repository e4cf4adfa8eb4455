/// <reference lib="dom" />
import { generateKeyPairSync } from 'node:crypto'
import { join } from 'node:path'
import { gzipSync } from 'node:zlib'
import { createAssertions } from '@sallyport/identity'
import { build } from 'rolldown'
import t from 'tap'
import { startBrowser, withoutBrowser } from '../support/chromium.ts'
import { exampleOf } from '../support/examples.ts'
import { installPacked } from '../support/packed.ts'
import { Client, demoPassword, freePort, signIn, startSystem } from '../support/system.ts'

// Projects are installed here, and a machine may have to fetch every package of them.
t.setTimeout(900_000)

const typescript = { typescript: '6.0.3' }
const react = { react: '19.3.1', 'react-dom': '19.3.1', '@types/react': '19.3.0', '@types/react-dom': '19.3.0' }
const runtimes = { bun: '1.4.5', deno: '2.9.6' }

/** How a project checks its types: also those in packages. */
const tsc = (rest: string) =>
  `tsc --noEmit --strict --exactOptionalPropertyTypes --skipLibCheck false --target es2023 ${rest}`.split(' ')

t.test('a service in TypeScript, with the resolution of Node', async (t) => {
  const { write, run } = await installPacked(t, ['@sallyport/verify', '@sallyport/identity'], {
    ...typescript,
    '@types/node': '20.19.43',
    fastify: '5.12.8',
  })
  const source = `
    import { createAssertionVerifier, createServiceClient, type VerifyAssertion } from '@sallyport/identity'
    import { type Identity, identityFromHeaders } from '@sallyport/verify'
    const verify: VerifyAssertion = createAssertionVerifier([process.argv[2] ?? ''], 'reports')
    const caller: Identity | undefined = verify('') ?? identityFromHeaders({})
    // @ts-expect-error: the types are there
    createServiceClient({ clientId: 1 })
    export const scopes: readonly string[] | undefined = caller?.scopes`
  write('service.mts', source)
  // Node of this version requires ES modules, and TypeScript knows.
  write('service.cts', source)
  await run(tsc('--module nodenext --types node service.mts service.cts'))
})

t.test('without TypeScript', async (t) => {
  const { write, run } = await installPacked(t, ['@sallyport/client', '@sallyport/identity'])
  const use = `console.log(typeof createAuthClient, typeof passkeysOf, identityFromHeaders({}), typeof createAssertions)`
  write(
    'module.js',
    `import { createAuthClient } from '@sallyport/client'
     import { passkeysOf } from '@sallyport/client/passkeys'
     import { createAssertions, identityFromHeaders } from '@sallyport/identity'
     ${use}`,
  )
  write(
    'common.cjs',
    `const { createAuthClient } = require('@sallyport/client')
     const { passkeysOf } = require('@sallyport/client/passkeys')
     const { createAssertions, identityFromHeaders } = require('@sallyport/identity')
     ${use}`,
  )
  for (const file of ['module.js', 'common.cjs'])
    t.equal(await run(['node', file]), 'function function undefined function\n', file)
  await t.rejects(run(['node', '-e', "require('@sallyport/client/dist/store.js')"]), /ERR_PACKAGE_PATH_NOT_EXPORTED/)
})

t.test('what the README of the identity begins with', async (t) => {
  const { write, start } = await installPacked(t, ['@sallyport/identity'], { express: '5.3.0' })
  const [port, example] = [await freePort(), exampleOf('packages/identity/README.md', 'js')]
  write('service.js', `${example.replace('5010', String(port))}\nconsole.log('it listens')`)
  const { privateKey, publicKey } = generateKeyPairSync('ec', {
    namedCurve: 'P-256',
    privateKeyEncoding: { type: 'pkcs8', format: 'pem' },
    publicKeyEncoding: { type: 'spki', format: 'pem' },
  })
  await start('it listens', ['node', 'service.js'], { IDENTITY_PUBLIC_KEY: publicKey })
  const doctor = { caller: 'user', userId: 'a', email: 'doctor@example.com', role: 'doctor', sessionId: 'b' } as const
  const { token } = createAssertions(privateKey).sign({ ...doctor, roles: ['doctor'] }, 'reports')
  const call = (path: string, headers: Record<string, string>) =>
    fetch(`http://127.0.0.1:${port}/api/reports/${path}`, { headers })
  t.equal((await call('mine', {})).status, 401)
  t.equal((await call('mine', { 'x-caller': 'user', 'x-user-id': 'a', 'x-user-role': 'admin' })).status, 401)
  t.strictSame(await (await call('mine', { 'x-identity-token': token })).json(), { of: 'doctor@example.com' })
  t.equal((await call('all', { 'x-identity-token': token })).status, 403)
})

t.test('with a system to sign in to', async (t) => {
  const system = await startSystem(t)
  const here = (code: string) => {
    if (!code.includes('http://localhost:5000')) throw new Error('the gateway is elsewhere')
    return code.replace('http://localhost:5000', system.gateway)
  }

  t.test('what the README of the client begins with, in Node, Bun and Deno', async (t) => {
    const { write, run } = await installPacked(t, ['@sallyport/client'], runtimes)
    write('app.js', here(exampleOf('packages/client/README.md', 'js')))
    for (const runtime of ['node', 'bun', 'deno run -A']) {
      const output = await run([...runtime.split(' '), 'app.js'])
      t.match(output, /^signed-in\n[\s\S]*doctor@example\.com[\s\S]*signed-out\n$/, runtime)
    }
  })

  t.test('identities in Bun and Deno', async (t) => {
    const { write, run } = await installPacked(t, ['@sallyport/verify', '@sallyport/identity'], {
      ...runtimes,
      '@types/node': '20.19.43',
    })
    write(
      'assertion.ts',
      `import { generateKeyPairSync } from 'node:crypto'
       import { createAssertions, createAssertionVerifier } from '@sallyport/identity'
       const { privateKey, publicKey } = generateKeyPairSync('ec', {
         namedCurve: 'P-256',
         privateKeyEncoding: { type: 'pkcs8', format: 'pem' },
         publicKeyEncoding: { type: 'spki', format: 'pem' },
       })
       const caller = { caller: 'client', userId: 'client:a', clientId: 'a', roles: [], sessionId: 'b', scopes: [] } as const
       const { token } = createAssertions(privateKey).sign({ ...caller, roles: [], scopes: ['read'] }, 'reports')
       const verify = createAssertionVerifier([publicKey], 'reports')
       console.log(String([verify(token)?.clientId, verify(token.slice(0, -8))]))`,
    )
    for (const runtime of ['bun', 'deno run -A'])
      t.equal(await run([...runtime.split(' '), 'assertion.ts']), 'a,\n', runtime)
    await run(['deno', 'check', 'assertion.ts'])
  })

  t.test('a page with React, built with Vite', { skip: withoutBrowser }, async (t) => {
    const page = await installPacked(t, ['@sallyport/react'], { ...react, 'react-router': '7.18.5', vite: '8.3.8' })
    page.write('index.html', '<!doctype html><div id="root"></div><script type="module" src="/main.jsx"></script>')
    page.write('vite.config.js', here(exampleOf('docs/client.md', 'js', 'In React')))
    const open = await startBrowser(t)
    const serve = async (mode: string) => {
      // React does twice what StrictMode is to show in development alone.
      await page.run(['env', `NODE_ENV=${mode}`, 'vite', 'build', '--mode', mode, '--outDir', mode])
      const port = await freePort()
      const preview = ['vite', 'preview', '--outDir', mode, '--port', String(port), '--strictPort']
      await page.start(`:${port}`, preview)
      return open(`http://localhost:${port}`)
    }

    for (const mode of ['development', 'production'])
      t.test(`the example in docs/client.md, in ${mode}`, async (t) => {
        page.write('main.jsx', exampleOf('docs/client.md', 'jsx', 'In React'))
        const { page: tab, complaints, visit, refreshes, close } = await serve(mode)
        await visit('/')
        await tab.locator('[name=email]').fill('doctor@example.com')
        await tab.locator('[name=password]').fill(demoPassword)
        await tab.getByRole('button', { name: 'Sign in', exact: true }).click()
        await tab.getByRole('button', { name: 'Sign Dora Doctor out' }).waitFor()
        const before = refreshes()
        await tab.evaluate(() => localStorage.removeItem('accessToken'))
        await tab.reload()
        await tab.getByRole('button', { name: 'Sign Dora Doctor out' }).waitFor()
        t.equal(refreshes() - before, 1, 'one refresh, although StrictMode mounts twice')
        t.strictSame(complaints, [])
        await close()
      })

    t.test('what the README of the bindings begins with', async (t) => {
      page.write('main.jsx', exampleOf('packages/react/README.md', 'jsx'))
      const { page: tab, complaints, visit, close } = await serve('production')
      await visit('/')
      await tab.getByRole('button', { name: 'Sign in', exact: true }).click()
      await tab.getByRole('button', { name: 'Sign Dora Doctor out' }).click()
      await tab.getByRole('button', { name: 'Sign in', exact: true }).waitFor()
      t.strictSame(complaints, [])
      await close()
    })
  })

  t.test('the system itself, by its packages', async (t) => {
    const packages = ['@sallyport/auth', '@sallyport/gateway', '@sallyport/database', '@sallyport/cli']
    const { run, start } = await installPacked(t, packages)
    const programOf = (name: string) => ['node', `node_modules/@sallyport/${name}.js`]
    const [authPort, gatewayPort] = [String(await freePort()), String(await freePort())]
    const auth = `http://127.0.0.1:${authPort}`
    const settings = {
      ...system.environment,
      NODE_ENV: 'production',
      AUTH_PORT: authPort,
      GATEWAY_PORT: gatewayPort,
      AUTH_URL: auth,
      JWKS_URL: `${auth}/.well-known/jwks.json`,
      REVOCATIONS_URL: `${auth}/internal/revocations`,
      API_KEYS_URL: `${auth}/internal/api-keys`,
      GATEWAY_ROUTES: 'node_modules/@sallyport/gateway/routes/auth.yaml',
    }
    await start('The database is up to date.', programOf('database/dist/migrate'), {
      ...settings,
      DATABASE_URL: system.url,
    })
    const forDevelopment = { ...settings, NODE_ENV: undefined }
    await start('set NODE_ENV=production, or `npm install', programOf('auth/dist/server'), forDevelopment)
    await start('"listening"', programOf('auth/dist/server'), settings)
    await start('"listening"', programOf('gateway/dist/server'), settings)
    t.equal((await signIn(`http://127.0.0.1:${gatewayPort}`)).accessToken?.split('.').length, 3)
    t.match(await run(['npx', 'sallyport', 'keys', 'env']), 'JWT_PRIVATE_KEY')
    t.match(await run(['npx', 'sallyport', 'routes', 'check', settings.GATEWAY_ROUTES]), /: \d+ routes, sound\n/)

    const { DATABASE_URL, JWT_AUDIENCE } = settings as Record<string, string>
    const withDatabase = (...words: string[]) => [
      ...['env', `DATABASE_URL=${DATABASE_URL}`, `JWT_AUDIENCE=${JWT_AUDIENCE}`],
      ...['npx', 'sallyport', ...words],
    ]
    const create = withDatabase('users', 'create', 'someone@example.com', 'Someone', 'doctor')
    await run(['sh', '-c', `printf '%s' 'a long passphrase' | "$@"`, 'sh', ...create])
    const someone = new Client(`http://127.0.0.1:${gatewayPort}`)
    t.equal((await someone.login('someone@example.com', 'a long passphrase')).status, 200)
    await t.rejects(run(withDatabase('users', 'reset-factors', 'someone@example.com')), /has no second factor/)
    t.match(await run(withDatabase('clients', 'create', 'nightly', '--scope', 'rows:read')), /^made service account /)
  })
})

t.test('a page in TypeScript, with the resolution of bundlers', async (t) => {
  const { write, run, folder } = await installPacked(t, ['@sallyport/react', '@sallyport/verify'], {
    ...react,
    ...typescript,
  })
  write(
    'page.tsx',
    `import { type AuthClient, createAuthClient } from '@sallyport/client'
     import { withImpersonation } from '@sallyport/client/impersonation'
     import { type Passkeys, passkeysOf } from '@sallyport/client/passkeys'
     import { AuthProvider, ProtectedRoute, useAuth } from '@sallyport/react'
     import { type Identity, identityFromHeaders } from '@sallyport/verify'
     const client: AuthClient = withImpersonation(createAuthClient({ baseUrl: '/' }))
     export const passkeys: Passkeys = passkeysOf(client)
     export const caller: Identity | undefined = identityFromHeaders({})
     const Name = () => <b>{useAuth().user?.name}</b>
     // @ts-expect-error: the types are there
     export const wrong = <AuthProvider client="/" />
     export const page = <AuthProvider client={client}><ProtectedRoute requireRole="admin"><Name /></ProtectedRoute></AuthProvider>`,
  )
  // No types of Node: the code is for browsers.
  await run(tsc('--lib es2023,dom --module esnext --moduleResolution bundler --jsx react-jsx --types react page.tsx'))

  for (const [name, bound] of [
    ['@sallyport/react', 1_500],
    // With what it needs of jose.
    ['@sallyport/verify', 17_000],
  ] as const)
    t.test(`${name} is under ${bound} bytes, minified and compressed`, async (t) => {
      write('all.js', `export * from '${name}'`)
      const { output } = await build({
        input: join(folder, 'all.js'),
        platform: 'browser',
        external: /^react/,
        output: { minify: true },
        write: false,
        logLevel: 'silent',
      })
      const bytes = gzipSync(output[0].code).length
      t.comment(`${bytes} bytes`)
      t.ok(bytes > 500 && bytes < bound, `${bytes} bytes`)
      t.notMatch(output[0].code, /from ?["']node:/, 'it needs nothing of Node')
    })
})
