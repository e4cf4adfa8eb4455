import { execFile, spawn } from 'node:child_process'
import { once } from 'node:events'
import { readFileSync, statSync, writeFileSync } from 'node:fs'
import { join } from 'node:path'
import { fileURLToPath } from 'node:url'
import { countHashes } from '@sallyport/auth/passwords/mix'
import { hash } from 'argon2'
import t, { type Test } from 'tap'
import { codeOf, steadyStep } from '../support/factors.ts'
import { type Format, type Vector, vectorsOf } from '../support/foreign-hashes.ts'
import { openAuthHere } from '../support/in-process.ts'
import { Client, claimsOf, eventually, type OpenSystem, openSystem, temporaryFolder } from '../support/system.ts'

t.setTimeout(600_000)

const program = fileURLToPath(new URL('../../../cli/dist/sallyport.js', import.meta.url))
const secret = 'GEZDGNBVGY3TQOJQGEZDGNBVGY3TQOJQ'
/** One whose password is ASCII, and one whose is not. */
const take = (format: Format): [Vector, Vector] => {
  const all = vectorsOf(format)
  return [all[4] as Vector, all[6] as Vector]
}
const roles = ['--role-map', 'Doctor=doctor', '--default-role', 'patient']

async function open(t: Test) {
  const system = await openSystem(t)
  const folder = temporaryFolder(t)
  const { urls, secrets } = system
  /** The command's, on the machine of an operator. */
  const own = { ...process.env, DATABASE_URL: urls.auth, FACTOR_KEY: secrets.FACTOR_KEY }
  const write = (name: string, content: string) => {
    writeFileSync(join(folder, name), content)
    return join(folder, name)
  }
  const run = (words: string[], env: NodeJS.ProcessEnv = own) =>
    new Promise<{ code: unknown; output: string; errors: string }>((resolve) =>
      execFile(process.execPath, [program, 'import', ...words], { env }, (error, output, errors) =>
        resolve({ code: error?.code ?? 0, output, errors }),
      ),
    )
  return { ...system, folder, own, write, run }
}

let clients = 0
function login(
  { gateway }: Pick<OpenSystem, 'gateway'>,
  email: string,
  password: string,
  client = new Client(gateway),
) {
  const headers = { 'x-forwarded-for': `10.1.${++clients >> 8}.${clients & 255}` }
  return client.call('POST', '/api/auth/login', { body: { email, password }, headers })
}

