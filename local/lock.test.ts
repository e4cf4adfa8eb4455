import { spawn } from 'node:child_process'
import { once } from 'node:events'
import { mkdirSync, mkdtempSync, rmSync, symlinkSync } from 'node:fs'
import { Server } from 'node:net'
import { tmpdir } from 'node:os'
import { join } from 'node:path'
import t, { type Test } from 'tap'
import { lockFolder } from './lock.ts'

function temporaryFolder(t: Test): string {
  const folder = mkdtempSync(join(tmpdir(), 'sallyport-lock-'))
  t.teardown(() => rmSync(folder, { recursive: true, force: true }))
  return folder
}

/** A process that takes the folder, says whether it has it, and stays. */
async function hold(t: Test, folder: string) {
  const code = `
    const { lockFolder } = await import(${JSON.stringify(import.meta.resolve('./lock.js'))})
    setInterval(() => {}, 1000)
    await lockFolder(${JSON.stringify(folder)}).then(() => console.log('has it'), ({ message }) => console.log(message))`
  const child = spawn(process.execPath, ['--input-type=module', '--eval', code], {
    stdio: ['ignore', 'pipe', 'inherit'],
  })
  t.teardown(() => child.kill('SIGKILL'))
  const [said] = await once(child.stdout, 'data')
  return { child, said: String(said).trim() }
}

t.test('one process has a folder, by whatever path, until it is killed', async (t) => {
  const folder = temporaryFolder(t)
  const link = join(temporaryFolder(t), 'link')
  symlinkSync(folder, link)
  const all = await Promise.all([hold(t, folder), hold(t, link), hold(t, folder)])
  const [holder, ...others] = all.filter(({ said }) => said === 'has it')
  t.ok(holder, 'of several at once one has it')
  t.strictSame(others, [])
  const refused = new RegExp(
    `is in use by another \`npm start\` \\(process ${holder?.child.pid}\\); stop it, or set DATA_DIR`,
  )
  for (const { said } of all.filter((one) => one !== holder)) t.match(said, refused)

  rmSync(folder, { recursive: true })
  mkdirSync(folder)
  await t.rejects(lockFolder(folder), { message: refused }, 'also when it was deleted and made again')

  holder?.child.kill('SIGKILL')
  await once(holder?.child as NonNullable<typeof holder>['child'], 'exit')
  await lockFolder(folder)
})

t.test('one that does not say who it is has the folder all the same', async (t) => {
  const folder = temporaryFolder(t)
  const { child } = await hold(t, folder)
  child.kill('SIGSTOP')
  await t.rejects(lockFolder(folder), { message: /in use by another `npm start` \(process unknown\)/ })
})

t.test('what keeps it from looking is said as it is', async (t) => {
  const listen = function (this: Server) {
    process.nextTick(() => this.emit('error', Object.assign(new Error('too many open files'), { code: 'EMFILE' })))
    return this
  }
  t.intercept(Server.prototype, 'listen', { value: listen })
  await t.rejects(lockFolder(temporaryFolder(t)), { code: 'EMFILE' })
})
