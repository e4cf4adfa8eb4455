import { readFileSync } from 'node:fs'
import { connect } from 'node:net'
import { parser } from '@prometheus-io/lezer-promql'
import t, { type Test } from 'tap'
import WebSocket from 'ws'
import { parse } from 'yaml'
import { each, exchange, startGateway } from '../support/edge.ts'
import { mailSettings } from '../support/mail.ts'
import { Client, eventually, freePort, type System, signIn, startServer, startSystemOn } from '../support/system.ts'

const file = (name: string) => readFileSync(new URL(`../../../docs/${name}`, import.meta.url), 'utf8')

interface Sample {
  name: string
  labels: Record<string, string>
  value: number
}

/** Reads what Prometheus reads. */
async function scrape<Name extends keyof System['processes']>(
  { processes }: { processes: Pick<System['processes'], Name> },
  name: Name,
): Promise<Sample[]> {
  const text = await (await fetch(`http://127.0.0.1:${processes[name].managementPort}/metrics`)).text()
  return [...text.matchAll(/^(\w+)(?:\{(.*)\})? (\S+)$/gm)].map(([, name = '', labels = '', value]) => ({
    name,
    labels: Object.fromEntries([...labels.matchAll(/(\w+)="([^"]*)"/g)].map(([, label, text]) => [label, text])),
    value: Number(value),
  }))
}

/** The value of the one series of this name with these labels. */
async function sampleOf(
  system: System,
  process: keyof System['processes'],
  name: string,
  labels: Record<string, string> = {},
): Promise<number | undefined> {
  const wanted = Object.entries(labels)
  const samples = await scrape(system, process)
  return samples.find(
    (sample) => sample.name === name && wanted.every(([label, value]) => sample.labels[label] === value),
  )?.value
}

/** The series of a selector in PromQL, and the labels that the expression around it sorts by. */
interface Selector {
  name: string
  matchers: { label: string; operator: string; value: string }[]
}

/** Takes an expression apart by Prometheus' own grammar. */
function readExpression(expression: string): { selectors: Selector[]; grouping: string[] } {
  // Grafana fills this in.
  const text = expression.replaceAll('$__rate_interval', '5m')
  const selectors: Selector[] = []
  const grouping: string[] = []
  parser.parse(text).iterate({
    enter({ type, from, to, node }) {
      const part = text.slice(from, to)
      if (type.isError) throw new Error(`not PromQL: ${expression}`)
      if (type.name === 'VectorSelector') selectors.push({ name: part.replace(/\{.*/s, ''), matchers: [] })
      if (type.name === 'LabelName' && node.parent?.name === 'GroupingLabels') grouping.push(part)
      if (type.name !== 'UnquotedLabelMatcher') return
      const [, label = '', operator = '', value = ''] = /^(\w+)(\W+)"(.*)"$/.exec(part) ?? []
      selectors.at(-1)?.matchers.push({ label, operator, value })
    },
  })
  return { selectors, grouping }
}

/** What Prometheus itself says of each process. */
const processNames = ['gateway', 'auth', 'appointments', 'notifications', 'web']
const fromScraping = new Set(['job', 'instance'])

const matches = (operator: string, wanted: string, value: string) =>
  operator.endsWith('~') ? new RegExp(`^(${wanted})$`).test(value) : wanted === value

const outcomes = async (system: System, name: string) =>
  Object.fromEntries(
    (await scrape(system, 'auth'))
      .filter((sample) => sample.name === name && sample.value > 0)
      .map(({ labels, value }) => [labels.outcome, value]),
  )

t.test('what operators see', async (t) => {
  const system = await startSystemOn(
    await startServer(t),
    t,
    {
      ...mailSettings('smtp://localhost:1'),
      LOGIN_RATE_LIMIT_MAX: '5',
      REDIS_URL: `redis://127.0.0.1:${await freePort()}`,
    },
    ['appointments', 'notifications'],
  )
  const { gateway } = system
  const client = await signIn(gateway)

  await t.test('logins by outcome', async (t) => {
    const address = { 'x-forwarded-for': '203.0.113.1' }
    const wrong = { email: 'doctor@example.com', password: 'wrong' }
    for (const body of [wrong, { email: 'nobody@example.com', password: 'x' }, { ...wrong, password: 7 }, {}, '', ''])
      await new Client(gateway).call('POST', '/api/auth/login', { body, headers: address })
    t.strictSame(await outcomes(system, 'sallyport_logins_total'), {
      succeeded: 1,
      failed: 2,
      refused: 3,
      throttled: 1,
    })
    t.equal(await sampleOf(system, 'auth', 'sallyport_password_hashes', { state: 'running' }), 0)
    t.equal(await sampleOf(system, 'auth', 'sallyport_password_hashes', { state: 'waiting' }), 0)
    t.ok(((await sampleOf(system, 'auth', 'sallyport_database_connections', { state: 'idle' })) as number) > 0)
  })

  await t.test('refreshes by outcome, and why sessions ended', async (t) => {
    const thief = new Client(gateway)
    thief.cookie = client.cookie
    t.equal((await client.refresh()).status, 200)
    t.equal((await thief.refresh()).status, 200, 'within the grace')
    t.equal((await client.refresh()).status, 200)
    await system.sql('UPDATE auth.sessions SET generation = 0')
    t.equal((await client.refresh()).status, 200, 'the database is behind')
    const spare = client.cookie
    for (const _ of [1, 2]) await client.refresh()
    thief.cookie = spare
    t.match(await thief.refresh(), { status: 401, body: { code: 'REFRESH_REUSED' } })
    t.match(await client.refresh(), { status: 401, body: { code: 'SESSION_ENDED' } })
    for (const cookie of [undefined, 'junk']) await Object.assign(new Client(gateway), { cookie }).refresh()
    t.strictSame(await outcomes(system, 'sallyport_refreshes_total'), {
      rotated: 4,
      repeated: 1,
      fast_forwarded: 1,
      reused: 1,
      ended: 1,
      missing: 1,
      invalid: 1,
    })
    t.equal(await sampleOf(system, 'auth', 'sallyport_sessions_ended_total', { reason: 'reuse' }), 1)
    const held = () => sampleOf(system, 'gateway', 'sallyport_revocations', { of: 'session' })
    await eventually('the gateway has heard of it', async () => (await held()) === 1)
    t.equal(await sampleOf(system, 'gateway', 'sallyport_revocation_stream_connected'), 1)
    t.equal((await client.call('GET', '/api/whoami')).status, 401)
  })

  const patient = await signIn(gateway, 'patient@example.com')

  await t.test('what the gateway keeps', async (t) => {
    const lookups = (result: string) =>
      sampleOf(system, 'gateway', 'sallyport_token_cache_lookups_total', { result }) as Promise<number>
    const [hits, misses] = [await lookups('hit'), await lookups('miss')]
    for (const _ of [1, 2, 3]) t.equal((await patient.call('GET', '/api/whoami')).status, 200)
    t.equal((await lookups('miss')) - misses, 1)
    t.equal((await lookups('hit')) - hits, 2)
    t.ok(((await sampleOf(system, 'gateway', 'sallyport_token_cache_tokens')) as number) >= 1)
    t.equal(await sampleOf(system, 'gateway', 'sallyport_rate_limit_shared'), 0, 'the store is away')
  })

  await t.test('connections while they are open', async (t) => {
    const open = (kind: string) => sampleOf(system, 'gateway', 'sallyport_open_connections', { kind })
    const timed = () =>
      sampleOf(system, 'gateway', 'sallyport_request_duration_seconds_count', { route: '/api/notifications/stream' })
    const authorization = `Bearer ${patient.accessToken}`
    const socket = new WebSocket(`${gateway.replace('http', 'ws')}/api/notifications/ws`, {
      headers: { authorization },
    })
    const leaving = new AbortController()
    const stream = await fetch(`${gateway}/api/notifications/stream`, {
      headers: { authorization },
      signal: leaving.signal,
    })
    t.equal(stream.status, 200)
    await eventually('both are open', async () => (await open('websocket')) === 1 && (await open('event_stream')) === 1)
    socket.close()
    leaving.abort()
    await eventually('both are over', async () => (await open('websocket')) === 0 && (await open('event_stream')) === 0)
    t.equal(await timed(), undefined, 'how long a stream was open is not the time of a request')
  })

  await t.test('requests by route, however clients spell them', async (t) => {
    const count = (labels: Record<string, string>) =>
      sampleOf(system, 'gateway', 'sallyport_request_duration_seconds_count', labels)
    t.equal(await count({ route: '/api/whoami', method: 'GET', status: '2xx' }), 3)
    t.equal(await count({ route: '/api/auth/login', method: 'POST', status: '2xx' }), 2)
    const [before, atAuth] = [
      await count({ route: '/api/auth/refresh', status: '2xx' }),
      await sampleOf(system, 'auth', 'sallyport_request_duration_seconds_count', { route: '/api/auth/refresh' }),
    ]
    t.equal(before, 6)
    t.equal(atAuth, 6, 'a service counts by its own routes')
    // A client that leaves in the middle of its request.
    const socket = connect(system.processes.gateway.port, '127.0.0.1')
    socket.write(
      'POST /api/auth/login HTTP/1.1\r\nhost: x\r\ncontent-type: application/json\r\ntransfer-encoding: chunked\r\n\r\n1\r\n{',
    )
    setTimeout(() => socket.destroy(), 100)
    const left = { route: '/api/auth/login', status: 'none' }
    await eventually('it is counted', async () => (await count(left)) === 1)
  })

  await t.test('no more series, whatever URLs and methods come', async (t) => {
    const { port } = system.processes.gateway
    const attack = async (seed: string) => {
      const paths = Array.from({ length: 40 }, (_, at) => `/${seed}/${at}/${'x'.repeat(at)}`)
      const below = paths.flatMap((path) => [`/api/doctor${path}`, `/api/whoami${path}?${path}`, `/api/auth/${seed}`])
      const targets = [
        ...paths,
        ...below,
        `/%zz${seed}`,
        `//${seed}`,
        `/${seed}/../x`,
        '/metrics',
        '*',
        `http://${seed}/`,
      ]
      const methods = ['GET', 'PROPFIND', 'M-SEARCH', 'DELETE', 'QUERY', 'OPTIONS', seed]
      const requests = targets.flatMap((target, at) => `${methods[at % methods.length]} ${target}`)
      await each(requests, async (line) => {
        await exchange(port, `${line} HTTP/1.1\r\nhost: x\r\norigin: https://${seed}\r\nconnection: close\r\n\r\n`)
      })
      const direct = paths.slice(0, 10).map((path) => `http://127.0.0.1:${system.processes.auth.port}${path}`)
      await each(direct, async (url) => void (await (await fetch(url, { method: 'REPORT' })).text()))
    }
    const series = async () =>
      (await Promise.all([scrape(system, 'gateway'), scrape(system, 'auth')]))
        .flat()
        .filter(({ name }) => name.startsWith('sallyport_'))
        // What our own processes ask of each other comes when it comes: the first report of the gateway, for one.
        .filter(({ labels }) => !labels.route?.startsWith('/internal/'))
        .map(({ name, labels }) => `${name} ${JSON.stringify(labels)}`)
    await attack('alpha')
    const before = await series()
    await attack('omega')
    t.strictSame(await series(), before)
    t.notMatch(before.join('\n'), /alpha|omega|PROPFIND|REPORT/)
  })

  await t.test('a database outage', async (t) => {
    t.equal(await sampleOf(system, 'auth', 'sallyport_ready'), 1)
    await system.postgres.stop()
    t.equal((await patient.refresh()).status, 503)
    t.equal(await sampleOf(system, 'auth', 'sallyport_ready'), 0)
    t.match(await outcomes(system, 'sallyport_refreshes_total'), { unavailable: 1 })
    t.equal(await sampleOf(system, 'gateway', 'sallyport_ready'), 1)
  })

  await t.test('dashboard and alerts name only what there is', async (t) => {
    const several = await startGateway(t, [], { GATEWAY_WORKERS: '2' })
    const samples = (
      await Promise.all([
        ...(['gateway', 'auth', 'appointments', 'notifications'] as const).map((name) => scrape(system, name)),
        scrape({ processes: { gateway: several.process } }, 'gateway'),
      ])
    ).flat()
    const names = new Set(samples.map(({ name }) => name))
    const { panels, templating } = JSON.parse(file('monitoring/dashboard.json'))
    const charts: { title: string; targets: { expr: string; legendFormat: string }[] }[] = panels.filter(
      ({ type }: { type: string }) => type !== 'row',
    )
    const { groups } = parse(file('monitoring/alerts.yaml'))
    const alerts: Alert[] = groups.flatMap(({ rules }: { rules: Alert[] }) => rules)

    function check(t: Test, where: string, expression: string, written: string): void {
      const { selectors, grouping } = readExpression(expression)
      t.not(selectors.length, 0, where)
      for (const { name, matchers } of selectors) {
        if (name !== 'up') t.ok(names.has(name), `${where}: ${name} exists`)
        const ofName = samples.filter((sample) => sample.name === name)
        for (const { label, operator, value } of matchers) {
          const values = label === 'job' ? processNames : ofName.map(({ labels }) => labels[label] ?? '')
          const found = values.some((actual) => matches(operator, value, actual))
          t.ok(found, `${where}: ${name} has ${label}${operator}"${value}"`)
        }
        for (const label of grouping.filter((label) => !fromScraping.has(label)))
          t.ok(
            ofName.some(({ labels }) => label in labels),
            `${where}: ${name} has the label ${label}`,
          )
      }
      for (const [, label = ''] of written.matchAll(/\{\{ ?(?:\$labels\.)?([a-z]\w*) ?\}\}/g))
        t.ok(
          grouping.includes(label) || (grouping.length === 0 && fromScraping.has(label)),
          `${where}: ${label} is there to be written`,
        )
    }

    await t.test('the dashboard', async (t) => {
      t.match(templating.list, [{ name: 'datasource', type: 'datasource' }])
      for (const { title, targets } of charts)
        for (const { expr, legendFormat } of targets) check(t, title, expr, legendFormat)
    })
    await t.test('the alerts', async (t) => {
      for (const { alert, expr, annotations } of alerts) check(t, alert, expr, annotations.summary)
    })
    await t.test('each alert says how grave it is, and the documents what to do', async (t) => {
      const operations = file('operations.md')
      const section = operations.slice(operations.indexOf('\n## Alerts\n'))
      for (const { alert, labels, annotations } of alerts) {
        t.match(labels.severity, /^(critical|warning)$/)
        t.equal(annotations.runbook_url, `docs/operations.md#${alert.toLowerCase()}`)
        t.match(section, new RegExp(`^### ${alert}\\n\\n\\w`, 'm'), alert)
      }
      const described = [...section.matchAll(/^### (.+)$/gm)].map(([, name]) => name)
      t.strictSame(described.sort(), alerts.map(({ alert }) => alert).sort(), 'and no others')
    })
    await t.test('the documents list every metric of ours, and no other', async (t) => {
      const listed = [...file('operations.md').matchAll(/^\| `(sallyport_\w+)/gm)].map(([, name]) => name)
      const ours = [...names]
        .filter((name) => name.startsWith('sallyport_'))
        .map((name) => name.replace(/_(bucket|sum|count)$/, ''))
      t.strictSame(listed.sort(), [...new Set(ours)].sort())
    })
  })
})

interface Alert {
  alert: string
  expr: string
  labels: { severity: string }
  annotations: { summary: string; runbook_url: string }
}