t.test('people of every system sign in with the password and the app that they have', async (t) => {
  const system = await open(t)
  const { gateway, sql, database, write, run } = system
  const [bcrypt] = take('bcrypt')
  const [argon2] = take('argon2')
  const [pbkdf2, other] = take('pbkdf2')
  const [better] = take('better-auth')
  const [firebase] = take('firebase')
  const [phpass] = take('phpass')
  const [ssha] = take('ssha')
  const [scrypt] = take('scrypt')
  const uuid = '0a1b2c3d-0000-4000-8000-00000000000a'

  /** What is in an export of each system, of one person called after it. */
  const exports: Record<string, { text: string; password: string; more?: string[]; totp?: boolean }> = {
    supabase: {
      password: bcrypt.password,
      totp: true,
      text: JSON.stringify([
        {
          ...{ id: uuid, email: 'supabase@example.com', encrypted_password: bcrypt.exported, totp_secret: secret },
          ...{ email_confirmed_at: '2024-01-01 00:00:00+00', created_at: '2024-01-01 00:00:00+00' },
          ...{ raw_user_meta_data: { full_name: 'Su Pa' }, raw_app_meta_data: { roles: ['Doctor'] } },
        },
      ]),
    },
    keycloak: {
      password: pbkdf2.password,
      totp: true,
      text: JSON.stringify({
        realm: 'main',
        users: [
          {
            ...{ id: '0a1b2c3d-0000-4000-8000-00000000000b', email: 'keycloak@example.com', emailVerified: true },
            ...{ enabled: true, firstName: 'Key', lastName: 'Cloak', realmRoles: ['Doctor', 'offline_access'] },
            credentials: [
              { type: 'password', ...ofKeycloak(pbkdf2.exported) },
              {
                type: 'otp',
                secretData: '{"value":"12345678901234567890"}',
                credentialData: '{"subType":"totp","digits":6,"counter":0,"period":30,"algorithm":"HmacSHA1"}',
              },
            ],
          },
        ],
      }),
    },
    auth0: {
      password: bcrypt.password,
      text: `${JSON.stringify({
        ...{ _id: { $oid: '60425da9519d90068f82b8bc' }, email: 'auth0@example.com', email_verified: true },
        ...{ passwordHash: bcrypt.exported, tenant: 'x', name: 'Au Th' },
      })}\n`,
    },
    firebase: {
      password: firebase.password,
      more: [
        '--hash-config',
        write(
          'hash-config',
          `hash_config {\n  algorithm: SCRYPT,\n  base64_signer_key: ${firebase.parameters?.signerKey},\n  base64_salt_separator: Bw==,\n  rounds: 8,\n  mem_cost: ${firebase.parameters?.memCost},\n}\n`,
        ),
      ],
      text: JSON.stringify({
        users: [
          {
            ...{ localId: 'abcdefghijklmnopqrstuvwxyz12', email: 'firebase@example.com', emailVerified: true },
            ...{ passwordHash: firebase.exported, salt: firebase.salt, displayName: 'Fi Re' },
            ...{ createdAt: '1577934245600', customAttributes: '{"role":"Doctor"}' },
          },
        ],
      }),
    },
    'better-auth': {
      password: better.password,
      totp: true,
      text: JSON.stringify({
        ...{ id: 'aBcDeF', email: 'better-auth@example.com', emailVerified: true, name: 'Bet Ter', role: 'Doctor' },
        ...{ password: better.exported, twoFactorEnabled: true, totp: `otpauth://totp/app:x?secret=${secret}` },
      }),
    },
    csv: {
      password: phpass.password,
      text: [
        'email,name,roles,password_hash,verified,totp',
        `csv@example.com,"C, Sv",Doctor,${phpass.exported},true,`,
        `ssha@example.com,S,Doctor,${ssha.exported},true,`,
        `scrypt@example.com,S,Doctor,"${scrypt.exported}",true,`,
        `argon2@example.com,S,Doctor,"${argon2.exported}",true,`,
        `pbkdf2@example.com,S,Doctor,"${other.exported}",true,`,
        '',
      ].join('\n'),
    },
  }
  const further: [string, Vector][] = [
    ...([
      ['ssha', ssha],
      ['scrypt', scrypt],
      ['argon2', argon2],
      ['pbkdf2', other],
    ] as [string, Vector][]),
  ]

  for (const [source, { text, more = [] }] of Object.entries(exports)) {
    const { code, output, errors } = await run(['--from', source, write(source, text), ...roles, ...more])
    t.equal(code, 0, `${source}: ${errors}`)
    t.match(output, /\d users: [15] imported, 0 there already, 0 left out/)
  }
  const kinds = [...(await countHashes(database, 3)).values()].reduce((sum, { users }) => sum + users, 0)
  t.equal(kinds, 3 + 10, 'every user is counted, whatever the slices')

  const people = [...Object.entries(exports).map(([name, one]) => ({ name, ...one }))]
  const all = [...people, ...further.map(([name, { password }]) => ({ name, password, totp: false }))]
  for (const { name, password, totp } of all)
    await t.test(`${name}`, async (t) => {
      const email = `${name}@example.com`
      t.match(await login(system, email, `-${password}`), { status: 401, body: { code: 'AUTH_INVALID_CREDENTIALS' } })
      const before = (await userOf(system, email)).password_hash
      const client = new Client(gateway)
      const first = await login(system, email, password, client)
      if (totp) {
        t.match(first, { status: 401, body: { code: 'SECOND_FACTOR_REQUIRED' } })
        const { challenge } = first.body
        const second = (code: string) =>
          client.call('POST', '/api/auth/login/second-factor', { body: { challenge, code } })
        await steadyStep()
        const wrong = codeOf(secret) === '000000' ? '111111' : '000000'
        t.match(await second(wrong), { status: 403, body: { code: 'CODE_WRONG' } })
        t.match(await second(codeOf(secret)), { status: 200 })
        t.match(claimsOf(client.accessToken as string), { acr: 'aal2' })
      } else t.equal(first.status, 200)
      const after = (await userOf(system, email)).password_hash
      t.not(after, before)
      t.match(after, /^\$argon2id\$v=19\$m=19456,t=2,p=1\$/, 'is stored as the passwords of today are')
      if (!totp) t.equal((await login(system, email, password)).status, 200, 'and good again')
    })

  t.match(await userOf(system, 'supabase@example.com'), { id: uuid, name: 'Su Pa', roles: ['doctor'] })
  t.match(await userOf(system, 'keycloak@example.com'), { name: 'Key Cloak', roles: ['doctor'] })
  t.match(await userOf(system, 'auth0@example.com'), { name: 'Au Th', roles: ['patient'] })
  const { rows } = await sql("SELECT count(*)::int AS n FROM auth.security_events WHERE reason LIKE 'imported from %'")
  t.equal(rows[0].n, 10)
  t.equal((await sql('SELECT FROM graphile_worker._private_jobs')).rowCount, 0, 'nobody is sent a mail')
})

