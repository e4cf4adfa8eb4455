import { appendFileSync, existsSync, mkdirSync, readFileSync, renameSync } from 'node:fs'
import { connect } from 'node:net'
import { join } from 'node:path'
import { setTimeout as sleep } from 'node:timers/promises'
import { startExport } from '@sallyport/auth/events/export'
import { sealEvents } from '@sallyport/auth/events/seal'
import { openSink } from '@sallyport/auth/events/sinks'
import { type AuditSink, createLogger } from '@sallyport/chassis'
import { createDatabase } from '@sallyport/database'
import { register } from 'prom-client'
import t, { type Test } from 'tap'
import { addEvents, readAudit, startReceiver } from '../support/audit.ts'
import { eventually, freePort, startDatabase, temporaryFolder } from '../support/system.ts'

/** A database, and exporters of it as auth services run them. */
async function openAudit(t: Test) {
  const { database, sql, urls } = await startDatabase(t)
  const lines: string[] = []
  const logger = createLogger('test', 'info', { write: (line: string) => lines.push(line) })
  const start = (options: Parameters<typeof startExport>[2], connection = database) => {
    const stop = startExport(connection, logger, { pause: 10, afterFailure: 20, ...options })
    t.teardown(stop)
    return stop
  }
  const add = async (count: number, reason?: string) => {
    await sql(addEvents(count, reason))
    await sealEvents(database)
  }
  const exported = async () => Number((await sql('SELECT position FROM auth.audit_exports')).rows[0]?.position)
  const logged = (event: string) => lines.map((line) => JSON.parse(line)).filter((line) => line.event === event)
  return { database, sql, urls, start, add, exported, logged }
}

const gaugeOf = async (name: string) => (await register.getSingleMetric(name)?.get())?.values[0]?.value

const tcp = (port: number): AuditSink => ({
  name: `syslog+tcp://127.0.0.1:${port}`,
  host: '127.0.0.1',
  port,
  tls: false,
})
const file = (path: string): AuditSink => ({ name: `file:${path}`, path })

const positions = (from: number, to: number) => Array.from({ length: to - from + 1 }, (_, index) => from + index)

t.test('a file has every event once and in order, and who starts again goes on', async (t) => {
  const { start, add, exported } = await openAudit(t)
  const path = join(temporaryFolder(t), 'audit.ndjson')
  await add(1_200)
  const stop = start({ sink: file(path) })
  await eventually('they are written', async () => (await exported()) === 1_200)
  await stop()
  await add(3)
  start({ sink: file(path) })
  await eventually('so are these', async () => (await exported()) === 1_203)
  t.match(await readAudit([path]), { events: 1_203, repeated: 0, first: { position: 1 }, head: { position: 1_203 } })
  t.strictSame((await readAudit([path])).faults, [])
  t.strictSame(JSON.parse(readFileSync(path, 'utf8').split('\n')[6] as string).position, 7)
})

t.test('a file that was moved away is left as it is, and the next has what follows', async (t) => {
  const { start, add, exported } = await openAudit(t)
  const path = join(temporaryFolder(t), 'audit.ndjson')
  start({ sink: file(path) })
  await add(2)
  await eventually('it is written', async () => (await exported()) === 2)
  renameSync(path, `${path}.1`)
  await add(2)
  await eventually('the next is there', async () => existsSync(path) && (await exported()) === 4)
  t.match(await readAudit([`${path}.1`]), { events: 2, head: { position: 2 } })
  t.match(await readAudit([`${path}.1`, path]), { events: 4, faults: { length: 0 } })
  t.match((await readAudit([path, `${path}.1`])).faults, [{ fault: 'out_of_order' }, { fault: 'out_of_order' }])
})

