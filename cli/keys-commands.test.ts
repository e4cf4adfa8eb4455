import { spawnSync } from 'node:child_process'
import { createHash, generateKeyPairSync } from 'node:crypto'
import { mkdtempSync, readdirSync, readFileSync, rmSync, statSync, writeFileSync } from 'node:fs'
import { tmpdir } from 'node:os'
import { join } from 'node:path'
import { privateKeys, publicKeys, readSettings, secrets } from '@sallyport/chassis'
import { publicJwk } from '@sallyport/identity'
import t, { type Test } from 'tap'
import { takeOutput } from './test-output.ts'

/** What the program does and says, with no other settings than these; test/operations/keys.test.ts runs the program itself. */
const keys = (words: string, settings: Record<string, string> = {}) =>
  takeOutput(['keys', ...words.split(' ')], settings)

function folderOf(t: Test): string {
  const folder = mkdtempSync(join(tmpdir(), 'sallyport-keys-'))
  t.teardown(() => rmSync(folder, { recursive: true, force: true }))
  return folder
}

const minutesAgo = (minutes: number) => new Date(Date.now() - minutes * 60_000).toISOString()
const day = 24 * 60

/** Sets back one of the times a file says of a key: `created` or `active until`. */
function setBack(file: string, kid: string, what: string, minutes: number): void {
  const before = readFileSync(file, 'utf8')
  const after = before.replace(new RegExp(`(# kid ${kid}.* ${what}) \\S+`), `$1 ${minutesAgo(minutes)}`)
  if (after === before) throw new Error(`${file} does not say ${what} of ${kid}`)
  writeFileSync(file, after)
}

/** Makes a key and gives its id. */
async function make(kind: string, file: string): Promise<string> {
  const { code, output, errors } = await keys(`new ${kind} --file ${file}`)
  if (code !== 0) throw new Error(errors)
  return /^made ([\w-]+)/.exec(output)?.[1] as string
}

const kidOfSecret = (secret: string) => createHash('sha256').update(secret).digest('base64url').slice(0, 16)

/** The ids of the keys that the auth service reads from a file, in its order. */
const readers = {
  signing: (file: string) =>
    readSettings({ KEYS_FILE: file }, { KEYS: privateKeys({ desc: 'keys' }) }).KEYS.map((key) => publicJwk(key).kid),
  refresh: (file: string) =>
    readSettings(
      { SECRETS_FILE: file },
      { SECRETS: secrets({ NODE_ENV: 'production' })({ desc: 'secrets' }) },
    ).SECRETS.map(kidOfSecret),
}

