import { spawnSync } from 'node:child_process'
import { once } from 'node:events'
import {
  cpSync,
  existsSync,
  mkdirSync,
  mkdtempSync,
  readFileSync,
  rmSync,
  statSync,
  symlinkSync,
  writeFileSync,
} from 'node:fs'
import { type AddressInfo, createServer } from 'node:net'
import { homedir } from 'node:os'
import { join } from 'node:path'
import { fileURLToPath } from 'node:url'
import t, { type Test } from 'tap'
import { choosePorts, launch, type Started } from '../support/started.ts'
import { Client, demoPassword, eventually, signIn, temporaryFolder } from '../support/system.ts'
import { byNpm, endAtRandomMoments, kill } from './ends.ts'

// Each start is seven processes; a slow machine needs longer than a file of tests usually may.
t.setTimeout(600_000)

const root = fileURLToPath(new URL('../../..', import.meta.url))

/** `npm start` on ports of its own, once it runs or has ended. */
async function start(t: Test, settings: Record<string, string | undefined>, at = root): Promise<Started> {
  const started = launch({ ...(await choosePorts()), ...settings }, { at })
  t.teardown(() => {
    for (const pid of started.processes().keys()) kill(pid, 'SIGKILL')
  })
  await started.settled
  return started
}

/** What it prints when it does not start, as complete lines. */
async function refusal(t: Test, settings: Record<string, string | undefined>): Promise<string[]> {
  const { child, ended, state } = launch({ ...(await choosePorts()), ...settings })
  t.teardown(() => child.kill('SIGKILL'))
  t.strictSame(await ended, [1, null])
  return state.output.trimEnd().split('\n')
}

async function isFree(port: string | undefined): Promise<boolean> {
  return fetch(`http://127.0.0.1:${port}`).then(
    () => false,
    (error) => error.cause?.code === 'ECONNREFUSED',
  )
}

const pidOf = ({ processes }: Started, command: string) =>
  [...processes()].find(([, line]) => line.includes(command))?.[0] as number