t.test('a line that was cut off is ended, and is there again', async (t) => {
  const { start, add, exported, sql } = await openAudit(t)
  const path = join(temporaryFolder(t), 'audit.ndjson')
  await add(5)
  const stop = start({ sink: file(path) })
  await eventually('it is written', async () => (await exported()) === 5)
  await stop()
  // As if it had been killed in the middle of the next lines.
  const whole = readFileSync(path, 'utf8').trimEnd().split('\n')
  await add(2)
  await sql('UPDATE auth.audit_exports SET position = 3')
  appendFileSync(path, (whole[3] as string).slice(0, 40))
  start({ sink: file(path) })
  await eventually('it is written', async () => (await exported()) === 7)
  t.strictSame((await readAudit([path])).faults, [])
  t.match(await readAudit([path]), { events: 7, repeated: 2 })
})

t.test('a sink that is away loses nothing, and who waits for it is told', async (t) => {
  const { start, add, exported, logged } = await openAudit(t)
  const folder = join(temporaryFolder(t), 'not', 'yet')
  const path = join(folder, 'audit.ndjson')
  await add(3)
  start({ sink: file(path) })
  await eventually('it fails', () => logged('audit_export_failed').length > 1)
  t.match(logged('audit_export_failed')[0], { level: 'error', sink: `file:${path}`, err: { code: 'ENOENT' } })
  t.equal(await exported(), 0)
  t.equal(await gaugeOf('sallyport_audit_lag_events'), 3)
  t.ok(((await gaugeOf('sallyport_audit_lag_seconds')) as number) > 0)
  mkdirSync(folder, { recursive: true })
  await eventually('it is written', async () => (await exported()) === 3)
  await eventually('nothing waits', async () => (await gaugeOf('sallyport_audit_lag_events')) === 0)
  t.equal(await gaugeOf('sallyport_audit_lag_seconds'), 0)
  t.match(await readAudit([path]), { events: 3, repeated: 0, faults: { length: 0 } })
})

t.test('a receiver of syslog gets every event, also when it dies, hangs up, is away or says nothing', async (t) => {
  const { start, add, exported, logged } = await openAudit(t)
  const receiver = await startReceiver(t)
  const sink = tcp(receiver.port)
  start({ sink, write: openSink(sink, 300) })
  await add(600)
  await eventually('they are there', async () => (await exported()) === 600)
  t.strictSame(
    receiver.received().map(({ position }) => position),
    positions(1, 600),
  )

  for (const [what, treat, why] of [
    ['it dies with what it was sent', (socket) => socket.once('data', () => socket.resetAndDestroy()), /./],
    ['it hangs up at once', (socket) => socket.end(), /closed before it had everything/],
    ['it ends at once, and reads', (socket) => socket.resume().end(), /closed before it had everything/],
    ['it never closes', (socket) => socket.resume(), /did nothing for 0.3 seconds/],
  ] as [string, NonNullable<typeof receiver.treat>, RegExp][])
    await t.test(what, async (t) => {
      const [before, failures] = [await exported(), logged('audit_export_failed').length]
      receiver.treat = treat
      await add(2, what)
      await eventually('it fails', () => logged('audit_export_failed').length > failures)
      t.match(logged('audit_export_failed').at(-1).err.message, why)
      t.equal(await exported(), before, 'which counts as not there')
      receiver.treat = undefined
      await eventually('it is there', async () => (await exported()) === before + 2)
      t.strictSame(
        receiver
          .received()
          .slice(-2)
          .map(({ reason }) => reason),
        [what, what],
      )
    })

  await t.test('it is away', async (t) => {
    receiver.close()
    const failures = logged('audit_export_failed').length
    await add(2)
    await eventually('it fails', () => logged('audit_export_failed').length > failures)
    const back = await startReceiver(t, receiver.port)
    await eventually('it is there', async () => (await exported()) === 610)
    t.strictSame(
      back.received().map(({ position }) => position),
      [609, 610],
    )
  })
})

t.test('who stops waits for no receiver', async (t) => {
  const { start, add, logged } = await openAudit(t)
  const receiver = await startReceiver(t)
  receiver.treat = (socket) => socket.resume()
  const stop = start({ sink: tcp(receiver.port) })
  await add(1)
  await eventually('it is sent', () => receiver.connections.length === 1)
  const began = performance.now()
  await stop()
  t.ok(performance.now() - began < 3_000)
  t.strictSame(logged('audit_export_failed'), [])
})

