import { spawn } from 'node:child_process'
import { endProcesses, startProcess } from '@sallyport/local'
import t from 'tap'
import { startMail } from '../support/mail.ts'
import { Client, eventually, freePort, openSystem, temporaryFolder } from '../support/system.ts'

const program = process.env.REDIS_SERVER

const skip = program
  ? {}
  : { skip: 'needs Redis or Valkey: set REDIS_SERVER to the program, such as /usr/bin/redis-server' }

t.test('two auth services with one store', skip, async (t) => {
  const port = await freePort()
  const options = ['--port', String(port), '--dir', temporaryFolder(t), '--save', '']
  const redis = spawn(program as string, options, { stdio: 'ignore' })
  t.teardown(() => redis.kill('SIGKILL'))
  const mail = await startMail(t)
  const { auth, environment, log, sql } = await openSystem(t, {
    ...mail.settings,
    REDIS_URL: `redis://127.0.0.1:${port}`,
    LOGIN_RATE_LIMIT_MAX: '6',
    MAIL_RATE_LIMIT_MAX: '2',
    NODE_ENV: 'test',
  })
  const lines: string[] = []
  const other = await startProcess('auth', { ...environment, AUTH_PORT: '0' }, (line) => lines.push(line))
  t.teardown(() => endProcesses([other]))
  const both = [auth, `http://127.0.0.1:${other.port}`]
  const shared = (log: string[]) => log.filter((line) => line.includes('"rate_limit_shared"')).length
  await eventually('all have found the store', () => shared(log) === 2 && shared(lines) === 1)

  const metric = async () => {
    const metrics = await (await fetch(`http://127.0.0.1:${other.managementPort}/metrics`)).text()
    return /^sallyport_rate_limit_shared (\d)$/m.exec(metrics)?.[1]
  }
  t.equal(await metric(), '1')

  /** How many of these calls, made of both at once, were not 429. */
  async function passed(times: number, path: string, body: object, ip: string): Promise<number> {
    const headers = { 'x-forwarded-for': ip }
    const calls = Array.from({ length: times }, (_, at) =>
      new Client(both[at % 2] as string).call('POST', path, { body, headers }),
    )
    return (await Promise.all(calls)).filter(({ status }) => status !== 429).length
  }
  /** None that takes a hash: a machine that is busy would not hear the store in time. */
  const login = {}

  await t.test('count the logins of a client together', async (t) => {
    t.equal(await passed(12, '/api/auth/login', login, '192.0.2.1'), 6)
    t.equal(await passed(1, '/api/auth/login', login, '192.0.2.2'), 1, 'and no others with them')
    t.equal(await passed(1, '/api/auth/password/reset', {}, '192.0.2.1'), 1, 'nor other calls')
  })

  await t.test('count the mails that a client asks for together', async (t) => {
    const asked = await passed(8, '/api/auth/password/forgot', { email: 'doctor@example.com' }, '192.0.2.3')
    t.equal(asked, 8, 'the response is the same for those too many')
    await eventually('two are sent, and no more', async () => {
      const { rows } = await sql('SELECT count(*)::int AS tickets FROM auth.tickets')
      return rows[0].tickets === 2
    })
  })

  await t.test('and each for itself while it is gone', async (t) => {
    redis.kill('SIGKILL')
    const local = (log: string[]) => log.some((line) => line.includes('"rate_limit_local"'))
    await eventually('they notice', () => local(log) && local(lines))
    t.equal(await metric(), '0')
    t.equal(await passed(20, '/api/auth/login', login, '192.0.2.4'), 12)
  })
})
