import { execFile } from 'node:child_process'
import { readFileSync, writeFileSync } from 'node:fs'
import { join } from 'node:path'
import { fileURLToPath } from 'node:url'
import { promisify } from 'node:util'
import { createVerifier } from 'fast-jwt'
import t from 'tap'
import { Client, signIn, startSystem, temporaryFolder, eventually as within } from '../support/system.ts'

const program = fileURLToPath(new URL('../../../cli/dist/sallyport.js', import.meta.url))

async function keys(...words: string[]): Promise<string> {
  const { stdout } = await promisify(execFile)(process.execPath, [program, 'keys', ...words], { env: process.env })
  return stdout.trim()
}

const eventually = (what: string, check: () => boolean | Promise<boolean>) => within(what, check, 30_000)

/** The ids in a key file, the active one first. */
async function idsOf(kind: string, file: string): Promise<string[]> {
  const lines = (await keys('list', kind, '--file', file)).split('\n')
  return lines.map((line) => line.split(' ')[1] as string)
}

const keyIdOf = (token: string) => JSON.parse(Buffer.from(token.split('.')[0] as string, 'base64url').toString()).kid

/** A client that refreshes and sends requests without a pause, and records every response that is not 200. */
class BusyClient extends Client {
  readonly failures: string[] = []
  requests = 0
  #busy = true
  #work: Promise<void> | undefined

  async signIn(): Promise<this> {
    await this.login()
    this.#work = this.#run()
    return this
  }

  async #run(): Promise<void> {
    while (this.#busy) {
      await this.#expect('POST', '/api/auth/refresh')
      await this.#expect('GET', '/api/doctor/appointments')
      await this.#expect('GET', '/api/whoami')
      await new Promise((resolve) => setTimeout(resolve, 100))
    }
  }

  async #expect(method: string, path: string): Promise<void> {
    const { status, body } = await this.call(method, path)
    this.requests += 1
    if (status !== 200) this.failures.push(`${method} ${path} ${status} ${JSON.stringify(body)}`)
  }

  async end(): Promise<void> {
    this.#busy = false
    await this.#work
  }
}

