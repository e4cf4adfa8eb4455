/// <reference lib="dom" />
import { spawn } from 'node:child_process'
import { once } from 'node:events'
import { createRequire } from 'node:module'
import { dirname, join } from 'node:path'
import { fileURLToPath } from 'node:url'
import type { Page } from 'playwright-core'
import t, { type Test } from 'tap'
import { startBrowser, withoutBrowser } from '../support/chromium.ts'
import { exampleOf } from '../support/examples.ts'
import { installPacked } from '../support/packed.ts'
import { demoPassword, freePort, signIn, startSystem } from '../support/system.ts'

const root = fileURLToPath(new URL('../../..', import.meta.url))

// A browser on a slow machine needs longer than a file of tests usually may.
t.setTimeout(300_000)

/** `npx vite` for a folder. @returns where its page is */
async function serveWithVite(t: Test, folder: string, settings: Record<string, string> = {}): Promise<string> {
  const port = await freePort()
  const vite = join(dirname(createRequire(join(root, 'web/package.json')).resolve('vite/package.json')), 'bin/vite.js')
  const child = spawn(process.execPath, [vite, folder, '--port', String(port), '--strictPort'], {
    env: { ...process.env, ...settings },
    cwd: root,
  })
  const ended = once(child, 'exit')
  t.teardown(async () => {
    child.kill()
    await ended
  })
  let output = ''
  const listening = new Promise((resolve) =>
    child.stdout.on('data', (chunk) => {
      output += chunk
      if (output.includes('ready in')) resolve(true)
    }),
  )
  child.stderr.on('data', (chunk) => {
    output += chunk
  })
  if ((await Promise.race([listening, ended])) !== true) throw new Error(output)
  return `http://localhost:${port}`
}

/** A Vite project that has nothing but what docs/client.md says, and the packages. @returns its folder */
async function writeExample(t: Test, gateway: string): Promise<string> {
  const { folder, write } = await installPacked(t, ['@sallyport/react'], {
    react: '19.3.1',
    'react-dom': '19.3.1',
    'react-router': '7.18.5',
  })
  const config = exampleOf('docs/client.md', 'js', 'In React')
  if (!config.includes('http://localhost:5000')) throw new Error('the gateway is elsewhere')
  write('vite.config.js', config.replace('http://localhost:5000', gateway))
  write('main.jsx', exampleOf('docs/client.md', 'jsx', 'In React'))
  write('index.html', '<!doctype html><div id="root"></div><script type="module" src="/main.jsx"></script>')
  return folder
}

const pathOf = (page: Page) => new URL(page.url()).pathname

t.test('for those who develop with it, in a real browser', { skip: withoutBrowser }, async (t) => {
  const [gatewayPort, authPort] = [await freePort(), await freePort()]
  const auth = `http://localhost:${authPort}`
  const gateway = `http://localhost:${gatewayPort}`
  await startSystem(
    t,
    {
      NODE_ENV: 'development',
      GATEWAY_PORT: String(gatewayPort),
      AUTH_PORT: String(authPort),
      GATEWAY_ORIGIN: gateway,
      CORS_ORIGINS: auth,
      DIRECTORY_ROLES: 'admin,doctor',
    },
    ['appointments', 'notifications'],
  )
  const open = await startBrowser(t)

  t.test('the example in docs/client.md, as it is written', async (t) => {
    const { page, complaints, visit, close } = await open(await serveWithVite(t, await writeExample(t, gateway)))
    const login = async (name: string) => {
      await page.locator('[name=email]').fill(`${name}@example.com`)
      await page.locator('[name=password]').fill(demoPassword)
      await page.getByRole('button', { name: 'Sign in', exact: true }).click()
    }
    /** And the server knows of it: until then a page that is opened is no page to come back to. */
    const logout = async (name: string) => {
      const told = page.waitForResponse('**/api/auth/logout')
      await page.getByRole('button', { name: `Sign ${name} out`, exact: true }).click()
      await told
      await page.waitForURL('**/login')
    }
    await visit('/')
    await page.waitForURL('**/login')
    await login('doctor')
    await page.getByRole('button', { name: 'Sign Dora Doctor out' }).waitFor()
    t.equal(pathOf(page), '/', 'after signing in it leaves the login')
    await page.reload()
    await logout('Dora Doctor')

    await login('patient')
    await page.getByRole('button', { name: /^Sign Pat/ }).waitFor()
    await visit('/users')
    await logout('Pat Patient')
    await visit('/users')
    await page.waitForURL('**/login')
    await login('admin')
    await page.waitForURL('**/users')
    t.equal(await page.locator('#root').textContent(), '...', 'the page that was asked for first')

    await page.evaluate(() => localStorage.clear())
    await visit('/login')
    await login('doctor')
    await page.getByRole('button', { name: 'Sign Dora Doctor out' }).waitFor()
    t.equal(pathOf(page), '/', 'also who went to the login by a link')
    t.strictSame(complaints, [])
    await close()
  })

  t.test('our own web app, as `npx vite web` serves it', async (t) => {
    const settings = { GATEWAY_PORT: String(gatewayPort) }
    const { page, complaints, visit, signIn, close } = await open(await serveWithVite(t, 'web', settings))
    await visit('/sessions')
    await page.getByLabel('E-mail').waitFor()
    t.equal(pathOf(page), '/login')
    await signIn()
    await page.getByText('this device').waitFor()
    t.equal(pathOf(page), '/sessions', 'after signing in it leaves the login')
    await page.getByRole('link', { name: 'Home' }).click()
    await page.getByText('Live', { exact: true }).waitFor()
    t.strictSame(complaints, [])
    await close()
  })

  t.test('the page that describes the API sends its requests to the gateway, with a token', async (t) => {
    const { page, complaints, visit, close } = await open(auth)
    const document = (await (await fetch(`${auth}/docs/json`)).json()) as { servers: { url: string }[] }
    t.strictSame(
      document.servers.map(({ url }) => url),
      [gateway],
    )
    await visit('/docs')
    await page.getByRole('button', { name: 'Authorize', exact: true }).waitFor()
    t.match(await page.locator('.servers').textContent(), gateway)

    /** Sends a request as it is offered. @returns the outcome, as the page shows it */
    const tryOut = async (id: string) => {
      const operation = page.locator(`[id$="-${id}"]`)
      await operation.locator('.opblock-summary-control').click()
      await operation.getByRole('button', { name: 'Try it out' }).click()
      await operation.getByRole('button', { name: 'Execute' }).click()
      await operation.locator('.live-responses-table .response').waitFor()
      return operation.locator('.live-responses-table .response').textContent()
    }
    t.match(await tryOut('me'), /401.*TOKEN_MISSING/s)
    const { accessToken } = await signIn(gateway)
    await page.getByRole('button', { name: 'Authorize', exact: true }).click()
    await page.locator('#auth-bearer-value').fill(accessToken as string)
    await page.locator('.auth-btn-wrapper .authorize').first().click()
    await page.getByRole('button', { name: 'Close', exact: true }).first().click()
    await page.locator('[id$="-me"]').getByRole('button', { name: 'Execute' }).click()
    await page.locator('[id$="-me"] .live-responses-table').getByText('doctor@example.com').first().waitFor()
    t.strictSame(complaints, [])
    await close()
  })
})