/** A hash that passlib made, as Keycloak keeps one. */
function ofKeycloak(exported: string) {
  const [, name = '', iterations, salt = '', value = ''] = exported.split('$')
  const base64 = (text: string) => Buffer.from(text.replaceAll('.', '+'), 'base64').toString('base64')
  return {
    secretData: JSON.stringify({ value: base64(value), salt: base64(salt), additionalParameters: {} }),
    credentialData: JSON.stringify({ hashIterations: Number(iterations), algorithm: name, additionalParameters: {} }),
  }
}

async function userOf({ sql }: Pick<OpenSystem, 'sql'>, email: string) {
  return (await sql('SELECT * FROM auth.users WHERE email = $1', [email])).rows[0]
}

t.test('what cannot be taken over is left out, and it is said of whom and why', async (t) => {
  const system = await open(t)
  const { sql, write, run, folder } = system
  const password = 'seven quiet horses graze'
  const own = await hash(password, { memoryCost: 1024, timeCost: 1, parallelism: 1 })
  const file = write(
    'users.csv',
    [
      'id,email,name,roles,password_hash,verified,disabled,totp',
      `1,first@example.com,First,Doctor;Guest,"${own}",t,f,`,
      `2,unverified@example.com,U,Doctor,"${own}",f,f,`,
      `3,not an address,N,Doctor,"${own}",t,f,`,
      `4,FIRST@example.com,Again,Doctor,"${own}",t,f,`,
      `5,doctor@example.com,Has One,Doctor,"${own}",t,f,`,
      '6,social@example.com,Social,Doctor,,t,f,',
      '7,costly@example.com,Costly,Doctor,"$argon2id$v=19$m=999999,t=9,p=1$c2FsdHNhbHQ$dGFndGFndGFndGFndGFndGFn",t,f,',
      `8,disabled@example.com,D,Doctor,"${own}",t,t,not a secret`,
      `9,nothing@example.com,N,Guest,"${own}",t,f,`,
      `1,first@example.com,The Same,Doctor,"${own}",t,f,`,
      '',
    ].join('\n'),
  )
  const [report, ids] = [join(folder, 'report'), join(folder, 'ids')]
  const map = write('roles.json', '{"Doctor": "doctor"}')
  const words = ['--from', 'csv', '--roles', map, file, '--json']

  const tried = await run([...words, '--dry-run'])
  t.equal(tried.code, 0)
  t.equal((await sql("SELECT FROM auth.users WHERE email = 'first@example.com'")).rowCount, 0, 'a dry run does nothing')

  const done = await run([...words, '--report', report, '--ids', ids])
  const totals = JSON.parse(done.output)
  t.strictSame(JSON.parse(tried.output.trim().split('\n').at(-1) as string), totals, 'but says what would be done')
  t.strictSame(totals, {
    totals: {
      entries: 10,
      imported: 4,
      unchanged: 0,
      leftOut: {
        ...{ 'unverified address': 1, 'invalid address': 1, 'no role': 1 },
        ...{ 'address of another entry': 2, 'address of an account': 1 },
      },
      partly: {
        ...{ 'role: not in the map': 2, 'password: no password': 1 },
        ...{ 'password: hash of an unknown form, or too costly': 1 },
        'totp: secret not readable, or of another kind of second factor': 1,
      },
    },
  })
  const lines = readFileSync(report, 'utf8').trim().split('\n')
  t.strictSame(
    lines
      .map((line) => JSON.parse(line))
      .map(({ entry, what }) => `${entry} ${what}`)
      .sort(),
    [
      '1 role',
      '10 user',
      '2 user',
      '3 user',
      '4 user',
      '5 user',
      '6 password',
      '7 password',
      '8 totp',
      '9 role',
      '9 user',
    ],
  )
  t.equal(statSync(report).mode & 0o777, 0o600)
  for (const text of [...lines, tried.output, done.output, done.errors]) t.notMatch(text, /\$argon2|not a secret/)
  const renamed = readFileSync(ids, 'utf8')
    .trim()
    .split('\n')
    .map((line) => JSON.parse(line))
  t.strictSame(renamed.map(({ before }) => before).sort(), ['1', '6', '7', '8'])
  const first = await userOf(system, 'first@example.com')
  t.equal(renamed.find(({ before }) => before === '1').now, first.id)

  t.equal((await login(system, 'first@example.com', password)).status, 200)
  t.equal((await login(system, 'disabled@example.com', password)).status, 401, 'who is disabled stays so')
  t.match(await userOf(system, 'social@example.com'), { password_hash: '!' })
  t.match(
    await userOf(system, 'doctor@example.com'),
    { name: /^(?!Has One)/ },
    'an account that is there is left alone',
  )

  const rows = async () => (await sql('SELECT * FROM auth.users ORDER BY id')).rows
  const before = await rows()
  const again = JSON.parse((await run([...words, '--report', report])).output)
  t.match(again.totals, { imported: 0, unchanged: 4, leftOut: totals.totals.leftOut, partly: totals.totals.partly })
  t.strictSame(await rows(), before, 'a second run changes nothing')

  await sql("UPDATE auth.users SET delete_after = now() WHERE email = 'social@example.com'")
  await sql('SELECT auth.erase_user(id) FROM auth.users WHERE delete_after <= now()')
  t.match(JSON.parse((await run([...words, '--report', report])).output).totals, {
    ...{ imported: 0, unchanged: 3, leftOut: { erased: 1 } },
  })

  const statement = readFileSync(new URL('../../../docs/moving-in.md', import.meta.url), 'utf8').split('```sql\n')[1]
  t.equal((await sql(String(statement?.split('```')[0]))).rowCount, 2, 'whom docs/moving-in.md deletes')
  t.ok(await userOf(system, 'first@example.com'), 'not who has signed in')

  const { output } = await run(['--from', 'csv', '--roles', map, file, '--include-unverified'])
  t.match(output, /10 users: 3 imported, 1 there already, 6 left out\n/)
  t.match(output, /^4: FIRST@example\.com: address of another entry$/m)
  t.match(output, /^1: first@example\.com: without role: not in the map: "Guest"$/m)
})

