import { register } from 'prom-client'
import t from 'tap'
import { observeRequest } from './request-durations.ts'

const lines = async () =>
  (await register.getSingleMetricAsString('sallyport_request_duration_seconds'))
    .split('\n')
    .map((line) => line.replace('sallyport_request_duration_seconds', ''))

t.test('a request is in its bucket and in every larger one, and in the sum', async (t) => {
  for (const seconds of [0.001, 0.04, 0.05, 3600]) observeRequest('/people/:id', 'GET', 204, seconds)
  const series = 'route="/people/:id",method="GET",status="2xx"'
  const all = await lines()
  t.ok(all.includes('# TYPE  histogram'))
  const buckets = { '0.001': 1, '0.025': 1, '0.05': 3, '10': 3, '+Inf': 4 }
  for (const [bound, count] of Object.entries(buckets))
    t.ok(all.includes(`_bucket{le="${bound}",${series}} ${count}`), `${count} up to ${bound}`)
  t.ok(all.includes(`_count{${series}} 4`))
  t.ok(all.includes(`_sum{${series}} 3600.091`))
})

t.test('what a client may choose makes no series of its own', async (t) => {
  const series = async () => (await lines()).filter((line) => line.startsWith('_count'))
  const before = await series()
  for (const method of ['PROPFIND', 'M-SEARCH', 'get']) observeRequest(undefined, method, 404, 0.01)
  for (const status of [500, 503, 599, 999]) observeRequest(undefined, 'GET', status, 0.01)
  observeRequest('/people/:id', 'GET', 0, 0.01)
  const added = (await series()).filter((line) => !before.includes(line))
  t.strictSame(added, [
    '_count{route="none",method="other",status="4xx"} 3',
    '_count{route="none",method="GET",status="5xx"} 4',
    '_count{route="/people/:id",method="GET",status="none"} 1',
  ])
})
