import fc from 'fast-check'
import t from 'tap'
import type { Rules } from './account.ts'
import { prepare } from './account.ts'
import type { Fields } from './person.ts'
import { readEntries } from './read.ts'
import { readerOf, type Source, sources } from './sources.ts'

/** A file in pieces of so many bytes. */
async function* inPieces(text: string, size: number): AsyncGenerator<Buffer> {
  const bytes = Buffer.from(text)
  for (let at = 0; at < bytes.length; at += size) yield bytes.subarray(at, at + size)
}

async function readAll(text: string, source: Source, size = 7): Promise<Fields[]> {
  const entries: Fields[] = []
  for await (const entry of readEntries(inPieces(text, size), source)) entries.push({ ...entry })
  return entries
}

const users = [{ email: 'ä@example.com', n: 1 }, { email: 'b@example.com', list: [{}] }, { email: '🔑' }]

t.test('an export is read whatever its form, and wherever its pieces end', async (t) => {
  for (const size of [1, 7, 100_000]) {
    t.strictSame(await readAll(JSON.stringify(users), 'auth0', size), users, 'a list')
    t.strictSame(
      await readAll(users.map((user) => `${JSON.stringify(user)}\n`).join(''), 'auth0', size),
      users,
      'lines',
    )
    t.strictSame(await readAll(users.map((user) => JSON.stringify(user)).join('\r\n'), 'supabase', size), users)
    const realm = { realm: 'main', clients: [{ users: [1] }], users, roles: { users: 1 } }
    t.strictSame(await readAll(`\ufeff\n ${JSON.stringify(realm)}`, 'keycloak', size), users, 'an object, after a mark')
    t.strictSame(await readAll(JSON.stringify(users), 'keycloak', size), users)
    const csv = '\ufeffemail,name\r\nä@example.com,"Ä, the ""first"""\n\nb@example.com,\n'
    const rows = [
      { email: 'ä@example.com', name: 'Ä, the "first"' },
      { email: 'b@example.com', name: '' },
    ]
    t.strictSame(await readAll(csv, 'csv', size), rows)
    t.strictSame(await readAll(csv, 'supabase', size), rows, 'CSV where it might be JSON')
  }
  for (const nothing of ['', ' \n', '[]', 'email,name\n']) t.strictSame(await readAll(nothing, 'auth0'), [])
})

t.test(
  'a file that is broken, or ends in the middle, is an error that says where and nothing of what is in it',
  async (t) => {
    const secret = '$2b$10$secretsecretsecret'
    const broken: [string, Source][] = [
      [`[{"a":"${secret}"},{"a":"${secret}"`, 'auth0'],
      [`{"a":1}\n{"a":"${secret}"`, 'auth0'],
      [`{"a":1}\n{"a":"${secret}`, 'auth0'],
      [`{"a":1}\n{"a":${secret}}\n`, 'auth0'],
      [`{"users":[{"a":"${secret}"}`, 'firebase'],
      [`[{"a":1}]{"b":"${secret}"}`, 'firebase'],
      [`a,b\n1,2\n${secret}\n`, 'csv'],
      [`a,b\n1,"${secret}\n`, 'csv'],
      [`a\n${'x'.repeat(1_100_000)}\n`, 'csv'],
    ]
    for (const [text, source] of broken) {
      const error = await readAll(text, source, 100_000).then(
        () => undefined,
        ({ message }: Error) => message,
      )
      t.ok(error, `${source}: ${text.slice(0, 40)}`)
      t.notMatch(error, 'secret')
    }
  },
)

t.test('whatever an export holds, nobody is made of it who could not have an account', async () => {
  const word = fc.constantFrom(
    ...['id', 'email', 'email_verified', 'emailVerified', 'verified', 'email_confirmed_at', 'name', 'roles', 'role'],
    ...['encrypted_password', 'passwordHash', 'password_hash', 'password', 'salt', 'credentials', 'secretData', 'type'],
    ...['credentialData', 'algorithm', 'value', 'hash', 'custom_password_hash', 'totp', 'totp_secret', 'mfa_factors'],
    ...['created_at', 'createdAt', 'raw_user_meta_data', 'raw_app_meta_data', 'attributes', 'locale', 'mfaInfo', '_id'],
    ...['firstName', 'realmRoles', 'clientRoles', 'enabled', 'hashIterations', 'additionalParameters', '__proto__'],
  )
  const leaf = fc.oneof(
    fc.string(),
    fc.string({ unit: 'binary' }),
    fc.emailAddress(),
    fc.constantFrom(
      'password',
      'otp',
      'totp',
      'true',
      'admin',
      'pbkdf2',
      'argon2',
      'scrypt',
      '[]',
      '{"a":1}',
      null,
      true,
    ),
    fc.constantFrom(
      '2020-01-01 00:00:00+00',
      'otpauth://totp/x?secret=GEZDGNBVGY3TQOJQ',
      'GEZDGNBVGY3TQOJQ',
      1e300,
      -1,
    ),
  )
  const { tree } = fc.letrec<{ tree: unknown }>((tie) => ({
    tree: fc.oneof(
      { maxDepth: 4 },
      leaf,
      fc.array(tie('tree'), { maxLength: 3 }),
      fc.dictionary(word, tie('tree'), { maxKeys: 12 }),
    ),
  }))
  const user = fc.tuple(fc.dictionary(word, tree, { maxKeys: 20 }), fc.emailAddress(), fc.constantFrom(...sources))
  const parameters = { memCost: 14, rounds: 8, saltSeparator: 'Bw==', signerKey: 'a'.repeat(88) }
  const factorKey = { ids: ['id'] as [string], seal: (text: string) => text, open: () => undefined }
  fc.assert(
    fc.property(user, ([fields, email, source]) => {
      const rules: Rules = {
        source,
        roles: new Map([['admin', 'admin']]),
        defaultRole: 'user',
        includeUnverified: true,
      }
      for (const given of [fields, { email, ...fields }, { ...fields, email }]) {
        const { account, leftOut } = prepare(readerOf(source, parameters)(given), rules, factorKey)
        if (!account) return leftOut.some(({ what }) => what === 'user')
        const isKnown = account.roles.every((role) => role === 'admin' || role === 'user')
        // No id but a UUID, and what JSON for the database cannot hold is not in it.
        if (!isKnown || !/^[0-9a-f-]{36}$/.test(account.id) || /\\u0000|\\ud[89a-f]/.test(JSON.stringify(account)))
          return false
      }
      return true
    }),
    { numRuns: 3_000 },
  )
})
