import { execFileSync, spawn, spawnSync } from 'node:child_process'
import { once } from 'node:events'
import { existsSync, readFileSync, writeFileSync } from 'node:fs'
import { join } from 'node:path'
import { sealEvents } from '@sallyport/auth/events/seal'
import { endProcesses, keepSecrets, startProcess } from '@sallyport/local'
import t, { type Test } from 'tap'
import { addEvents, readAudit } from '../support/audit.ts'
import { exampleOf } from '../support/examples.ts'
import { eventually, freePort, startDatabase, type TestDatabase, temporaryFolder } from '../support/system.ts'

/** An auth service that writes its audit log. */
function startAuth(
  t: Test,
  { urls }: TestDatabase,
  folder: string,
  settings: Record<string, string>,
  onLine: (line: string) => void = () => {},
) {
  const environment = {
    ...process.env,
    ...keepSecrets(folder),
    DATABASE_URL: urls.auth,
    AUTH_PORT: '0',
    JWT_ISSUER: 'https://issuer.test',
    JWT_AUDIENCE: 'https://api.test',
    ...settings,
  }
  return async () => {
    const auth = await startProcess('auth', environment, onLine)
    t.teardown(() => endProcesses([auth]))
    return auth
  }
}

const exportedOf = async ({ sql }: TestDatabase) =>
  Number((await sql('SELECT position FROM auth.audit_exports')).rows[0]?.position ?? 0)

t.test('an export that is killed again and again loses no event', async (t) => {
  const system = await startDatabase(t)
  const folder = temporaryFolder(t)
  const path = join(folder, 'audit.ndjson')
  const start = startAuth(t, system, folder, { AUDIT_LOG: `file:${path}` })
  let added = 0
  for (let time = 0; time < 4; time++) {
    await system.sql(addEvents(3_000))
    added += 3_000
    await sealEvents(system.database)
    const before = await exportedOf(system)
    // Nobody waits for who was killed.
    await system.sql('UPDATE auth.audit_exports SET held_until = now()')
    const auth = await start()
    await eventually('it writes', async () => (await exportedOf(system)) > before)
    auth.child.kill('SIGKILL')
    await once(auth.child, 'exit').catch(() => {})
  }
  await system.sql('UPDATE auth.audit_exports SET held_until = now()')
  await start()
  await eventually('it catches up', async () => (await exportedOf(system)) >= added, 60_000)
  const { events, faults } = await readAudit([path])
  t.ok(events >= added)
  t.strictSame(faults, [])
})

/** A receiver as docs/audit.md sets it up, in a folder of the test's own, on a port of its own. */
async function startRsyslog(t: Test, folder: string, port: number) {
  const configuration = exampleOf('docs/audit.md', 'rsyslog')
    .replaceAll('/etc/rsyslog/tls', folder)
    .replaceAll('/var/log/sallyport', folder)
    .replace('6514', String(port))
  const file = join(folder, 'rsyslog.conf')
  writeFileSync(file, `global(workDirectory="${folder}")\n${configuration}`)
  const child = spawn('rsyslogd', ['-n', '-f', file, '-i', join(folder, 'pid')], { stdio: ['ignore', 'pipe', 'pipe'] })
  let said = ''
  child.stderr.on('data', (piece) => {
    said += piece
  })
  const stop = async (signal: NodeJS.Signals = 'SIGTERM') => {
    if (child.exitCode !== null || child.signalCode !== null) return
    child.kill(signal)
    await once(child, 'exit')
  }
  t.teardown(() => stop('SIGKILL'))
  return { stop, said: () => said }
}

const withoutRsyslog =
  spawnSync('rsyslogd', ['-v']).error || spawnSync('openssl', ['version']).error
    ? 'install rsyslog, rsyslog-openssl and openssl to run this'
    : false

t.test(
  'rsyslog has every event once and in order, by TLS, also after it was away',
  { skip: withoutRsyslog },
  async (t) => {
    const system = await startDatabase(t)
    const folder = temporaryFolder(t)
    const name = (what: string) => join(folder, what)
    const certify = (what: string, more: string[]) =>
      execFileSync(
        'openssl',
        `req -x509 -newkey ec -pkeyopt ec_paramgen_curve:P-256 -nodes -days 2 -subj /CN=test -keyout ${name(`${what}.key`)} -out ${name(`${what}.pem`)}`
          .split(' ')
          .concat(more),
        { stdio: 'ignore' },
      )
    certify('ca', [])
    certify('server', [
      ...['-CA', name('ca.pem'), '-CAkey', name('ca.key')],
      ...['-addext', 'subjectAltName=DNS:localhost', '-addext', 'basicConstraints=critical,CA:FALSE'],
    ])
    const port = await freePort()
    const written = name('audit.ndjson')
    const first = await startRsyslog(t, folder, port)
    const start = startAuth(t, system, folder, {
      AUDIT_LOG: `syslog+tls://localhost:${port}`,
      NODE_EXTRA_CA_CERTS: name('ca.pem'),
    })
    await start()
    const add = async (count: number, reason: string) => {
      await system.sql(addEvents(count, reason))
    }
    await add(1_500, 'Grüße [sallyport@32473 position="1"] \\ ]"')
    await add(1, `two\nlines, and <34>1 2026-11-30T10:00:00Z evil su - - - ${'x'.repeat(65_536)}`)
    await eventually('they are sent', async () => (await exportedOf(system)) === 1_501, 30_000)

    await first.stop()
    await add(20, 'while it was away')
    await eventually('they are chained', async () => {
      const { rows } = await system.sql('SELECT position FROM auth.event_chain_state')
      return Number(rows[0].position) === 1_521
    })
    t.equal(await exportedOf(system), 1_501)
    const second = await startRsyslog(t, folder, port)
    await eventually('they are sent', async () => (await exportedOf(system)) === 1_521, 30_000)
    // What rsyslog has read it writes before it ends.
    await second.stop()
    t.ok(existsSync(written), first.said() + second.said())
    const { events, first: from, head, repeated, faults } = await readAudit([written])
    t.match(
      { events, from, head, repeated },
      { events: 1_521, from: { position: 1 }, head: { position: 1_521 }, repeated: 0 },
    )
    t.strictSame(faults, [])
    t.match(readFileSync(written, 'utf8').split('\n')[1_500], /two\\nlines/)

    await t.test('a receiver that nobody vouches for gets nothing', async () => {
      const third = await startRsyslog(t, folder, port)
      const lines: string[] = []
      const refused = /audit_export_failed.*(UNABLE_TO_VERIFY|SELF_SIGNED_CERT)/
      const stranger = startAuth(t, system, folder, { AUDIT_LOG: `syslog+tls://127.0.0.1:${port}` }, (line) =>
        lines.push(line),
      )
      await stranger()
      await eventually('it fails', () => lines.some((line) => refused.test(line)), 30_000)
      await third.stop()
      t.equal((await readAudit([written])).repeated, 0)
    })
  },
)
