import { mkdtempSync, readdirSync, readFileSync, rmSync, statSync, writeFileSync } from 'node:fs'
import { tmpdir } from 'node:os'
import { join } from 'node:path'
import { databaseAddress, privateKeys, publicKeys, readSettings, secrets } from '@sallyport/chassis'
import { publicJwk } from '@sallyport/identity'
import t, { type Test } from 'tap'
import { readKeys } from './key-file.ts'
import { takeOutput } from './test-output.ts'

async function make(t: Test, settings: Record<string, string> = {}) {
  const folder = join(mkdtempSync(join(tmpdir(), 'sallyport-files-')), 'secrets')
  t.teardown(() => rmSync(folder, { recursive: true, force: true }))
  const run = () => takeOutput(['keys', 'files', folder], settings)
  const read = (name: string) => readFileSync(join(folder, name), 'utf8')
  return { folder, run, read, first: await run() }
}

t.test('the files hold a whole set of secrets that the processes take', async (t) => {
  const { folder, read, first } = await make(t)
  t.match(first, { code: 0, errors: '' })
  const file = (name: string) => join(folder, name)
  const strong = (desc: string) => secrets({ NODE_ENV: 'production' })({ desc })
  const settings = readSettings(
    {
      JWT_PRIVATE_KEY_FILE: file('auth-keys/jwt.pem'),
      JWT_REFRESH_SECRET_FILE: file('auth-keys/refresh'),
      FACTOR_KEY_FILE: file('auth-keys/factor'),
      REVOCATIONS_SECRET_FILE: file('revocations/secret'),
      IDENTITY_PRIVATE_KEY_FILE: file('identity-private-key/identity.pem'),
      IDENTITY_PUBLIC_KEY_FILE: file('identity-public-key/identity.pub.pem'),
      DATABASE_URL_FILE: file('database-urls/auth'),
      AUTH_DATABASE_PASSWORD_FILE: file('postgres-auth/password'),
    },
    {
      JWT_PRIVATE_KEY: privateKeys({ desc: 'keys' }),
      JWT_REFRESH_SECRET: strong('secrets'),
      FACTOR_KEY: strong('secrets'),
      REVOCATIONS_SECRET: strong('secrets'),
      IDENTITY_PRIVATE_KEY: privateKeys({ desc: 'keys' }),
      IDENTITY_PUBLIC_KEY: publicKeys({ desc: 'keys' }),
      DATABASE_URL: databaseAddress({ desc: 'an address' }),
      AUTH_DATABASE_PASSWORD: strong('a password'),
    },
  )
  t.equal(publicJwk(settings.IDENTITY_PUBLIC_KEY[0]).kid, publicJwk(settings.IDENTITY_PRIVATE_KEY[0]).kid)
  t.equal(new URL(settings.DATABASE_URL).password, settings.AUTH_DATABASE_PASSWORD[0])
  for (const kind of ['signing', 'refresh', 'factor'] as const)
    t.match(readKeys(kind, file(`auth-keys/${{ signing: 'jwt.pem', refresh: 'refresh', factor: 'factor' }[kind]}`)), [
      { created: /^20/ },
    ])
  for (const role of ['owner', 'auth', 'appointments'])
    t.equal(new URL(read(`database-urls/${role}`)).password, read(`postgres-${role}/password`), role)
})

t.test('nobody but their owner comes to the files, and whoever a file is mounted for can read it', async (t) => {
  const { folder } = await make(t)
  t.equal(statSync(folder).mode & 0o777, 0o700)
  for (const name of readdirSync(folder, { recursive: true, encoding: 'utf8' })) {
    const status = statSync(join(folder, name))
    t.equal(status.mode & 0o777, status.isDirectory() ? 0o755 : 0o644, name)
  }
})

t.test('what is there stays, and what is missing is made', async (t) => {
  const { folder, run, read } = await make(t)
  t.match(await run(), { code: 0, output: '' })
  const before = read('identity-private-key/identity.pem')
  rmSync(join(folder, 'revocations'), { recursive: true })
  writeFileSync(join(folder, 'auth-keys/factor'), 'mine')
  t.match(await run(), { code: 0, output: `made ${folder}/revocations/secret\n` })
  t.equal(read('identity-private-key/identity.pem'), before)
  t.equal(read('auth-keys/factor'), 'mine')
})

t.test('values of an earlier .env are taken over', async (t) => {
  const { output } = await takeOutput(['keys', 'env'])
  const settings = Object.fromEntries([...output.matchAll(/^(\w+)="(.*)"$/gm)].map(([, name, value]) => [name, value]))
  const { read } = await make(t, { ...settings, AUTH_DATABASE_PASSWORD: 'a/b' })
  const text = (name: string) => settings[name].replaceAll('\\n', '\n')
  t.equal(read('auth-keys/jwt.pem'), text('JWT_PRIVATE_KEY'))
  t.equal(read('auth-keys/refresh'), text('JWT_REFRESH_SECRET'))
  t.equal(read('identity-public-key/identity.pub.pem').trim(), text('IDENTITY_PUBLIC_KEY'))
  t.equal(read('postgres-owner/password'), text('POSTGRES_PASSWORD'))
  t.equal(read('database-urls/auth'), 'postgresql://auth:a%2Fb@postgres:5432/sallyport')
})

t.test('a folder is needed, and one', async (t) => {
  for (const words of [['files'], ['files', 'a', 'b']])
    t.match(await takeOutput(['keys', ...words]), { code: 1, errors: /^sallyport: .*usage: / })
})