t.test('npm start brings everything up, and ends with what to do next', async (t) => {
  const folder = join(temporaryFolder(t), 'with spaces')
  const first = await start(t, { DATA_DIR: folder, CORS_ORIGINS: 'http://localhost:3000' })
  t.match(
    first.state.output,
    /Open +http:\/\/localhost:\d+\n[\s\S]*Gateway +http:\/\/localhost:\d+\n[\s\S]*doctor@example.com[\s\S]*correct-horse-battery-staple[\s\S]*Try +curl/,
  )
  const client = await signIn(first.gateway)
  t.equal((await client.call('GET', '/api/doctor/appointments')).status, 200)
  const page = await fetch(`http://127.0.0.1:${first.ports.WEB_PORT}`, { headers: { accept: 'text/html' } })
  t.match(await page.text(), `<meta name="gateway" content="${first.gateway}" />`)

  const reminders = await client.call('GET', '/api/notifications/upcoming')
  t.match([reminders.status, reminders.body], [200, { reminders: [] }], 'a service calls another for who asks')

  const docs = `http://localhost:${first.ports.AUTH_PORT}`
  t.match(await (await fetch(`${docs}/docs/json`)).json(), { servers: [{ url: first.gateway }] })
  const { headers } = await fetch(`${first.gateway}/api/whoami`, { headers: { origin: docs } })
  t.equal(headers.get('access-control-allow-origin'), docs, 'the origin of the API docs is allowed')

  await t.test('further origins are allowed, beside its own', async (t) => {
    for (const origin of ['http://localhost:3000', `http://localhost:${first.ports.WEB_PORT}`]) {
      const headers = { origin, 'access-control-request-method': 'PATCH' }
      const response = await fetch(`${first.gateway}/api/auth/me`, { method: 'OPTIONS', headers })
      t.equal(response.headers.get('access-control-allow-origin'), origin)
    }
  })

  await t.test('mail arrives in its mailbox', async (t) => {
    const mailbox = `http://localhost:${first.ports.MAILBOX_PORT}`
    t.match(first.state.output, `Mailbox        ${mailbox}\n`)
    const patient = await signIn(first.gateway, 'patient@example.com')
    const body = { currentPassword: demoPassword, newPassword: 'another battery of 7 horses' }
    t.equal((await patient.call('POST', '/api/auth/password', { body })).status, 200)
    const messages = async () => (await fetch(`${mailbox}/api/messages`)).json()
    await eventually('it is there', async () => (await messages()).length === 1)
    const forgot = `http://localhost:${first.ports.WEB_PORT}/forgot-password`
    const [message] = await messages()
    t.match(message, { to: 'patient@example.com', subject: 'Sallyport: Your password was changed' })
    t.match(message.text, `${forgot}\n`)
    t.match(message.html, `href="${forgot}"`)
  })

  await t.test('its keys know when they were made', async (t) => {
    for (const [kind, file] of [
      ['signing', 'jwt-private-key.pem'],
      ['refresh', 'jwt-refresh-secret'],
    ] as const) {
      const list = ['keys', 'list', kind, '--file', join(folder, 'secrets', file)]
      const { stdout } = spawnSync(process.execPath, [join(root, 'cli/dist/sallyport.js'), ...list], {
        encoding: 'utf8',
      })
      t.match(stdout, /created 20\d\d-\S+Z active/)
    }
  })

  await t.test('the command that it prints leads to its database', async (t) => {
    const [, command] = /(export DATABASE_URL=.*)/.exec(first.state.output) ?? []
    const createUser = `printf '%s' 'nobody guesses this' | node cli/dist/sallyport.js users create new@example.com New doctor`
    const made = spawnSync('sh', ['-ec', `${command}\n${createUser}`], { cwd: root, encoding: 'utf8' })
    t.equal(made.status, 0, made.stderr)
    const password = 'nobody guesses this'
    t.equal((await new Client(first.gateway).login('new@example.com', password)).status, 200)
  })

  await t.test('another start in the same folder is refused, and changes nothing', async (t) => {
    const state = () => [
      readFileSync(join(folder, 'postgres-password'), 'utf8'),
      ...['sallyport.log', 'postgres.log'].map((name) => statSync(join(folder, name)).ino),
    ]
    const before = state()
    const [line, ...more] = await refusal(t, { DATA_DIR: folder })
    t.match(line, `is in use by another \`npm start\` (process ${first.child.pid}); stop it, or set DATA_DIR`)
    t.strictSame(more, [])
    t.strictSame(state(), before)
    t.equal((await new Client(first.gateway).login()).status, 200)
  })

  await t.test('ports that are taken are all named at once, with what helps', async (t) => {
    const other = createServer().listen(0, '127.0.0.1')
    await once(other, 'listening')
    t.teardown(() => other.close())
    const { port } = other.address() as AddressInfo
    const { AUTH_PORT, EMBEDDED_PG_PORT, MAILBOX_SMTP_PORT, MAILBOX_PORT } = first.ports
    const taken = { AUTH_PORT, EMBEDDED_PG_PORT, MAILBOX_SMTP_PORT, MAILBOX_PORT, WEB_MANAGEMENT_PORT: String(port) }
    const lines = await refusal(t, { DATA_DIR: temporaryFolder(t), ...taken })
    t.strictSame(
      lines.sort(),
      Object.entries(taken)
        .map(([name, taken]) => `port ${taken} is taken; set ${name} to a free one, or stop what listens there`)
        .sort((a, b) => a.localeCompare(b)),
    )
  })

  await t.test('Ctrl-C ends all of it within five seconds, without a word', async (t) => {
    const said = first.state.output
    const begun = Date.now()
    // As a terminal does it: to the entire process group.
    process.kill(-(first.child.pid as number), 'SIGINT')
    t.strictSame(await first.ended, [0, null])
    const took = Date.now() - begun
    t.ok(took < 5_000, `${took} ms`)
    t.equal(first.state.output, said)
    t.equal(first.processes().size, 0)
    for (const [name, port] of Object.entries(first.ports)) t.ok(await isFree(port), name)
  })

  await t.test('the next start has the same users and sessions', async (t) => {
    // As one that was killed leaves it.
    writeFileSync(join(folder, 'running'), '')
    const second = await start(t, { DATA_DIR: folder })
    const again = Object.assign(new Client(second.gateway), { cookie: client.cookie })
    t.equal((await again.refresh()).status, 200)
    t.equal((await again.call('GET', '/api/doctor/appointments')).body.appointments.length, 3)

    await t.test('a process that ends by itself is named', async () => {
      process.kill(pidOf(second, 'appointments/dist'), 'SIGKILL')
      await eventually('it is named', () => /appointments ended with SIGKILL; see .*\.log/.test(second.state.output))
      process.kill(pidOf(second, 'web/dist'), 'SIGTERM')
      await eventually('it is named', () => /web ended with code 0; see .*\.log/.test(second.state.output))
    })

    await t.test('without its database everything ends, and says why', async (t) => {
      process.kill(pidOf(second, 'bin/postgres -D'), 'SIGKILL')
      t.strictSame(await second.ended, [1, null])
      t.match(second.state.output, /PostgreSQL has ended; see .*postgres.log/)
      t.equal(second.processes().size, 0)
    })
  })
})

