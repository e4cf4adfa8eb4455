import t from 'tap'
import { createLogger } from './logging.ts'
import { createManagement } from './management.ts'

t.test('operators can ask whether a process lives, can serve, and what it counts', async (t) => {
  const lines: string[] = []
  const logger = createLogger('test', 'info', { write: (line) => lines.push(line) })
  let fault: Error | undefined = new Error('the keys are not there')
  const app = createManagement(logger, async () => {
    if (fault) throw fault
  })
  t.teardown(() => app.close())

  t.test('it lives, ready or not', async (t) => {
    t.equal((await app.inject('/healthz')).statusCode, 200)
  })

  t.test('it is not ready, and only the log says why', async (t) => {
    const response = await app.inject('/readyz')
    t.equal(response.statusCode, 503)
    t.equal(response.headers['retry-after'], '1')
    t.strictSame(response.json(), { status: 'not ready' })
    t.match(JSON.parse(lines.at(-1) ?? ''), { event: 'not_ready', err: { message: 'the keys are not there' } })
  })

  t.test('it becomes ready', async (t) => {
    fault = undefined
    const response = await app.inject('/readyz')
    t.equal(response.statusCode, 200)
    t.strictSame(response.json(), { status: 'ready' })
  })

  t.test('its metrics are in the format of Prometheus', async (t) => {
    const response = await app.inject('/metrics')
    t.match(response.headers['content-type'], /^text\/plain; version=0\.0\.4/)
    t.match(response.body, /^# TYPE process_cpu_user_seconds_total counter$/m)
  })
})
