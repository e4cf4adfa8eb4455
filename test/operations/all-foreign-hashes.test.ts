import { execFile } from 'node:child_process'
import { fileURLToPath, pathToFileURL } from 'node:url'
import { promisify } from 'node:util'
import { compareForeign } from '@sallyport/auth/passwords/foreign-hash'
import { readStored } from '@sallyport/auth/passwords/stored-hash'
import { verify } from 'argon2'
import t, { type Test } from 'tap'
import { type Format, formats, vectorsOf } from '../support/foreign-hashes.ts'
import { temporaryFolder } from '../support/system.ts'

t.setTimeout(1_800_000)

async function compare(text: string, password: string): Promise<boolean> {
  const stored = readStored(text)
  if (!stored) throw new Error(`${text} is no hash`)
  return stored.kind === 'argon2' ? verify(text, password) : compareForeign(stored, password)
}

async function check(t: Test, format: Format, folder?: URL): Promise<void> {
  const vectors = vectorsOf(format, folder)
  const wrong: typeof vectors = []
  const left = vectors.entries()
  async function work(): Promise<void> {
    for (const [index, vector] of left) {
      const right = await compare(String(vector.stored), vector.password)
      // One in ten, since it takes as long.
      const other = index % 10 === 0 && (await compare(String(vector.stored), `-${vector.password}`))
      if (!right || other) wrong.push(vector)
    }
  }
  await Promise.all([work(), work()])
  t.strictSame(wrong, [])
}

for (const format of formats)
  t.test(`1,000 hashes that the library of ${format} made compare as there`, async (t) => {
    t.equal(vectorsOf(format).length, 1000)
    await check(t, format)
  })

t.test('and so do those that are made now', async (t) => {
  const folder = temporaryFolder(t)
  const script = fileURLToPath(new URL('../../foreign-hashes/make.py', import.meta.url))
  await promisify(execFile)('/usr/bin/python3', [script, folder, '60'])
  for (const format of ['argon2', 'bcrypt', 'scrypt', 'pbkdf2', 'phpass', 'ssha'] as const)
    await check(t, format, pathToFileURL(`${folder}/`))
})
