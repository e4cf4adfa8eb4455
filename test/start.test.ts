import { spawn } from 'node:child_process'
import { once } from 'node:events'
import { cpSync, mkdirSync, mkdtempSync, renameSync, rmSync, symlinkSync, writeFileSync } from 'node:fs'
import { homedir } from 'node:os'
import { join } from 'node:path'
import { fileURLToPath } from 'node:url'
import t, { type Test } from 'tap'
import { Client, freePort, signIn, startDatabase, temporaryFolder } from './system.ts'

// Each start is seven processes; a slow machine needs longer than a file of tests usually may.
t.setTimeout(300_000)

const root = fileURLToPath(new URL('../..', import.meta.url))

/** `npm start` without the build before it, on ports of its own. */
async function start(t: Test, settings: Record<string, string>, at = root) {
  const names = ['GATEWAY_PORT', 'AUTH_PORT', 'APPOINTMENTS_PORT', 'NOTIFICATIONS_PORT', 'EMBEDDED_PG_PORT', 'WEB_PORT']
  const ports: Record<string, string> = Object.fromEntries(
    await Promise.all(names.map(async (name) => [name, String(await freePort())])),
  )
  const environment: Record<string, string | undefined> = {
    ...process.env,
    ...ports,
    MANAGEMENT_PORT: '0',
    ...settings,
  }
  const child = spawn(process.execPath, [join(at, 'local/dist/start.js')], { env: environment, cwd: at })
  const state = { output: '' }
  for (const stream of [child.stdout, child.stderr])
    stream.on('data', (chunk) => {
      state.output += chunk
    })
  const ended = once(child, 'exit')
  t.teardown(() => child.kill('SIGKILL'))
  const ready = new Promise<void>((resolve) =>
    child.stdout.on('data', () => state.output.includes('Try ') && resolve()),
  )
  await Promise.race([ready, ended])
  return { child, ended, state, gateway: `http://localhost:${environment.GATEWAY_PORT}`, ports }
}

/** Ctrl-C, and how long it took in milliseconds. */
async function interrupt({ child, ended }: Awaited<ReturnType<typeof start>>) {
  const before = Date.now()
  child.kill('SIGINT')
  const [code] = await ended
  return { code, took: Date.now() - before }
}

async function isFree(port: string): Promise<boolean> {
  return fetch(`http://127.0.0.1:${port}`).then(
    () => false,
    (error) => error.cause?.code === 'ECONNREFUSED',
  )
}

t.test('npm start brings everything up, and ends with what to do next', async (t) => {
  const folder = temporaryFolder(t)
  const first = await start(t, { DATA_DIR: folder })
  t.match(
    first.state.output,
    /Open +http:\/\/localhost:\d+\n[\s\S]*Gateway +http:\/\/localhost:\d+\n[\s\S]*doctor@example.com[\s\S]*correct-horse-battery-staple[\s\S]*Try +curl/,
  )
  const client = await signIn(first.gateway)
  t.equal((await client.call('GET', '/api/doctor/appointments')).status, 200)
  const page = await fetch(`http://127.0.0.1:${first.ports.WEB_PORT}`, { headers: { accept: 'text/html' } })
  t.match(await page.text(), `<meta name="gateway" content="${first.gateway}" />`)

  const docs = `http://localhost:${first.ports.AUTH_PORT}`
  t.match(await (await fetch(`${docs}/docs/json`)).json(), { servers: [{ url: first.gateway }] })
  const { headers } = await fetch(`${first.gateway}/api/whoami`, { headers: { origin: docs } })
  t.equal(headers.get('access-control-allow-origin'), docs, 'the page that describes the API may call')

  await t.test('Ctrl-C ends all of it within five seconds', async (t) => {
    const { code, took } = await interrupt(first)
    t.equal(code, 0)
    t.ok(took < 5_000, `${took} ms`)
    for (const [name, port] of Object.entries(first.ports)) t.ok(await isFree(port), name)
  })

  await t.test('the next start has the same users and sessions', async (t) => {
    const second = await start(t, { DATA_DIR: folder })
    const again = Object.assign(new Client(second.gateway), { cookie: client.cookie })
    t.equal((await again.refresh()).status, 200)
    t.equal((await again.call('GET', '/api/doctor/appointments')).body.appointments.length, 3)

    const third = await start(t, { DATA_DIR: folder })
    t.match(third.state.output, /is in use by another `npm start`; stop it, or set DATA_DIR/)
    t.strictSame(await third.ended, [1, null])

    const clash = await start(t, { DATA_DIR: temporaryFolder(t), AUTH_PORT: second.ports.AUTH_PORT as string })
    t.match(clash.state.output, /port \d+ is taken; set AUTH_PORT to a free one/)
    t.strictSame(await clash.ended, [1, null])

    const busy = await start(t, {
      DATA_DIR: temporaryFolder(t),
      EMBEDDED_PG_PORT: second.ports.EMBEDDED_PG_PORT as string,
    })
    t.match(busy.state.output, /port \d+ is taken; set EMBEDDED_PG_PORT to a free one/)

    await t.test('when its folder is taken away it ends everything, and says what happened', async (t) => {
      renameSync(folder, `${folder}-gone`)
      t.teardown(() => rmSync(`${folder}-gone`, { recursive: true, force: true }))
      // Whatever is logged first ends it, this login at the latest.
      await new Client(second.gateway).login().catch(() => {})
      t.strictSame(await second.ended, [1, null])
      t.match(second.state.output, /ENOENT[\s\S]*sallyport.log/)
      t.ok(await isFree(second.ports.GATEWAY_PORT as string))
    })
  })
})

t.test(
  'a database from outside is used instead of the built-in one, and a part that ends by itself is named',
  async (t) => {
    const { url } = await startDatabase(t)
    const running = await start(t, { DATA_DIR: temporaryFolder(t), DATABASE_URL: url })
    t.equal((await new Client(running.gateway).login()).status, 200)
    t.ok(await isFree(running.ports.EMBEDDED_PG_PORT as string))

    const { pid } = running.child
    spawn('pkill', ['-KILL', '-P', String(pid), '-f', 'appointments'])
    while (!running.state.output.includes('appointments ended')) await once(running.child.stderr, 'data')
    await interrupt(running)
    t.match(running.state.output, /appointments ended .*; see .*sallyport.log/)
  },
)

t.test('what stops it from starting is named', async (t) => {
  const folder = temporaryFolder(t)
  mkdirSync(join(folder, 'postgres'))
  writeFileSync(join(folder, 'postgres/PG_VERSION'), '18')
  writeFileSync(join(folder, 'postgres-password'), 'x')
  const broken = await start(t, { DATA_DIR: folder })
  t.strictSame(await broken.ended, [1, null])
  t.match(broken.state.output, /PostgreSQL does not start; its log says: ./)
})

t.test(
  'root can run it out of a folder that only root can enter',
  {
    skip: process.getuid?.() === 0 ? false : 'only root can tell; run this test as root',
  },
  async (t) => {
    const home = mkdtempSync(join(homedir(), 'sallyport-'))
    t.teardown(() => rmSync(home, { recursive: true, force: true }))
    for (const part of ['local', 'prisma', 'services', 'gateway', 'packages', 'web'])
      cpSync(join(root, part), join(home, part), { recursive: true })
    symlinkSync(join(root, 'node_modules'), join(home, 'node_modules'))
    const running = await start(t, {}, home)
    t.equal((await new Client(running.gateway).login()).status, 200)
    t.equal((await interrupt(running)).code, 0)
  },
)
