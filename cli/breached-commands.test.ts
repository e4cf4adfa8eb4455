import { existsSync, mkdirSync, readdirSync, readFileSync, writeFileSync } from 'node:fs'
import { join } from 'node:path'
import { type Breached, blockBytes, blockOf, digestOf, isIn, openBreached } from '@sallyport/auth/passwords/breached'
import t, { type Test } from 'tap'
import { takeOutput } from './test-output.ts'

/** What the program does and says; test/journeys/breached.test.ts runs the program itself. */
const breached = (...words: string[]) => takeOutput(['breached', ...words])

async function open(t: Test, file: string): Promise<Breached> {
  const set = (await openBreached(file)) as Breached
  t.teardown(set.close)
  return set
}

t.test(
  'a set of breached passwords misses none of its own, and takes 2 in 10,000 others for one at most',
  async (t) => {
    const folder = t.testdir()
    const [source, file] = [join(folder, 'source'), join(folder, 'set')]
    const [members, others] = [60_000, 300_000]
    const lines = Array.from(
      { length: members },
      (_, index) => `${digestOf(`member ${index}`).toString('hex')}:${index}\n`,
    )
    writeFileSync(source, lines.join(''))
    t.match(await breached('build', source, file), { code: 0, output: `made ${file} of 60000 passwords\n`, errors: '' })

    const blocks = readFileSync(file)
    const count = blocks.length / blockBytes - 1
    t.ok(count > 10, 'blocks enough that it matters which')
    const seemsIn = (password: string) => {
      const digest = digestOf(password)
      const start = (1 + blockOf(digest, count)) * blockBytes
      return isIn(blocks.subarray(start, start + blockBytes), digest)
    }
    let [missed, mistaken] = [0, 0]
    for (let index = 0; index < members; index++) if (!seemsIn(`member ${index}`)) missed += 1
    for (let index = 0; index < others; index++) if (seemsIn(`other ${index}`)) mistaken += 1
    t.equal(missed, 0)
    t.ok(mistaken <= (others * 2) / 10_000, `${mistaken} of ${others}`)

    const set = await open(t, file)
    for (const index of [0, 1, 30_000, members - 1]) t.equal(await set.has(`member ${index}`), true)
    t.equal(await set.has('other 1'), false)
  },
)

t.test('a source has hashes in either case, with counts or without, or passwords', async (t) => {
  const folder = t.testdir()
  const [source, file] = [join(folder, 'source'), join(folder, 'set')]
  const hash = (password: string) => digestOf(password).toString('hex')
  writeFileSync(
    source,
    `${hash('one').toUpperCase()}:52\r\n\r\n${hash('two')}:1\n${hash('three').toUpperCase()}\n${hash('four')}`,
  )
  t.match(await breached('build', source, file), { code: 0, output: /of 4 passwords/ })
  const hashes = await open(t, file)
  for (const password of ['one', 'two', 'three', 'four']) t.equal(await hashes.has(password), true, password)
  t.equal(await hashes.has('five'), false)

  writeFileSync(source, `five\r\n six \n${'mañana'.normalize('NFD')}\n`)
  t.match(await breached('build', '--plain', source, file), { code: 0, output: /of 3 passwords/ })
  t.equal(await hashes.has('one'), true, 'who has the old file open reads on in it')
  const plain = await open(t, file)
  for (const password of ['five', ' six ', 'mañana']) t.equal(await plain.has(password), true, password)
  for (const password of ['one', 'six', '']) t.equal(await plain.has(password), false, password)
  t.strictSame(readdirSync(folder).sort(), ['set', 'source'], 'nothing else is left')
})

t.test('a set that cannot be made is one line and exit code 1', async (t) => {
  const folder = t.testdir()
  const [file, good] = [join(folder, 'set'), join(folder, 'good')]
  const source = (name: string, content: string) => {
    writeFileSync(join(folder, name), content)
    return join(folder, name)
  }
  source('good', 'one\n')
  mkdirSync(join(folder, 'folder'))
  const refused: [string[], RegExp][] = [
    [[], /usage: sallyport breached \[options\] \[command\]/],
    [['list', good, file], /usage: sallyport breached /],
    [['build'], /usage: sallyport breached /],
    [['build', good], /usage: sallyport breached /],
    [['build', good, file, 'more'], /usage: sallyport breached /],
    [['build', good, file, '--later'], /--later/],
    [['build', join(folder, 'none'), file], /ENOENT/],
    [['build', source('empty', '\n\n'), file], /empty is empty/],
    [['build', source('mixed', `${'a'.repeat(40)}\n\npassword\n`), file], /line 3 of \S+mixed is neither .*--plain/],
    [['build', source('short', `${'a'.repeat(39)}:5\n`), file], /line 1 /],
    [['build', source('long', `a\n${'a'.repeat(70_000)}`), file, '--plain'], /line 2 of \S+long is longer/],
    [['build', good, join(folder, 'none', 'set'), '--plain'], /ENOENT/],
    [['build', good, join(folder, 'folder'), '--plain'], /EISDIR|ENOTEMPTY|directory/],
  ]
  for (const [words, line] of refused) {
    const { code, output, errors } = await breached(...words)
    t.strictSame({ code, output }, { code: 1, output: '' }, words.join(' '))
    t.match(errors, line)
    t.match(errors, /^[^\n]+\n$/, 'one line')
  }
  t.notOk(existsSync(file))
  t.strictSame(
    readdirSync(folder).sort(),
    ['empty', 'folder', 'good', 'long', 'mixed', 'short'],
    'nothing else is left',
  )
})

t.test('to programs it says it in JSON', async (t) => {
  const folder = t.testdir({ source: 'one\ntwo\n' })
  const [source, file] = [join(folder, 'source'), join(folder, 'set')]
  const { output } = await breached('build', source, file, '--plain', '--json')
  t.strictSame(JSON.parse(output), { file, passwords: 2 })
})
