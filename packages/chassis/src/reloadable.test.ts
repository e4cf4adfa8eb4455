import { mkdtempSync, readFileSync, rmSync, writeFileSync } from 'node:fs'
import { tmpdir } from 'node:os'
import { join } from 'node:path'
import { setTimeout as sleep } from 'node:timers/promises'
import t from 'tap'
import { openReloadable } from './reloadable.ts'

t.test('what a file says takes over when it changes or on demand, unless it is invalid', async (t) => {
  const folder = mkdtempSync(join(tmpdir(), 'sallyport-reloadable-'))
  t.teardown(() => rmSync(folder, { recursive: true }))
  const file = join(folder, 'value.json')
  const read = (): number => JSON.parse(readFileSync(file, 'utf8'))
  const [taken, refused]: [number[], unknown[]] = [[], []]
  const open = () =>
    openReloadable([file], read, { onReload: (value) => taken.push(value), onRefuse: (error) => refused.push(error) })
  t.throws(open, { code: 'ENOENT' }, 'at start it must be valid')

  writeFileSync(file, '1')
  const value = open()
  t.equal(value.current, 1)

  writeFileSync(file, '{')
  value.reload()
  t.equal(value.current, 1)
  t.match(refused, [SyntaxError])

  writeFileSync(file, '2222')
  while (value.current !== 2222) await sleep(50)
  t.ok(taken.includes(2222), 'by itself')
  value.close()
})
