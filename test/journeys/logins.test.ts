import { readFileSync } from 'node:fs'
import { endProcesses, keepSecrets, type RunningProcess, startProcess } from '@sallyport/local'
import t from 'tap'
import {
  Client,
  type ClientResponse,
  children,
  eventually,
  isAlive,
  startServer,
  temporaryFolder,
} from '../support/system.ts'

/** The hashing process of an auth process. */
const hashingProcess = (auth: RunningProcess) => children(auth)[0] as number

/** What Linux shares the CPU by: proc_pid_stat(5), whose first two fields are the id and the name in parentheses. */
function schedulingOf(pid: number) {
  const fields = readFileSync(`/proc/${pid}/stat`, 'latin1').split(') ')[1]?.split(' ') as string[]
  return { session: Number(fields[3]), niceness: Number(fields[16]) }
}

t.test('logins beyond what hashing can do', async (t) => {
  const { postgres, urls, sql } = await startServer(t)
  const environment = {
    ...process.env,
    ...keepSecrets(temporaryFolder(t)),
    DATABASE_URL: urls.auth,
    AUTH_PORT: '0',
    JWT_ISSUER: 'https://issuer.test',
    JWT_AUDIENCE: 'https://api.test',
    LOGIN_RATE_LIMIT_MAX: '10000',
  }
  const auth = await startProcess('auth', environment, () => {})
  t.teardown(() => endProcesses([auth]))
  const address = `http://127.0.0.1:${auth.port}`
  const signedIn = new Client(address)
  await sql(`INSERT INTO auth.users (id, email, name, password_hash, roles)
    SELECT gen_random_uuid(), 'user-' || number || '@example.com', name, password_hash, roles
    FROM auth.users, generate_series(0, 199) number WHERE email = 'doctor@example.com'`)
  const logIn = (user: number | 'doctor', kind = 'user') =>
    new Client(address).login(`${user === 'doctor' ? user : `${kind}-${user}`}@example.com`)

  await t.test('are shed at once, with nothing looked up, whatever the user', async (t) => {
    t.equal((await signedIn.login()).status, 200)
    process.kill(-postgres.pid, 'SIGSTOP')
    t.teardown(() => process.kill(-postgres.pid, 'SIGCONT'))
    const shed: Record<string, ClientResponse[]> = { user: [], nobody: [] }
    const logins = Array.from({ length: 400 }, async (_, index) => {
      const kind = index % 2 ? 'nobody' : 'user'
      const response = await logIn(Math.floor(index / 2), kind)
      if (response.body.code === 'LOGIN_BUSY') shed[kind]?.push(response)
      return { kind, ...response }
    })
    await eventually('logins of both are shed while the database stands still', () =>
      Object.values(shed).every(({ length }) => length > 5),
    )
    const all = Object.values(shed).flat()
    const problems = new Set(all.map(({ status, body }) => JSON.stringify({ status, ...body })))
    t.equal(problems.size, 1, 'with the same problem')
    const headersOf = ({ headers }: ClientResponse) =>
      JSON.stringify([...headers].filter(([name]) => name !== 'date' && name !== 'retry-after').sort())
    t.equal(new Set(all.map(headersOf)).size, 1, 'with the same headers')
    t.ok(all[0]?.headers.get('cache-control'))
    t.match(all[0], { status: 503, body: { title: 'Too many people are signing in just now' } })
    const waits = new Set(all.map(({ headers }) => headers.get('retry-after')))
    t.ok([...waits].every((seconds) => /^[1-5]$/.test(String(seconds))))
    t.ok(waits.size > 1, 'and Retry-After spreads them out')

    process.kill(-postgres.pid, 'SIGCONT')
    for (let time = 0; time < 5; time++) t.equal((await signedIn.refresh()).status, 200, 'a refresh goes on meanwhile')
    const responses = await Promise.all(logins)
    const admitted = responses.filter(({ status }) => status !== 503)
    t.not(admitted.length, 0)
    t.ok(admitted.every(({ kind, status }) => status === (kind === 'user' ? 200 : 401)))
    const metrics = await (await fetch(`http://127.0.0.1:${auth.managementPort}/metrics`)).text()
    t.match(
      metrics,
      `sallyport_logins_total{outcome="unavailable"} ${logins.length - admitted.length}\n`,
      'all are counted',
    )
  })

  await t.test('and the next ones are admitted', async () => {
    await eventually('a login succeeds', async () => (await logIn('doctor')).status === 200)
  })

  await t.test('of one person come one after the other, so that none of them is taken for a guess', async (t) => {
    const responses = await Promise.all(Array.from({ length: 30 }, () => logIn('doctor')))
    t.strictSame(new Set(responses.map(({ status }) => status)), new Set([200]))
  })

  await t.test('of one person are shed when too many wait, and those of others go on', async (t) => {
    const crowd = Array.from({ length: 80 }, () => logIn('doctor'))
    t.equal((await logIn(1)).status, 200)
    const statuses = (await Promise.all(crowd)).map(({ status }) => status)
    t.ok(statuses.filter((status) => status === 503).length > 0)
    t.ok(statuses.every((status) => status === 200 || status === 503))
  })

  await t.test('hashing takes the CPU time that requests leave', { skip: process.platform !== 'linux' }, async (t) => {
    const [requests, hashes] = [auth.child.pid as number, hashingProcess(auth)].map(schedulingOf)
    t.ok((hashes?.niceness as number) > Math.min(18, requests?.niceness as number))
    t.equal(hashes?.session, requests?.session, 'which counts within a session alone')
  })

  await t.test('what ends the auth process does not end hashing before it', async (t) => {
    const pid = hashingProcess(auth)
    for (const signal of ['SIGINT', 'SIGTERM', 'SIGHUP']) process.kill(pid, signal)
    t.equal((await logIn('doctor')).status, 200)
    t.equal(hashingProcess(auth), pid)
  })

  await t.test('a hashing process that is killed is replaced, and what it had begun is begun again', async (t) => {
    const first = hashingProcess(auth)
    process.kill(first, 'SIGSTOP')
    const logins = Array.from({ length: 4 }, (_, user) => logIn(user))
    // By then the logins that came before have asked for their hashes.
    for (let time = 0; time < 5; time++) t.equal((await signedIn.refresh()).status, 200)
    process.kill(first, 'SIGKILL')
    const responses = await Promise.all(logins)
    t.strictSame(new Set(responses.map(({ status }) => status)), new Set([200]))
    t.not(hashingProcess(auth), first)
  })

  await t.test('one that hangs is given up after seconds, with 503, and replaced too', async (t) => {
    // A hash is expected to take as long as the last few did, and those took as long as this test let them.
    for (let time = 0; time < 24; time++) await logIn('doctor')
    const first = hashingProcess(auth)
    process.kill(first, 'SIGSTOP')
    const responses = await Promise.all(Array.from({ length: 8 }, (_, user) => logIn(user)))
    t.ok(responses.every(({ status, headers }) => status === 503 && headers.get('retry-after')))
    t.strictSame(new Set(responses.map(({ body }) => body.code)), new Set(['UNAVAILABLE', 'LOGIN_BUSY']))
    t.equal((await logIn('doctor')).status, 200)
    t.not(hashingProcess(auth), first)
  })

  await t.test('the auth process ends cleanly when its hashing process is gone', async (t) => {
    const pid = hashingProcess(auth)
    process.kill(pid, 'SIGKILL')
    await eventually('it is gone', () => !isAlive(pid))
    await endProcesses([auth])
    t.equal(auth.child.exitCode, 0)
  })
})
