import { spawnSync } from 'node:child_process'
import { writeFileSync } from 'node:fs'
import { join } from 'node:path'
import { fileURLToPath } from 'node:url'
import { takeOutput } from '@sallyport/cli/test-output'
import { apiKeyId, publicJwk } from '@sallyport/identity'
import t from 'tap'
import { makeKeyPair } from '../support/machines.ts'
import { startDatabase, temporaryFolder } from '../support/system.ts'

const uuid = /[0-9a-f]{8}(-[0-9a-f]{4}){3}-[0-9a-f]{12}/

t.test('the command makes, shows and takes away what the pages do', async (t) => {
  const { urls, sql } = await startDatabase(t)
  const folder = temporaryFolder(t)
  const env: Record<string, string> = { DATABASE_URL: urls.auth, JWT_AUDIENCE: 'https://api.test' }
  const start = (args: string[], settings = env) => takeOutput(['clients', ...args], settings)
  async function run(...args: string[]): Promise<string[]> {
    const { code, output, errors } = await start(args)
    if (code !== 0) throw new Error(errors)
    return output.trimEnd().split('\n')
  }
  /** The one value that it is with --json. */
  const valueIn = async (...args: string[]) => JSON.parse((await run(...args, '--json'))[0] as string)
  const idIn = (lines: string[]) => uuid.exec(lines[0] as string)?.[0] as string
  const wrong = (args: string[], message: RegExp) => t.rejects(run(...args), { message }, args.join(' '))

  const id = idIn(await run('create', 'nightly', '--role', 'doctor', '--scope', 'a:read', '--scope', 'b:read'))
  t.strictSame(await run('list'), [`${id} nightly; roles: doctor; scopes: a:read b:read`])
  const other = idIn(await run('create', 'other', '--audience', 'appointments'))

  const { publicKey } = makeKeyPair()
  const [pem, jwks, broken] = ['key.pem', 'jwks.json', 'broken.json'].map((name) => join(folder, name)) as [
    string,
    string,
    string,
  ]
  writeFileSync(pem, publicKey)
  writeFileSync(jwks, JSON.stringify({ keys: [publicJwk(publicKey)] }))
  writeFileSync(broken, '{"keys":[]}')

  const secret = await run('add-secret', id, '--name', 'by hand', '--expires', '90d')
  t.match(secret, [/^added secret /, /^[\w-]{43}$/])
  const apiKey = await run('add-api-key', id)
  t.equal(apiKeyId(apiKey[1] as string), idIn(apiKey))
  t.match(await run('add-keys', id, '--pem', pem), [/^added keys /])
  const keys = await run('add-keys', id, '--jwks', jwks)
  t.equal(keys.length, 1, 'of keys there is nothing to show')
  const exchange = await run(
    'add-exchange',
    id,
    '--from',
    'notifications',
    '--audience',
    'appointments',
    '--role',
    'doctor',
  )

  await wrong(
    ['add-exchange', id, '--from', 'notifications', '--audience', 'appointments', '--role', 'patient'],
    /remove it to replace it/,
  )

  const shown = await run('show', id)
  t.equal(shown.length, 6)
  t.match(shown.join('\n'), /secret .* by hand; expires: \d{4}-.*; last used: never/)
  t.match(shown.join('\n'), /exchange .* from notifications to appointments; roles: doctor; scopes: none/)

  await sql('UPDATE auth.client_credentials SET last_used_at = now() WHERE id = $1', [idIn(secret)])
  t.match((await run('show', id)).join('\n'), /secret .* by hand; expires: \d{4}-.*; last used: \d{4}-/)

  await run('revoke', id, idIn(secret))
  await run('remove-exchange', id, uuid.exec(exchange[0] as string)?.[0] as string)
  t.equal((await run('show', id)).length, 4)
  await run('delete', other)
  t.equal((await run('list')).length, 1)

  const { rows } = await sql('SELECT event, reason FROM auth.security_events WHERE client_id IS NOT NULL ORDER BY id')
  t.ok(rows.every(({ reason }) => reason === 'on the command line'))
  t.strictSame(new Set(rows.map(({ event }) => event)).size, 6, 'each kind of change is an event')

  await t.test('and says what is wrong', async () => {
    const usage = /usage:/
    for (const args of [[], ['nonsense'], ['toString'], ['create'], ['show', id, id], ['list', '--what', 'x']])
      await wrong(args, usage)
    await wrong(['show', other], /no service account/)
    await wrong(['show', "'; DROP TABLE users"], /no service account/)
    await wrong(['create', 'x'.repeat(201)], /the name has/)
    await wrong(['create', 'two\nlines'], /the name has/)
    await wrong(['create', 'x', '--role', 'Doctor'], /a role is/)
    await wrong(['create', 'x', '--scope', 'a b'], /a --scope of its own/)
    await wrong(['create', 'x', '--audience', '"'], /an audience is/)
    await wrong(['add-secret', id, '--expires', 'soon'], /not a span of time/)
    await wrong(['add-keys', id], /--jwks or in --pem/)
    await wrong(['add-keys', id, '--pem', pem, '--jwks', jwks], /--jwks or in --pem/)
    await wrong(['add-keys', id, '--jwks', pem], /key\.pem: it is no JSON; --pem takes/)
    await wrong(['add-keys', id, '--pem', jwks], /jwks\.json: it is no key in PEM; --jwks takes/)
    await wrong(['add-keys', id, '--pem', pem, '--expires', '90d'], /unknown option '--expires'.*usage:/)
    await wrong(['create', 'x', '--name', 'y', '--expires', '90d'], /unknown option '--name'/)
    await wrong(['list', '--role', 'doctor'], /unknown option '--role'/)
    await wrong(['add-keys', id, '--jwks', broken], /broken\.json: it is no JWK Set with a key/)
    await wrong(['revoke', id, other], /has no credential/)
    await wrong(['revoke', id, 'nonsense'], /has no credential/)
    await wrong(['remove-exchange', id, other], /has no exchange/)
    await wrong(['add-exchange', id, '--audience', 'b'], /required option '--from/)
    await wrong(['add-exchange', id, '--from', 'a'], /--from and one --audience/)
    t.match(await start(['create', 'x'], { DATABASE_URL: urls.auth }), { code: 1, errors: /JWT_AUDIENCE/ })
  })

  await t.test('and to programs it says it in JSON', async () => {
    const made = await valueIn('create', 'by a program', '--scope', 'a:read')
    t.match(made, { id: uuid, name: 'by a program', scopes: ['a:read'], audiences: ['https://api.test'] })
    t.match(await valueIn('list'), { clients: [{ name: 'nightly', lastUsedAt: null }, { id: made.id }] })
    const secret = await valueIn('add-secret', made.id)
    t.match(secret, { id: uuid, kind: 'secret', clientSecret: /^[\w-]{43}$/, expiresAt: null })
    t.match(await valueIn('add-api-key', made.id), { kind: 'api_key', apiKey: String })
    t.match(await valueIn('add-keys', made.id, '--pem', pem), { kind: 'keys', keys: [{ kid: String }] })
    const exchange = await valueIn('add-exchange', made.id, '--from', 'a', '--audience', 'b')
    t.match(exchange, { id: uuid, from: 'a', audience: 'b' })
    t.match(await valueIn('show', made.id), {
      id: made.id,
      credentials: [{ kind: 'secret' }, { kind: 'api_key' }, { kind: 'keys' }],
      exchanges: [{ id: exchange.id }],
    })
    t.strictSame(await valueIn('remove-exchange', made.id, exchange.id), { id: exchange.id, removed: true })
    t.strictSame(await valueIn('revoke', made.id, secret.id), { id: secret.id, revoked: true })
    t.strictSame(await valueIn('delete', made.id), { id: made.id, deleted: true })
    t.strictSame(await start(['show', made.id, '--json']), {
      code: 1,
      output: '',
      errors: `${JSON.stringify({ error: `there is no service account ${made.id}` })}\n`,
    })
  })

  await t.test('as a process', async (t) => {
    const program = fileURLToPath(new URL('../../../cli/bin/sallyport.js', import.meta.url))
    const start = (...args: string[]) =>
      spawnSync(process.execPath, [program, 'clients', ...args], { env: { DATABASE_URL: urls.auth }, encoding: 'utf8' })
    t.match(start('list'), { status: 0, stdout: /nightly/ })
    t.match(start('nonsense'), {
      status: 1,
      stderr: /^sallyport: unknown command 'nonsense'; usage: sallyport clients /,
    })
  })
})