t.test('TLS: a receiver whose certificate nobody vouches for gets nothing', async (t) => {
  const port = await freePort()
  const receiver = await startReceiver(t, port)
  await t.rejects(openSink({ name: 'x', host: '127.0.0.1', port: 1, tls: true })([], new AbortController().signal), {
    code: 'ECONNREFUSED',
  })
  receiver.treat = (socket) => socket.end('220 this is no TLS\r\n')
  await t.rejects(openSink({ name: 'x', host: '127.0.0.1', port, tls: true })([], new AbortController().signal), {
    code: 'ERR_SSL_WRONG_VERSION_NUMBER',
  })
})

t.test('of several that may write one does, in the order of the chain', async (t) => {
  const { start, add, exported, urls, sql } = await openAudit(t)
  const receiver = await startReceiver(t)
  const sink = tcp(receiver.port)
  for (let replica = 0; replica < 3; replica++) {
    const database = createDatabase(urls.auth, { connections: 1, onError: () => {} })
    const stop = start({ sink }, database)
    t.teardown(async () => {
      await stop()
      await database.$disconnect()
    })
  }
  for (let time = 0; time < 10; time++) await add(60)
  await eventually('they are there', async () => (await exported()) === 600)
  t.strictSame(
    receiver.received().map(({ position }) => position),
    positions(1, 600),
  )
  await t.test('and another one once that is silent', async (t) => {
    const nobody = '00000000-0000-0000-0000-000000000000'
    await sql(`UPDATE auth.audit_exports SET holder = '${nobody}', held_until = now() + interval '30 seconds'`)
    await add(1)
    await sleep(100)
    t.equal(await exported(), 600)
    await sql('UPDATE auth.audit_exports SET held_until = now()')
    await eventually('it is there', async () => (await exported()) === 601)
  })
  await t.test('who was silent and comes back leaves it to the other', async (t) => {
    let taken = 0
    const slow = start({
      sink: { ...sink, name: 'another' },
      write: async () => {
        taken += 1
        await sql("UPDATE auth.audit_exports SET holder = gen_random_uuid(), held_until = now() WHERE sink = 'another'")
      },
    })
    await eventually('it writes, and again, as it never got to say so', () => taken > 1)
    await slow()
    const { rows } = await sql("SELECT position FROM auth.audit_exports WHERE sink = 'another'")
    t.equal(Number(rows[0].position), 0)
  })
})

t.test('what is not there to be written is said, and what follows is written', async (t) => {
  const { start, add, exported, logged, sql } = await openAudit(t)
  await add(5)
  await sql(`ALTER TABLE auth.security_events DISABLE TRIGGER ALL;
    DELETE FROM auth.security_events WHERE id IN (SELECT event_id FROM auth.event_chain WHERE position IN (2, 3))`)
  const path = join(temporaryFolder(t), 'audit.ndjson')
  start({ sink: file(path) })
  await eventually('the others are written', async () => (await exported()) === 5)
  t.match(logged('audit_export_incomplete'), [{ level: 'error', missing: 2, from: 1, to: 5 }])
  t.match(await readAudit([path]), { events: 3, faults: [{ position: 2, fault: 'missing' }] })
  await sql(`DELETE FROM auth.security_events; UPDATE auth.audit_exports SET position = 3`)
  await eventually('if none is left, nothing is', async () => (await exported()) === 5)
  t.equal(logged('audit_export_incomplete').at(-1).missing, 2)
})

t.test('the receiver of the tests reads to the end', async (t) => {
  const receiver = await startReceiver(t)
  const socket = connect(receiver.port, '127.0.0.1')
  socket.end('9 cut off')
  await eventually('it is received', () => receiver.connections[0]?.pieces.length === 1)
  t.strictSame(receiver.received(), [])
})
