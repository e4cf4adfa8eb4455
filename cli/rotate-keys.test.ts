import { spawnSync } from 'node:child_process'
import { mkdtempSync, readFileSync, rmSync, statSync, writeFileSync } from 'node:fs'
import { tmpdir } from 'node:os'
import { join } from 'node:path'
import { fileURLToPath } from 'node:url'
import t, { type Test } from 'tap'
import { makeNewKey, parseKeys, readKeys, writeKeys } from './key-file.ts'
import { takeOutput } from './test-output.ts'

const minute = 60_000
const day = 24 * 60 * minute

const run = (words: string, settings: Record<string, string> = {}, input = '') =>
  takeOutput(['keys', ...words.split(' ')], settings, input)

function folderOf(t: Test): string {
  const folder = mkdtempSync(join(tmpdir(), 'sallyport-rotate-'))
  t.teardown(() => rmSync(folder, { recursive: true, force: true }))
  return folder
}

const ago = (milliseconds: number) => new Date(Date.now() - milliseconds).toISOString()
const kinds = { signing: [90, 15 * minute], refresh: [180, 7 * day], factor: [180, day] } as const

for (const [name, [days, lifetime]] of Object.entries(kinds)) {
  const kind = name as keyof typeof kinds
  t.test(`rotate does the step of a ${kind} key that is due, and no other`, async (t) => {
    const file = join(folderOf(t), kind)
    const rotate = (more = '') => run(`rotate ${kind} --file ${file}${more}`)
    const key = makeNewKey(kind)
    const first = { ...key, text: key.text.trim(), created: ago(days * day - minute) }
    writeKeys(file, [first])
    t.match(await rotate(), { code: 0, output: new RegExp(`^${kind}: ${first.kid} stays active until 20`) })
    t.strictSame(readKeys(kind, file), [first])

    writeKeys(file, [{ ...first, created: ago(days * day) }])
    t.match(await rotate(), { code: 0, output: /made .* 5 minutes/ })
    const [active, made] = readKeys(kind, file)
    t.equal(active?.kid, first.kid)
    if (!made) return
    const content = readFileSync(file, 'utf8')
    t.match(await rotate(' --now'), {
      code: 0,
      output: new RegExp(`${made.kid} is active with the first run after 20`),
    })
    t.equal(readFileSync(file, 'utf8'), content, 'what was begun is not begun again')

    writeKeys(file, [first, { ...made, created: ago(5 * minute) }])
    t.match(await rotate(), { output: `${kind}: ${made.kid} is active; ${first.kid} is still accepted\n` })
    const [second, old] = readKeys(kind, file)
    t.match([second, old], [{ kid: made.kid }, { kid: first.kid, activeUntil: /^20/ }])

    if (!second || !old) return
    writeKeys(file, [second, { ...old, activeUntil: ago(lifetime - minute) }])
    t.match(await rotate(), { output: new RegExp(`^${kind}: ${second.kid} stays active until 20\\S+\n$`) })
    writeKeys(file, [second, { ...old, activeUntil: ago(lifetime) }])
    t.match(await rotate(), { output: new RegExp(`^${kind}: ${first.kid} is retired\n${kind}: .* stays active`) })
    t.match(readKeys(kind, file), [second])

    t.match(await rotate(' --now'), { output: /made/ }, 'a leaked key does not wait for its age')
    t.equal(readKeys(kind, file).length, 2)
  })
}

t.test('a key that does not say when it was made counts as old, and stays while it is accepted', async (t) => {
  const file = join(folderOf(t), 'refresh')
  writeFileSync(file, 'one\ntwo\n')
  t.match(await run(`rotate refresh --file ${file}`), { code: 0, output: /made/ })
  t.match(readKeys('refresh', file), [{ text: 'one' }, { text: 'two' }, { created: /^20/ }])
})

t.test('whoever could read a file can read it after', async (t) => {
  const folder = folderOf(t)
  t.equal((await run(`files ${folder}`)).code, 0)
  const file = join(folder, 'auth-keys/jwt.pem')
  t.equal((await run(`rotate signing --now --file ${file}`)).code, 0)
  t.equal(statSync(file).mode & 0o777, 0o644)
})

t.test('without a kind it is every kind, by the settings of the auth service', async (t) => {
  const folder = folderOf(t)
  await run(`files ${folder}`)
  const settings = {
    JWT_PRIVATE_KEY_FILE: join(folder, 'auth-keys/jwt.pem'),
    JWT_REFRESH_SECRET_FILE: join(folder, 'auth-keys/refresh'),
    FACTOR_KEY_FILE: join(folder, 'auth-keys/factor'),
  }
  t.match(await run('rotate', settings), {
    code: 0,
    output: /^signing: .* stays.*\nrefresh: .* stays.*\nfactor: .* stays.*\n$/,
  })
  t.match(await run('rotate --now', settings), {
    code: 0,
    output: /^signing: made.*\nrefresh: made.*\nfactor: made.*\n$/,
  })
})

t.test('a secret of Kubernetes is read and written as JSON, and only its keys change', async (t) => {
  const folder = folderOf(t)
  await run(`files ${folder}`)
  const encode = (name: string) => readFileSync(join(folder, 'auth-keys', name)).toString('base64')
  const secret = {
    apiVersion: 'v1',
    kind: 'Secret',
    metadata: { name: 'auth-keys', resourceVersion: '41' },
    data: { 'jwt.pem': encode('jwt.pem'), refresh: encode('refresh'), factor: encode('factor') },
  }
  const { code, output, errors } = await run('rotate signing --now --secret', {}, JSON.stringify(secret))
  t.equal(code, 0)
  t.match(errors, /^signing: made .* 10 minutes/)
  const after = JSON.parse(output)
  t.strictSame(
    { ...after, data: { ...after.data, 'jwt.pem': '' } },
    { ...secret, data: { ...secret.data, 'jwt.pem': '' } },
  )
  t.equal(parseKeys('signing', Buffer.from(after.data['jwt.pem'], 'base64').toString()).length, 2)
  t.match(await run('rotate --secret', {}, output), {
    code: 0,
    errors: /is active with the first run after.*\n.*stays.*\n.*stays/,
  })

  t.match(await run('rotate --secret', {}, '{}'), {
    code: 1,
    output: '',
    errors: /has no jwt\.pem, which holds JWT_PRIVATE_KEY/,
  })
  t.match(await run('rotate --secret', {}, ''), { code: 1, output: '' })
})

t.test('the program reads the secret from its standard input, and says on standard error what it did', async (t) => {
  const folder = folderOf(t)
  await run(`files ${folder}`)
  const data = { refresh: readFileSync(join(folder, 'auth-keys/refresh')).toString('base64') }
  const program = fileURLToPath(new URL('sallyport.js', import.meta.url))
  const words = [program, 'keys', 'rotate', 'refresh', '--secret']
  const { status, stdout, stderr } = spawnSync(process.execPath, words, {
    input: JSON.stringify({ data }),
    encoding: 'utf8',
  })
  t.equal(status, 0)
  t.match(stderr, /refresh: \S+ stays active until/)
  t.strictSame(Object.keys(JSON.parse(stdout).data), ['refresh'])
})

t.test('words that make no rotation are refused', async (t) => {
  for (const words of [
    'rotate signing refresh',
    'rotate verifying',
    'rotate --file x',
    'list signing --now',
    'env --secret',
  ])
    t.match(await run(words), { code: 1, output: '', errors: /^sallyport: / }, words)
  t.match(await run('rotate signing'), { code: 1, errors: /set JWT_PRIVATE_KEY_FILE/ })
})