t.test('who signs in for the first time at two replicas at once is let in by both', async (t) => {
  const system = await open(t)
  const { write, run } = system
  const auth = await openAuthHere({ ...system.environment, AUTH_PORT: '0' }, () => {})
  t.teardown(auth.close)
  const vectors = vectorsOf('bcrypt').filter((_, index) => index % 200 === 0)
  const rows = vectors.map(({ exported }, index) => `twice-${index}@example.com,true,${exported}`)
  const file = write('users.csv', ['email,verified,password_hash', ...rows].join('\n'))
  t.match(await run(['--from', 'csv', ...roles, file]), { code: 0, output: /5 users: 5 imported/ })
  for (const [index, { password }] of vectors.entries()) {
    const places = [system.auth, `http://127.0.0.1:${auth.port}`]
    const logins = places.map((gateway) => login({ gateway }, `twice-${index}@example.com`, password))
    t.strictSame(
      (await Promise.all(logins)).map(({ status }) => status),
      [200, 200],
    )
  }
})

t.test('an import that cannot begin says what to correct, and does nothing', async (t) => {
  const { write, run, own, sql } = await open(t)
  const file = write('users.csv', `email,verified,totp\na@example.com,true,${secret}\n`)
  const csv = ['--from', 'csv', '--default-role', 'patient', file]
  const without = await run(csv, { ...own, FACTOR_KEY: '' })
  t.match(without, { code: 1, errors: /set FACTOR_KEY as the auth service has it/ })
  t.match(await run(['--from', 'csv', '--default-role', 'Patient', file]), {
    code: 1,
    errors: /"Patient" cannot be a role/,
  })
  t.match(await run([...csv, '--role-map', 'x']), { code: 1, errors: /not of the form there=here/ })
  t.match(await run([...csv, '--roles', file]), { code: 1, errors: /holds no roles/ })
  t.match(await run(['--from', 'firebase', file]), { code: 1, errors: /--hash-config/ })
  t.match(await run(['--from', 'csv', `${file}.gone`]), { code: 1, errors: /ENOENT/ })
  t.match(await run([...csv, '--report', '/nowhere/report']), { code: 1, errors: /ENOENT/ })
  const broken = await run(['--from', 'auth0', '--json', write('broken', '[{"email":')])
  t.equal(broken.code, 1)
  t.match(JSON.parse(broken.errors), { error: /no JSON after 0 users/ })
  t.equal((await sql("SELECT FROM auth.users WHERE email = 'a@example.com'")).rowCount, 0)
})