for (const [kind, read] of Object.entries(readers)) {
  t.test(`the life of a ${kind} key`, async (t) => {
    const folder = folderOf(t)
    const file = join(folder, 'new-folder', kind)
    const first = await make(kind, file)
    t.strictSame(read(file), [first], 'the first of a file is active')
    t.equal(statSync(file).mode & 0o777, 0o600)
    t.equal(statSync(join(folder, 'new-folder')).mode & 0o777, 0o700)

    const second = await make(kind, file)
    t.strictSame(read(file), [first, second], 'the next is accepted and does not sign')
    t.match((await keys(`list ${kind} --file ${file}`)).output.split('\n'), [
      new RegExp(`^${kind} ${first} created 20\\d\\d-\\S+Z active$`),
      new RegExp(`^${kind} ${second} created 20\\d\\d-\\S+Z accepted$`),
    ])

    const early = await keys(`activate ${kind} ${second} --file ${file}`)
    t.match(early, { code: 1, errors: /^sallyport: it is too early to activate .* \(wait until 20.*--force.*\n$/ })
    setBack(file, second, 'created', 4)
    t.equal((await keys(`activate ${kind} ${second} --file ${file}`)).code, 1)
    t.strictSame(read(file), [first, second], 'nothing changed')
    setBack(file, second, 'created', 5)
    t.match(await keys(`activate ${kind} ${second} --file ${file}`), { code: 0, errors: '' })
    t.strictSame(read(file), [second, first])
    t.match(
      (await keys(`list ${kind} --file ${file}`)).output,
      new RegExp(`${first} created \\S+ accepted, active until 20\\S+Z\n$`),
    )

    const lifetime = { signing: 15, refresh: 7 * day }[kind] as number
    t.match(await keys(`retire ${kind} ${first} --file ${file}`), { code: 1, errors: /too early to retire/ })
    setBack(file, first, 'active until', lifetime - 1)
    t.equal((await keys(`retire ${kind} ${first} --file ${file}`)).code, 1)
    t.strictSame(read(file), [second, first])
    setBack(file, first, 'active until', lifetime)
    t.match(await keys(`retire ${kind} ${first} --file ${file}`), {
      code: 0,
      errors: '',
      output: `${first} is retired\n`,
    })
    t.strictSame(read(file), [second])
    t.equal(statSync(file).mode & 0o777, 0o600)
    t.strictSame(readdirSync(join(folder, 'new-folder')), [kind], 'nothing else is left')
  })

  t.test(`a ${kind} key too early: only by force, which says what it costs`, async (t) => {
    const file = join(folderOf(t), kind)
    const first = await make(kind, file)
    const second = await make(kind, file)
    t.match(await keys(`activate ${kind} ${second} --file ${file} --force`), {
      code: 0,
      errors: /^sallyport: warning: /,
    })
    t.match(await keys(`retire ${kind} ${first} --file ${file} --force`), {
      code: 0,
      errors: /^sallyport: warning: /,
    })
    t.strictSame(read(file), [second])
    const third = await make(kind, file)
    t.match(await keys(`retire ${kind} ${third} --file ${file}`), { code: 0, errors: '' }, 'it never signed')
    t.strictSame(read(file), [second])
  })

  t.test(`an old ${kind} key can be active again`, async (t) => {
    const file = join(folderOf(t), kind)
    const [first, second] = [await make(kind, file), await make(kind, file)]
    await keys(`activate ${kind} ${second} --file ${file} --force`)
    setBack(file, first, 'created', 10)
    t.equal((await keys(`activate ${kind} ${first} --file ${file}`)).code, 0)
    t.match((await keys(`list ${kind} --file ${file}`)).output.split('\n'), [/active$/, /accepted, active until/])
    t.strictSame(read(file), [first, second])
  })
}

t.test('files made by hand are read, and what they do not say is taken for too early', async (t) => {
  const folder = folderOf(t)
  const pem = () =>
    generateKeyPairSync('ec', {
      namedCurve: 'P-256',
      publicKeyEncoding: { type: 'spki', format: 'pem' },
      privateKeyEncoding: { type: 'pkcs8', format: 'pem' },
    }).privateKey
  const files: Record<string, string> = { signing: `# mine\n${pem()}${pem()}${pem()}`, refresh: 'one,two\nthree\n' }
  for (const [kind, content] of Object.entries(files)) {
    const file = join(folder, kind)
    writeFileSync(file, content)
    const lines = (await keys(`list ${kind} --file ${file}`)).output.trim().split('\n')
    const [first, second, third] = lines.map((line) => line.split(' ')[1])
    t.strictSame(lines, [
      `${kind} ${first} created unknown active`,
      `${kind} ${second} created unknown accepted`,
      `${kind} ${third} created unknown accepted`,
    ])
    t.match(await keys(`activate ${kind} --file ${file} -- ${second}`), {
      code: 1,
      errors: /when it was made is not known/,
    })
    t.match(await keys(`retire ${kind} --file ${file} -- ${third}`), {
      code: 1,
      errors: /when it last signed is not known/,
    })
    t.equal(readFileSync(file, 'utf8'), content)
    t.equal((await keys(`activate ${kind} --file ${file} --force -- ${second}`)).code, 0)
    const after = (await keys(`list ${kind} --file ${file}`)).output.trim().split('\n')
    t.match(after[1], new RegExp(`^${kind} ${first} created unknown accepted, active until 20`))
  }
})

t.test('an id that begins with a hyphen can be given after --', async (t) => {
  const file = join(folderOf(t), 'refresh')
  let secret = 'a'
  while (!kidOfSecret(secret).startsWith('-')) secret += 'a'
  writeFileSync(file, `first\n${secret}\n`)
  t.match(await keys(`activate refresh --file ${file} --force -- ${kidOfSecret(secret)}`), { code: 0 })
  t.match(readFileSync(file, 'utf8'), new RegExp(`^# kid \\S+\\n${secret}\\n`))
})

t.test('the settings of the auth service say which file, and how long tokens hold', async (t) => {
  const file = join(folderOf(t), 'signing')
  writeFileSync(file, '')
  const settings = { JWT_PRIVATE_KEY_FILE: file, JWT_EXPIRES_IN: '1h' }
  t.match(await keys('new signing', settings), { code: 0, output: /which is active/ })
  t.match(await keys('new signing', settings), { code: 0, output: /activate it in 5 minutes or later/ })
  const [first, second] = readers.signing(file) as [string, string]
  await keys(`activate signing ${second} --force`, settings)
  setBack(file, first, 'active until', 59)
  t.match(await keys(`retire signing ${first}`, settings), { code: 1, errors: /too early/ })
  setBack(file, first, 'active until', 60)
  t.equal((await keys(`retire signing ${first}`, settings)).code, 0)
})

t.test('what cannot be done is one line and exit code 1', async (t) => {
  const folder = folderOf(t)
  const file = join(folder, 'signing')
  const kid = await make('signing', file)
  const content = readFileSync(file, 'utf8')
  writeFileSync(join(folder, 'broken'), 'no key')
  const refused: [string, RegExp][] = [
    ['list', /usage: sallyport keys /],
    ['turn signing', /usage: sallyport keys /],
    ['toString signing', /usage: sallyport keys /],
    ['new verifying', /usage: sallyport keys /],
    ['new constructor', /usage: sallyport keys /],
    ['new signing surplus', /usage: sallyport keys /],
    ['activate signing', /usage: sallyport keys /],
    ['activate signing one two', /usage: sallyport keys /],
    ['env signing', /usage: sallyport keys /],
    ['new signing --later', /--later/],
    ['new signing', /which file\? name it with --file, or set JWT_PRIVATE_KEY_FILE/],
    ['new refresh', /set JWT_REFRESH_SECRET_FILE/],
    ['new factor', /set FACTOR_KEY_FILE/],
    [`activate signing nobody --file ${file}`, /holds no signing key nobody; `sallyport keys list signing`/],
    [`retire signing ${kid} --file ${file} --force`, /is the active one; make another and activate that first/],
    [`activate signing ${kid} --file ${file}`, /is the active one/],
    [`list signing --file ${folder}/none`, /ENOENT: no such file/],
    [`list signing --file ${folder}/broken`, /JWT_PRIVATE_KEY holds no PEM block/],
    [`new signing --file ${folder}/broken`, /JWT_PRIVATE_KEY holds no PEM block/],
    [`new signing --file ${file}/below-a-file`, /ENOTDIR|EEXIST/],
  ]
  for (const [words, line] of refused) {
    const { code, output, errors } = await keys(words)
    t.strictSame({ code, output }, { code: 1, output: '' }, words)
    t.match(errors, line, words)
    t.match(errors, /^[^\n]+\n$/, 'one line')
    t.notMatch(errors, /PRIVATE KEY-----/)
  }
  t.equal(readFileSync(file, 'utf8'), content)
})

t.test('a complete set of secrets for a file of settings, new each time', async (t) => {
  const { code, output } = await keys('env')
  t.equal(code, 0)
  const file = join(folderOf(t), '.env')
  writeFileSync(file, output)
  const inShell = spawnSync('sh', ['-c', `set -a; . ${file}; env -0`], { env: {}, encoding: 'utf8' }).stdout
  const settings = Object.fromEntries(inShell.split('\0').map((line) => line.split(/=(.*)/s).slice(0, 2)))
  const read = readSettings(settings, {
    JWT_PRIVATE_KEY: privateKeys({ desc: 'a key' }),
    JWT_REFRESH_SECRET: secrets({ NODE_ENV: 'production' })({ desc: 'a secret' }),
    FACTOR_KEY: secrets({ NODE_ENV: 'production' })({ desc: 'a secret' }),
    REVOCATIONS_SECRET: secrets({ NODE_ENV: 'production' })({ desc: 'a secret' }),
    IDENTITY_PRIVATE_KEY: privateKeys({ desc: 'a key' }),
    IDENTITY_PUBLIC_KEY: publicKeys({ desc: 'a key' }),
    POSTGRES_PASSWORD: secrets({ NODE_ENV: 'production' })({ desc: 'a password' }),
    AUTH_DATABASE_PASSWORD: secrets({ NODE_ENV: 'production' })({ desc: 'a password' }),
    APPOINTMENTS_DATABASE_PASSWORD: secrets({ NODE_ENV: 'production' })({ desc: 'a password' }),
  })
  t.equal(publicJwk(read.IDENTITY_PUBLIC_KEY[0]).kid, publicJwk(read.IDENTITY_PRIVATE_KEY[0]).kid)
  t.not(publicJwk(read.JWT_PRIVATE_KEY[0]).kid, publicJwk(read.IDENTITY_PRIVATE_KEY[0]).kid)
  t.not(read.JWT_REFRESH_SECRET[0], read.REVOCATIONS_SECRET[0])
  const names = (text: string) =>
    text
      .trim()
      .split('\n')
      .map((line) => line.split('=')[0])
  const again = (await keys('env')).output
  t.strictSame(names(again), Object.keys(read))
  t.not(again, output)
})

t.test('to programs it says it in JSON, with what it costs in the answer', async (t) => {
  const file = join(folderOf(t), 'signing')
  const json = async (words: string) => {
    const { code, output, errors } = await keys(`${words} --json`)
    t.match({ code, errors }, { code: 0, errors: '' }, words)
    return JSON.parse(output)
  }
  const { id: first, ...made } = await json(`new signing --file ${file}`)
  t.strictSame(made, { kind: 'signing', active: true })
  const { id: second } = await json(`new signing --file ${file}`)
  t.match(await json(`activate signing ${second} --file ${file} --force`), {
    kind: 'signing',
    active: second,
    accepted: first,
    warnings: [/a gateway that has not fetched it yet/],
  })
  t.match(await json(`list signing --file ${file}`), {
    keys: [
      { kind: 'signing', id: second, created: /^20/, active: true, activeUntil: null },
      { kind: 'signing', id: first, active: false, activeUntil: /^20/ },
    ],
  })
  t.match(await json(`retire signing ${first} --file ${file} --force`), { retired: first, warnings: [/refused/] })
  t.match(await json('env'), { JWT_PRIVATE_KEY: /^-----BEGIN PRIVATE KEY-----\n/, FACTOR_KEY: String })
  t.match(await keys(`retire signing none --file ${file} --json`), {
    code: 1,
    output: '',
    errors: /^\{"error":".*\}\n$/,
  })
})
