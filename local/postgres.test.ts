import { spawn } from 'node:child_process'
import { once } from 'node:events'
import { existsSync, mkdirSync, mkdtempSync, readdirSync, readFileSync, rmSync, writeFileSync } from 'node:fs'
import { createServer } from 'node:net'
import { tmpdir } from 'node:os'
import { join } from 'node:path'
import t, { type Test } from 'tap'
import { endLeftover, startPostgres } from './postgres.ts'
import { freePort } from './system.ts'

t.setTimeout(300_000)

function temporaryFolder(t: Test): string {
  const folder = mkdtempSync(join(tmpdir(), 'sallyport-postgres-'))
  t.teardown(() => rmSync(folder, { recursive: true, force: true }))
  return folder
}

t.test('a server that cannot start says why, and one that outlived its start is ended', async (t) => {
  const folder = temporaryFolder(t)
  const port = await freePort()
  const start = (on = port) => startPostgres({ folder, port: on, settings: ['fsync=off'] })
  const first = await start()
  t.teardown(first.stop)
  await t.rejects(start(await freePort()), {
    message: /postgres is in use by another PostgreSQL; stop it, or set DATA_DIR to/,
  })

  const { pid } = first
  const file = join(folder, 'postgres/postmaster.pid')
  t.equal(Number.parseInt(readFileSync(file, 'utf8'), 10), pid)
  await endLeftover(folder)
  await first.ended
  t.notOk(existsSync(file), 'it ended in order')

  // One that does not end by itself.
  const second = await start()
  t.teardown(second.stop)
  process.kill(second.pid, 'SIGSTOP')
  await endLeftover(folder, 100)
  await second.ended
  t.ok(existsSync(file))

  // One that was killed, and whose last processes still have its memory.
  const third = await start()
  t.teardown(third.stop)
  const children = readFileSync(`/proc/${third.pid}/task/${third.pid}/children`, 'utf8')
  const [last] = children.trim().split(' ').map(Number) as [number]
  process.kill(last, 'SIGSTOP')
  process.kill(third.pid, 'SIGKILL')
  await third.ended
  const log = join(folder, 'postgres.log')
  const waiting = setInterval(() => {
    if (!existsSync(log) || !readFileSync(log, 'utf8').includes('still in use')) return
    clearInterval(waiting)
    process.kill(last, 'SIGCONT')
  }, 1)
  const fourth = await start()
  clearInterval(waiting)
  process.kill(fourth.pid, 'SIGKILL')
  await fourth.ended

  // Some other program, which has its number by now.
  const other = spawn(process.execPath, ['--eval', 'setInterval(() => {}, 1000)'])
  t.teardown(() => other.kill('SIGKILL'))
  writeFileSync(file, readFileSync(file, 'utf8').replace(/^\d+/, String(other.pid)))
  await endLeftover(folder)
  t.equal(other.exitCode ?? other.signalCode, null)
  t.notOk(existsSync(file))

  const taken = createServer().listen(0, '127.0.0.1')
  await once(taken, 'listening')
  t.teardown(() => taken.close())
  const { port: theirs } = taken.address() as { port: number }
  await t.rejects(start(theirs), { message: `port ${theirs} is taken; set EMBEDDED_PG_PORT to a free one, or stop` })
})

t.test('a cluster is made whole or not at all', async (t) => {
  const folder = temporaryFolder(t)
  const stop = new AbortController()
  const starting = startPostgres({ folder, port: await freePort(), signal: stop.signal })
  const watching = setInterval(() => existsSync(join(folder, 'postgres.new/base')) && stop.abort(), 5)
  await t.rejects(starting, { name: 'AbortError' })
  clearInterval(watching)
  t.notOk(readdirSync(folder).includes('postgres'))
})

t.test('a cluster that cannot be made says why', async (t) => {
  const folder = temporaryFolder(t)
  // Longer than PostgreSQL takes, and shorter than the system does.
  const deep = join(folder, ...Array.from({ length: 6 }, () => 'x'.repeat(200)))
  mkdirSync(deep, { recursive: true })
  await t.rejects(startPostgres({ folder: deep, port: await freePort() }), {
    message: /the database cannot be made: ./,
  })
})
