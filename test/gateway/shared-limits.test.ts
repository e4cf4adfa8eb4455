import { type ChildProcess, spawn } from 'node:child_process'
import { once } from 'node:events'
import t from 'tap'
import { type EdgeProcess, startGateway, Upstream } from '../support/edge.ts'
import { eventually, freePort, temporaryFolder } from '../support/system.ts'

const program = process.env.REDIS_SERVER

const skip = program
  ? {}
  : { skip: 'needs Redis or Valkey: set REDIS_SERVER to the program, such as /usr/bin/redis-server' }

t.test('two gateways with one store', skip, async (t) => {
  const port = await freePort()
  const folder = temporaryFolder(t)
  const start = async (): Promise<ChildProcess> => {
    const redis = spawn(program as string, ['--port', String(port), '--dir', folder, '--save', ''], { stdio: 'ignore' })
    t.teardown(() => redis.kill('SIGKILL'))
    return redis
  }
  let redis = await start()
  const api = await new Upstream().serve(t)
  const settings = {
    REDIS_URL: `redis://127.0.0.1:${port}`,
    RATE_LIMIT_MAX: '20',
    USER_RATE_LIMIT_MAX: '6',
    TRUSTED_PROXIES: '127.0.0.1',
  }
  const routes = [{ prefix: '/', upstreams: [api.url], access: 'optional' }]
  const one = await startGateway(t, routes, settings)
  const two = await startGateway(t, routes, settings, one.issuer)
  const gateways = [one, two]

  /** How many of these requests, sent to both gateways at once, were let through. */
  const passed = async (times: number, headers: Record<string, string>) => {
    const responses = await Promise.all(
      Array.from({ length: times }, (_, at) => fetch((gateways[at % 2] as EdgeProcess).gateway, { headers })),
    )
    const statuses = responses.map(({ status }) => status)
    t.ok(
      statuses.every((status) => status === 200 || status === 429),
      `${statuses}`,
    )
    return statuses.filter((status) => status === 200).length
  }
  const shared = async ({ process }: EdgeProcess) =>
    /^sallyport_rate_limit_shared (\d)$/m.exec(
      await (await fetch(`http://127.0.0.1:${process.managementPort}/metrics`)).text(),
    )?.[1]
  const areShared = (state: '0' | '1') => async () =>
    (await Promise.all(gateways.map(shared))).every((value) => value === state)

  await eventually('both have found the store', areShared('1'))

  await t.test('count a client together', async (t) => {
    t.equal(await passed(40, { 'x-forwarded-for': '203.0.113.1' }), 20)
    t.equal(await passed(40, { 'x-forwarded-for': '2001:db8:1:2::1' }), 20)
    t.equal(await passed(2, { 'x-forwarded-for': '2001:db8:1:2::ffff' }), 0, 'one /64 is one client')
  })

  await t.test('count a user together', async (t) => {
    t.equal(await passed(12, { authorization: `Bearer ${one.issuer.token()}`, 'x-forwarded-for': '203.0.113.2' }), 6)
  })

  await t.test('count each for itself while the store hangs, and say so', async (t) => {
    redis.kill('SIGSTOP')
    t.equal(await passed(50, { 'x-forwarded-for': '203.0.113.3' }), 40)
    await eventually('the metric says so', areShared('0'))
    for (const { log } of gateways)
      await eventually('the log says so', () => log.some((line) => line.includes('"rate_limit_local"')))
    redis.kill('SIGCONT')
    await eventually('they count together again', areShared('1'))
    t.equal(await passed(40, { 'x-forwarded-for': '203.0.113.4' }), 20)
  })

  await t.test('and while it is gone', async (t) => {
    redis.kill('SIGKILL')
    await once(redis, 'exit')
    await eventually('the metric says so', areShared('0'))
    t.equal(await passed(50, { 'x-forwarded-for': '203.0.113.5' }), 40)
    redis = await start()
    await eventually('they count together again', areShared('1'))
    t.equal(await passed(40, { 'x-forwarded-for': '203.0.113.6' }), 20)
  })
})