t.test('keys and secrets rotate under load: no request fails, no session ends', async (t) => {
  const folder = temporaryFolder(t)
  const signing = join(folder, 'signing')
  const refresh = join(folder, 'refresh')
  await Promise.all([keys('new', 'signing', '--file', signing), keys('new', 'refresh', '--file', refresh)])
  const { gateway, processes, log, sql } = await startSystem(
    t,
    {
      JWT_PRIVATE_KEY: '',
      JWT_PRIVATE_KEY_FILE: signing,
      JWT_REFRESH_SECRET: '',
      JWT_REFRESH_SECRET_FILE: refresh,
      JWKS_MAX_AGE: '1s',
    },
    ['appointments'],
  )
  const jwks = `http://127.0.0.1:${processes.auth.port}/.well-known/jwks.json`
  const published = async () => {
    const { keys } = (await (await fetch(jwks)).json()) as { keys: { kid: string }[] }
    return keys.map(({ kid }) => kid)
  }
  const logged = (event: string, ...words: string[]) =>
    log.some((line) => line.includes(`"${event}"`) && words.every((word) => line.includes(word)))

  const [oldKey] = (await idsOf('signing', signing)) as [string]
  const [oldSecret] = (await idsOf('refresh', refresh)) as [string]
  const idle = await signIn(gateway)
  const oldToken = idle.accessToken as string
  const callWithOldToken = () =>
    new Client(gateway).call('GET', '/api/whoami', { headers: { authorization: `Bearer ${oldToken}` } })
  const busy = await Promise.all(Array.from({ length: 4 }, () => new BusyClient(gateway).signIn()))
  t.teardown(() => Promise.all(busy.map((client) => client.end())))
  const failures = () => busy.flatMap((client) => client.failures)

  await t.test('a new signing key is published, and signs nothing yet', async (t) => {
    await keys('new', 'signing', '--file', signing)
    const [, newKey = ''] = await idsOf('signing', signing)
    await eventually('the gateway has the new key', () => logged('key_set_changed', oldKey, newKey))
    t.strictSame(await published(), [oldKey, newKey])
    t.ok(busy.every(({ accessToken }) => keyIdOf(accessToken as string) === oldKey))
    await t.rejects(keys('activate', 'signing', newKey, '--file', signing), /too early/)
  })

  await t.test('once it is active it signs, and tokens by the old one are accepted', async (t) => {
    const [, newKey = ''] = await idsOf('signing', signing)
    await keys('activate', 'signing', newKey, '--file', signing, '--force')
    await eventually('every client has a token by the new key', () =>
      busy.every(({ accessToken }) => keyIdOf(accessToken as string) === newKey),
    )
    t.strictSame(await published(), [newKey, oldKey])
    t.equal((await callWithOldToken()).status, 200)
    t.strictSame(failures(), [])
  })

  await t.test('the refresh secret is replaced, and cookies by the old one are accepted', async (t) => {
    await keys('new', 'refresh', '--file', refresh)
    await eventually('both are loaded', () => logged('keys_reloaded', '"refreshSecrets":2'))
    const [, newSecret = ''] = await idsOf('refresh', refresh)
    await keys('activate', 'refresh', newSecret, '--file', refresh, '--force')
    const [secret] = readFileSync(refresh, 'utf8')
      .split('\n')
      .filter((line) => !line.startsWith('#'))
    const verify = createVerifier({ key: secret as string })
    const isNew = ({ cookie }: Client) => {
      try {
        return verify(cookie as string).type === 'refresh'
      } catch {
        return false
      }
    }
    await eventually('every client has a cookie by the new secret', () => busy.every(isNew))
    t.notOk(isNew(idle))
    t.equal((await idle.refresh()).status, 200, 'a client that was away comes back')
    t.ok(isNew(idle))
    await t.rejects(keys('retire', 'refresh', oldSecret, '--file', refresh), /too early/)
    await keys('retire', 'refresh', oldSecret, '--file', refresh, '--force')
    await eventually('one is left', () => logged('keys_reloaded', '"refreshSecrets":1'))
    t.strictSame(await idsOf('refresh', refresh), [newSecret])
  })

  await t.test('tokens by a retired signing key are refused once the gateway has fetched again', async (t) => {
    const [newKey = ''] = await idsOf('signing', signing)
    t.equal((await callWithOldToken()).status, 200, 'until then')
    await keys('retire', 'signing', oldKey, '--file', signing, '--force')
    await eventually('the old token is refused', async () => (await callWithOldToken()).status === 401)
    t.match((await callWithOldToken()).body, { code: 'TOKEN_INVALID' })
    t.strictSame(await published(), [newKey])
  })

  await t.test('invalid files change nothing, and SIGHUP has them read again', async (t) => {
    const [content, before] = [readFileSync(signing, 'utf8'), await published()]
    writeFileSync(signing, '# all gone\n')
    await eventually('the log says why', () => logged('keys_refused', 'JWT_PRIVATE_KEY holds no PEM block'))
    t.strictSame(await published(), before)
    writeFileSync(signing, content)
    const reloads = () => log.filter((line) => line.includes('"keys_reloaded"')).length
    await eventually(
      'the fixed file is read',
      () =>
        log.findLastIndex((line) => line.includes('"keys_reloaded"')) >
        log.findLastIndex((line) => line.includes('"keys_refused"')),
    )
    const count = reloads()
    processes.auth.child.kill('SIGHUP')
    await eventually('it is read again', () => reloads() > count)
    t.strictSame(await published(), before)
  })

  for (const client of busy) {
    await client.end()
    t.ok(client.requests > 20, `${client.requests} requests`)
  }
  t.strictSame(failures(), [], 'no request failed')
  const { rows } = await sql('SELECT count(*)::int AS ended FROM auth.sessions WHERE revoked_at IS NOT NULL')
  t.strictSame(rows, [{ ended: 0 }], 'no session ended')
  t.notMatch(log.join('\n'), /BEGIN PRIVATE KEY/)
})