t.test(
  'an import that is killed halfway goes on when it is run again, and nobody is there twice or by half',
  async (t) => {
    const { write, own, run, sql } = await open(t)
    const kept = await hash('x', { memoryCost: 1024, timeCost: 1, parallelism: 1 })
    const count = 12_000
    const rows = Array.from({ length: count }, (_, index) => `${index},p${index}@example.com,true,"${kept}",${secret}`)
    const file = write('users.csv', `id,email,verified,password_hash,totp\n${rows.join('\n')}\n`)
    const words = ['--from', 'csv', '--default-role', 'patient', file, '--json']
    const imported = async () =>
      (
        await sql(`SELECT count(*)::int AS users, count(t.user_id)::int AS apps,
      (SELECT count(*)::int FROM auth.security_events WHERE reason = 'imported from csv') AS events
      FROM auth.users u LEFT JOIN auth.totp t ON t.user_id = u.id WHERE u.email LIKE 'p%@example.com'
        AND u.email <> 'patient@example.com'`)
      ).rows[0]
    const child = spawn(process.execPath, [program, 'import', ...words], { env: own, stdio: 'ignore' })
    await eventually('some are there', async () => (await imported()).users > 0, 120_000)
    child.kill('SIGKILL')
    await once(child, 'exit')
    const half = await imported()
    t.ok(half.users > 0 && half.users < count, String(half.users))
    t.strictSame(half, { users: half.users, apps: half.users, events: half.users })
    const { totals } = JSON.parse((await run(words)).output)
    t.strictSame(totals, {
      entries: count,
      imported: count - totals.unchanged,
      unchanged: totals.unchanged,
      leftOut: {},
      partly: {},
    })
    t.ok(totals.unchanged >= half.users)
    t.strictSame(await imported(), { users: count, apps: count, events: count })
  },
)
