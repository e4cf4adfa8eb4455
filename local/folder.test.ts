import { mkdirSync, mkdtempSync, renameSync, rmSync, statSync, writeFileSync } from 'node:fs'
import { tmpdir } from 'node:os'
import { join } from 'node:path'
import t, { type Test } from 'tap'
import { openFolder, watchFolder } from './folder.ts'

function temporaryFolder(t: Test): string {
  const folder = mkdtempSync(join(tmpdir(), 'sallyport-folder-'))
  t.teardown(() => rmSync(folder, { recursive: true, force: true }))
  return folder
}

t.test('a folder is made with those above it, for its owner alone', async (t) => {
  const wanted = join(temporaryFolder(t), 'one/with spaces/ü')
  t.equal(openFolder(wanted), wanted)
  t.equal(statSync(wanted).mode & 0o777, 0o700)
  t.equal(openFolder(wanted), wanted, 'and used when it is there')
})

t.test('one that cannot be had is named, with what to set', async (t) => {
  const folder = temporaryFolder(t)
  const file = join(folder, 'file')
  writeFileSync(file, '')
  const bad = ['/dev/null/x', '/proc/x', '/proc/x/y', '/proc', file, join(file, 'x'), join(folder, 'x'.repeat(300))]
  for (const path of [...bad, 'nul\0'])
    t.throws(() => openFolder(path), { message: /cannot be used \(.*\); set DATA_DIR to a folder that you may/ }, path)
})

t.test('a folder that is taken away, or put in the place of another, is noticed', async (t) => {
  const folder = join(temporaryFolder(t), 'data')
  mkdirSync(folder)
  // Watching keeps no process alive.
  const alive = setInterval(() => {}, 1_000)
  t.teardown(() => clearInterval(alive))
  await new Promise<void>((resolve) => {
    const end = watchFolder(folder, () => {
      end()
      resolve()
    })
    renameSync(folder, `${folder}-gone`)
    mkdirSync(folder)
  })
})
