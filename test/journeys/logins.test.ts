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

/** The process that hashes for an auth process. */
const hashingProcess = (auth: RunningProcess) => children(auth)[0] as number

t.test('logins beyond what hashing can do', async (t) => {
  const { postgres, urls } = await startServer(t)
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
  const people = ['doctor@example.com', 'nobody@example.com'] as const
  const logIn = (email: string) => new Client(address).login(email)
  const signedIn = new Client(address)

  await t.test('are sent away at once, with nothing looked up, whoever it is', async (t) => {
    t.equal((await signedIn.login()).status, 200)
    process.kill(-postgres.pid, 'SIGSTOP')
    t.teardown(() => process.kill(-postgres.pid, 'SIGCONT'))
    const sentAway: Record<string, ClientResponse[]> = { [people[0]]: [], [people[1]]: [] }
    const logins = Array.from({ length: 400 }, async (_, index) => {
      const email = people[index % 2] as string
      const answer = await logIn(email)
      if (answer.body.code === 'LOGIN_BUSY') sentAway[email]?.push(answer)
      return { email, ...answer }
    })
    await eventually('both are sent away while the database stands still', () =>
      Object.values(sentAway).every(({ length }) => length > 5),
    )
    const all = Object.values(sentAway).flat()
    const looks = new Set(all.map(({ status, body }) => JSON.stringify({ status, ...body })))
    t.equal(looks.size, 1, 'in the same words')
    t.match(all[0], { status: 503, body: { title: 'Too many people are signing in just now' } })
    const waits = new Set(all.map(({ headers }) => headers.get('retry-after')))
    t.ok([...waits].every((seconds) => /^[1-5]$/.test(String(seconds))))
    t.ok(waits.size > 1, 'and asked to come back at different times')

    process.kill(-postgres.pid, 'SIGCONT')
    for (let time = 0; time < 5; time++) t.equal((await signedIn.refresh()).status, 200, 'a refresh goes on meanwhile')
    const answers = await Promise.all(logins)
    const admitted = answers.filter(({ status }) => status !== 503)
    t.not(admitted.length, 0)
    t.ok(admitted.every(({ email, status }) => status === (email === people[0] ? 200 : 401)))
  })

  await t.test('and the next ones are let in', async () => {
    await eventually('a login succeeds', async () => (await logIn(people[0])).status === 200)
  })

  await t.test('a process that hashes and is killed is replaced, and what it had begun is begun again', async (t) => {
    const first = hashingProcess(auth)
    process.kill(first, 'SIGSTOP')
    const logins = Array.from({ length: 4 }, () => logIn(people[0]))
    // By then the logins that came before have asked for their hashes.
    for (let time = 0; time < 5; time++) t.equal((await signedIn.refresh()).status, 200)
    process.kill(first, 'SIGKILL')
    const answers = await Promise.all(logins)
    t.strictSame(new Set(answers.map(({ status }) => status)), new Set([200]))
    t.not(hashingProcess(auth), first)
  })

  await t.test('one that stands still is given up after seconds, with 503, and replaced too', async (t) => {
    // A hash is expected to take as long as the last few did, and those took as long as this test let them.
    for (let time = 0; time < 24; time++) await logIn(people[0])
    const first = hashingProcess(auth)
    process.kill(first, 'SIGSTOP')
    const answers = await Promise.all(Array.from({ length: 8 }, () => logIn(people[0])))
    t.ok(answers.every(({ status, headers }) => status === 503 && headers.get('retry-after')))
    t.strictSame(new Set(answers.map(({ body }) => body.code)), new Set(['UNAVAILABLE', 'LOGIN_BUSY']))
    t.equal((await logIn(people[0])).status, 200)
    t.not(hashingProcess(auth), first)
  })

  await t.test('the auth process ends well when the one that hashes is gone', async (t) => {
    const pid = hashingProcess(auth)
    process.kill(pid, 'SIGKILL')
    await eventually('it is gone', () => !isAlive(pid))
    await endProcesses([auth])
    t.equal(auth.child.exitCode, 0)
  })
})