t.test('what npm start is not for is refused, with what to run instead', async (t) => {
  const DATA_DIR = join(temporaryFolder(t), 'data')
  const given = { NODE_ENV: 'production', DATABASE_URL: 'postgresql://owner@db/sallyport' }
  const lines = await refusal(t, { DATA_DIR, ...given })
  t.match(lines, [/^NODE_ENV is production, .* `npm run migrate`/, /^DATABASE_URL is set, .* `npm run migrate`/])
  t.equal(lines.length, 2)
  t.notOk(statSync(DATA_DIR, { throwIfNoEntry: false }), 'and nothing was made')
})

t.test('what stops it from starting is named in one line', async (t) => {
  const folder = temporaryFolder(t)
  t.match(await refusal(t, { DATA_DIR: '/dev/null/x' }), [/cannot be used .* set DATA_DIR/])
  mkdirSync(join(folder, 'running'))
  t.match(await refusal(t, { DATA_DIR: folder }), [/^EISDIR: .*running'$/])
  rmSync(join(folder, 'running'), { recursive: true })

  const secrets = join(folder, 'secrets')
  mkdirSync(secrets)
  writeFileSync(join(secrets, 'identity-private-key.pem'), 'no key')
  t.match(await refusal(t, { DATA_DIR: folder }), [/identity-private-key.pem is of no use .* delete it/])
  rmSync(secrets, { recursive: true })

  mkdirSync(join(folder, 'postgres'))
  writeFileSync(join(folder, 'postgres/PG_VERSION'), '18')
  t.match(await refusal(t, { DATA_DIR: folder }), [/the password of the database cannot be read/])
  writeFileSync(join(folder, 'postgres-password'), 'x')
  t.match(await refusal(t, { DATA_DIR: folder }), [/PostgreSQL does not start; its log says: ./])
})

t.test('a fault of ours shows where it is', async (t) => {
  const NODE_OPTIONS = '--import=data:text/javascript,Promise.race=()=>{throw(new(Error)(`boom`))}'
  t.match(
    (await refusal(t, { DATA_DIR: temporaryFolder(t), NODE_OPTIONS, npm_lifecycle_event: 'start' })).join('\n'),
    /Error: boom\n +at /,
  )
})

t.test('a version of Node.js that is too old is named before anything is built', async (t) => {
  const old = ['--no-experimental-require-module', join(root, 'local/start.cjs')]
  const { status, stderr } = spawnSync(process.execPath, old, { encoding: 'utf8' })
  t.equal(status, 1)
  t.match(stderr, /^Sallyport needs Node.js 20.19 or later/)
})

t.test('npm that is killed takes it along', async (t) => {
  const DATA_DIR = temporaryFolder(t)
  const started = launch({ ...(await choosePorts()), DATA_DIR, npm_lifecycle_event: 'start' }, { command: byNpm })
  t.teardown(() => {
    for (const pid of started.processes().keys()) kill(pid, 'SIGKILL')
  })
  await eventually('it has begun', () => existsSync(join(DATA_DIR, 'running')), 60_000)
  kill(started.child.pid, 'SIGKILL')
  await eventually('nothing is left', () => started.processes().size === 0, 60_000)
})

t.test('whenever and however it is ended, nothing is left and the next start is good', async (t) => {
  await endAtRandomMoments(2, Date.now() % 2 ** 31, (line) => t.comment(line))
})

t.test(
  'root can run it out of a folder that only root can enter, and delete its data meanwhile',
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
    const { output } = running.state
    rmSync(join(home, '.data'), { recursive: true, force: true })
    t.strictSame(await running.ended, [1, null])
    t.match(running.state.output.slice(output.length), /^\S+\.data was taken away, so all of it has ended\n$/)
    await eventually('nothing is left', () => running.processes().size === 0)
  },
)
