import { spawn } from 'node:child_process'
import { once } from 'node:events'
import { writeFileSync } from 'node:fs'
import { createServer } from 'node:net'
import { join } from 'node:path'
import { setTimeout as sleep } from 'node:timers/promises'
import { fileURLToPath } from 'node:url'
import { routesFile } from '@sallyport/bench/settings'
import { createDatabase, waitForDatabase } from '@sallyport/database'
import { endProcesses, keepSecrets, programOf, startProcess } from '@sallyport/local'
import pg from 'pg'
import t, { type Test } from 'tap'
import { Agent, request } from 'undici'
import { eventually, startDatabase, startServer, temporaryFolder } from '../support/system.ts'

const migrateProgram = fileURLToPath(new URL('../../../prisma/dist/migrate.js', import.meta.url))

/** Runs a program with nothing but these settings, and waits for its end. */
async function run(program: string, environment: Record<string, string | undefined>) {
  const child = spawn(process.execPath, [program], { env: { PATH: process.env.PATH, ...environment } })
  let [output, errors] = ['', '']
  let said = Date.now()
  child.stdout.on('data', (chunk) => {
    output += chunk
    said = Date.now()
  })
  child.stderr.on('data', (chunk) => {
    errors += chunk
  })
  const cut = setTimeout(() => child.kill('SIGKILL'), 30_000)
  const [code] = await once(child, 'close')
  clearTimeout(cut)
  return { code, output, stayed: Date.now() - said, lines: errors.split('\n').filter((line) => line !== '') }
}

const strong = 'f9Jq2xW7vT1zKp8LmN4bYc6RgHd3SaEu5QwX'

function settings(t: Test): Record<string, string> {
  return {
    ...keepSecrets(temporaryFolder(t)),
    DATABASE_URL: 'postgresql://nobody@127.0.0.1:1/none',
    DATABASE_WAIT: '0s',
    JWT_ISSUER: 'https://issuer.test',
    JWT_AUDIENCE: 'https://api.test',
    JWKS_URL: 'http://127.0.0.1:1/.well-known/jwks.json',
    GATEWAY_ROUTES: routesFile,
    AUTH_URL: 'http://127.0.0.1:1',
    APPOINTMENTS_URL: 'http://127.0.0.1:1',
    NOTIFICATIONS_URL: 'http://127.0.0.1:1',
    AUTH_PORT: '0',
    GATEWAY_PORT: '0',
    NOTIFICATIONS_PORT: '0',
    APPOINTMENTS_PORT: '0',
  }
}

t.test('what cannot start prints a line for each problem that says how to fix it, and exits with 1', async (t) => {
  t.test('settings that are missing are all named at once', async (t) => {
    const { code, lines } = await run(programOf('auth'), {})
    t.equal(code, 1)
    t.strictSame(
      lines.map((line) => /^sallyport auth: (\w+) is not set, nor is \1_FILE; it takes ./.exec(line)?.[1]),
      ['DATABASE_URL', 'JWT_ISSUER', 'JWT_AUDIENCE', 'JWT_PRIVATE_KEY', 'JWT_REFRESH_SECRET', 'FACTOR_KEY'],
    )
    const gateway = await run(programOf('gateway'), {})
    t.strictSame(
      gateway.lines.map((line) => line.split(' ')[2]),
      ['GATEWAY_ROUTES', 'IDENTITY_PRIVATE_KEY'],
    )
  })

  t.test('a file of breached passwords that is none is named', async (t) => {
    const file = join(temporaryFolder(t), 'set')
    for (const content of ['', 'password\n', 'sallyport-breached version=1 entries=5 blocks=1 block-bytes=8192\n']) {
      writeFileSync(file, content)
      const { code, lines } = await run(programOf('auth'), { ...settings(t), BREACHED_PASSWORDS: file })
      t.match(
        { code, lines },
        { code: 1, lines: [/^sallyport auth: BREACHED_PASSWORDS names .*`npm run breached -- build/] },
      )
      t.equal(lines.length, 1)
    }
  })

  t.test('mail needs a sender and where links lead', async (t) => {
    const mail = { ...settings(t), SMTP_URL: 'smtp://user:hush@mail.example.com' }
    const missing = /^sallyport auth: (\w+) is not set; it takes .*required with SMTP_URL$/
    const names = async (more: Record<string, string>) =>
      (await run(programOf('auth'), { ...mail, ...more })).lines.map((line) => missing.exec(line)?.[1])
    t.strictSame(await names({}), ['MAIL_FROM', 'APP_ORIGIN'])
    t.strictSame(await names({ MAIL_FROM: 'a@example.com' }), ['APP_ORIGIN'])
    t.strictSame(await names({ APP_ORIGIN: 'https://app.example.com' }), ['MAIL_FROM'])
  })

  t.test('auth without the packages of its /docs says that this is not production', async (t) => {
    const hooks = `export const resolve = (name, context, next) => {
      if (name.startsWith('@fastify/swagger')) throw new Error('not installed')
      return next(name, context)
    }`
    const withoutPackages = `import { register } from 'node:module'; register(${JSON.stringify(`data:text/javascript,${encodeURIComponent(hooks)}`)})`
    const { urls } = await startDatabase(t)
    const { code, lines } = await run(programOf('auth'), {
      ...settings(t),
      DATABASE_URL: urls.auth,
      NODE_OPTIONS: `--import=data:text/javascript,${encodeURIComponent(withoutPackages)}`,
    })
    t.match(
      { code, lines },
      { code: 1, lines: [/^sallyport auth: .*; set NODE_ENV=production, or `npm install @fastify/] },
    )
    t.equal(lines.length, 1)
  })

  t.test('a weak secret stops the boot in production', async (t) => {
    const production = { ...settings(t), NODE_ENV: 'production' }
    const weak = { ...production, JWT_REFRESH_SECRET: 'your-super-secret-refresh-key-here' }
    const { code, lines: complaint } = await run(programOf('auth'), weak)
    t.equal(code, 1)
    t.equal(complaint.length, 1)
    t.match(complaint[0], /JWT_REFRESH_SECRET is too weak .*`openssl rand -base64 48`/)
    const { lines } = await run(programOf('gateway'), { ...production, REVOCATIONS_SECRET: 'guessable' })
    t.match(lines, [/REVOCATIONS_SECRET is too weak/])
  })

  t.test('a service that would believe plain headers does not start in production', async (t) => {
    const production = { ...settings(t), NODE_ENV: 'production', IDENTITY_PUBLIC_KEY: '' }
    for (const program of [programOf('auth'), programOf('appointments'), programOf('notifications')])
      t.match(await run(program, production), { code: 1, lines: [/IDENTITY_PUBLIC_KEY is not set/] })
  })

  t.test('a key that cannot sign is named', async (t) => {
    const ed448 =
      '-----BEGIN PRIVATE KEY-----\nMEcCAQAwBQYDK2VxBDsEOTdD+gPI1u1PqOcuXnkgVJ3EOPU9QzM6/nIq53MH50Tk\nX9FKmvFYBkNIRBAUm0vJAhN2aJgSxyKMKQ==\n-----END PRIVATE KEY-----'
    t.match((await run(programOf('auth'), { ...settings(t), JWT_PRIVATE_KEY: ed448 })).lines, [
      /JWT_PRIVATE_KEY holds a key that is none of/,
    ])
  })

  t.test('a database that does not respond', async (t) => {
    for (const program of [programOf('auth'), programOf('appointments')])
      t.match(await run(program, settings(t)), {
        code: 1,
        lines: [/the database does not answer .*; start it, or correct DATABASE_URL/],
      })
  })

  t.test('an address that is none of one PostgreSQL', async (t) => {
    for (const program of [programOf('auth'), programOf('appointments'), programOf('notifications'), migrateProgram])
      t.match(await run(program, { ...settings(t), DATABASE_URL: 'mysql://user:hush@db/sallyport' }), {
        code: 1,
        lines: [/DATABASE_URL is not a postgresql:\/\/ address; it takes postgresql:(?!.*hush)/],
      })
    const hosts = 'postgresql://user:hush@one,two/sallyport?target_session_attrs=read-write'
    t.match(await run(programOf('auth'), { ...settings(t), DATABASE_URL: hosts }), {
      code: 1,
      lines: [/DATABASE_URL names several hosts, .* put one address in front that leads to the primary(?!.*hush)/],
    })
  })

  t.test('a port that is taken', async (t) => {
    const taken = createServer().listen(0, '127.0.0.1')
    t.teardown(() => taken.close())
    await once(taken, 'listening')
    const { port } = taken.address() as { port: number }
    const busy = { ...settings(t), GATEWAY_PORT: String(port) }
    t.match(await run(programOf('gateway'), busy), {
      code: 1,
      lines: [`sallyport gateway: port ${port} is taken; set GATEWAY_PORT to a free one, or stop what listens there`],
    })
    const management = { ...settings(t), MANAGEMENT_PORT: String(port) }
    t.match(await run(programOf('gateway'), management), { code: 1, lines: [/set MANAGEMENT_PORT to a free one/] })
    const own = { ...management, MANAGEMENT_PORT: '0', GATEWAY_MANAGEMENT_PORT: String(port) }
    t.match(await run(programOf('gateway'), own), { code: 1, lines: [/set GATEWAY_MANAGEMENT_PORT to a free one/] })
  })

  t.test('an address that is not of this machine, and a proxy that is no address', async (t) => {
    const elsewhere = { ...settings(t), HOST: '203.0.113.1' }
    t.match(await run(programOf('gateway'), elsewhere), {
      code: 1,
      lines: [/cannot listen on 203.0.113.1 port 0 .* correct HOST or GATEWAY_PORT/],
    })
    const proxies = { ...settings(t), TRUSTED_PROXIES: 'gateway' }
    t.match(await run(programOf('gateway'), proxies), { code: 1, lines: [/TRUSTED_PROXIES holds "gateway"/] })
  })

  t.test('a version of Node.js that is too old', async (t) => {
    const NODE_OPTIONS = '--no-experimental-require-module'
    for (const program of [
      ...['auth', 'appointments', 'notifications', 'gateway', 'web'].map((name) => programOf(name)),
      migrateProgram,
    ])
      t.match(
        await run(program, { ...settings(t), NODE_OPTIONS }),
        { code: 1, lines: [/^Sallyport needs Node.js 20.19 or later .*; this is v\d/] },
        program,
      )
  })

  t.test('a fault of ours shows where it is', async (t) => {
    const broken = {
      ...settings(t),
      NODE_OPTIONS: '--import=data:text/javascript,globalThis.setInterval=()=>{throw(new(Error)(`boom`))}',
    }
    const { code, lines } = await run(programOf('gateway'), broken)
    t.equal(code, 1)
    t.match(lines.join('\n'), /Error: boom\n +at /)
  })

  t.test('an invalid route file', async (t) => {
    const file = join(temporaryFolder(t), 'routes.yaml')
    writeFileSync(file, 'routes:\n  - { prefix: /x, upstreams: ["${NOT_SET}"], access: public }\n')
    t.match(await run(programOf('gateway'), { ...settings(t), GATEWAY_ROUTES: file }), {
      code: 1,
      lines: [/route \/x: the upstream names NOT_SET, which is not set/],
    })
    t.match(await run(programOf('gateway'), { ...settings(t), GATEWAY_ROUTES: '/nowhere' }), {
      code: 1,
      lines: [/\/nowhere: cannot be read/],
    })
  })

  t.test('auth without a database, whose process that hashes is still starting', async (t) => {
    const runs = await Promise.all([1, 2, 3].map(() => run(programOf('auth'), settings(t))))
    for (const { code, lines } of runs) {
      t.equal(code, 1)
      t.equal(lines.length, 1, lines.join('\n'))
      t.match(lines[0], /the database does not answer/)
    }
  })

  t.test('migrating without a database', async (t) => {
    t.match(await run(migrateProgram, {}), { code: 1, lines: [/DATABASE_URL is not set/] })
    const away = { DATABASE_URL: 'postgresql://nobody@localhost:1/none', DATABASE_WAIT: '0s' }
    t.match(await run(migrateProgram, away), { code: 1, lines: [/the database does not answer/] })
  })
})

t.test('secrets can come from files, and from one variable each', async (t) => {
  const { url } = await startDatabase(t)
  const folder = temporaryFolder(t)
  const { JWT_REFRESH_SECRET: _, ...others } = settings(t)
  writeFileSync(join(folder, 'secret'), `${strong}\n`)
  const running = await startProcess(
    'auth',
    {
      PATH: process.env.PATH,
      ...others,
      DATABASE_URL: url,
      NODE_ENV: 'production',
      JWT_REFRESH_SECRET_FILE: join(folder, 'secret'),
    },
    () => {},
  )
  t.teardown(() => endProcesses([running]))
  t.equal((await fetch(`http://127.0.0.1:${running.port}/.well-known/jwks.json`)).status, 200)
})

t.test('a database without tables: the line says to migrate, and migrating twice is harmless', async (t) => {
  const { url, sql } = await startServer(t)
  await sql('CREATE DATABASE empty')
  const empty = url.replace(/sallyport$/, 'empty')
  t.match(await run(programOf('auth'), { ...settings(t), DATABASE_URL: empty }), {
    code: 1,
    lines: [/no tables yet; run `npm run migrate`/],
  })
  const roles = { AUTH_DATABASE_ROLE: 'one', AUTH_DATABASE_PASSWORD: strong, APPOINTMENTS_DATABASE_ROLE: 'two' }
  await sql('CREATE ROLE two')
  const both = await Promise.all([
    run(migrateProgram, { DATABASE_URL: empty, ...roles }),
    run(migrateProgram, { DATABASE_URL: empty }),
  ])
  t.strictSame(
    both.map(({ code }) => code),
    [0, 0],
  )
  t.strictSame(both.map(({ output }) => /^(Applied|The database is up to date)/.exec(output)?.[1]).sort(), [
    'Applied',
    'The database is up to date',
  ])
  for (const { stayed } of both) t.ok(stayed < 5_000, `it ends when it is done, ${stayed} ms after`)
  const one = Object.assign(new URL(empty), { username: 'one', password: strong }).toString()
  const database = createDatabase(one, { connections: 1, onError: () => {} })
  t.teardown(() => database.$disconnect())
  await waitForDatabase(database, 5)
})

t.test('a migration that is killed half-way is made again from its beginning', async (t) => {
  const { url, sql } = await startServer(t)
  await sql('CREATE DATABASE half')
  const half = url.replace(/sallyport$/, 'half')
  const holder = new pg.Client({ connectionString: half })
  await holder.connect()
  t.teardown(() => holder.end())
  await holder.query('BEGIN; CREATE SCHEMA auth')
  const child = spawn(process.execPath, [migrateProgram], { env: { ...process.env, DATABASE_URL: half } })
  t.teardown(() => child.kill('SIGKILL'))
  const waiting = "SELECT FROM pg_stat_activity WHERE query ~ 'CREATE SCHEMA' AND wait_event_type = 'Lock'"
  await eventually('it waits for the schema', async () => (await sql(waiting)).rowCount === 1, 60_000)
  child.kill('SIGKILL')
  await once(child, 'exit')
  await holder.query('ROLLBACK')
  t.match(await run(migrateProgram, { DATABASE_URL: half }), { code: 0, output: /^Applied \d+_first, / })
})

t.test('one signal ends a process in order, a second one at once', async (t) => {
  const start = (wait: string) =>
    startProcess('gateway', { ...process.env, ...settings(t), SHUTDOWN_WAIT: wait }, () => {})
  const [patient, hurried] = await Promise.all([start('0s'), start('60s')])
  patient.child.kill('SIGTERM')
  t.strictSame(await patient.ended, [0, null])

  const management = `http://127.0.0.1:${hurried.managementPort}/readyz`
  hurried.child.kill('SIGTERM')
  await eventually('it waits', async () => (await request(management)).body.text().then((text) => text.includes('not')))
  hurried.child.kill('SIGTERM')
  t.strictSame(await hurried.ended, [1, null])
})

t.test('a process that receives SIGTERM is not ready first, and serves until balancers have seen it', async (t) => {
  const { child, port, managementPort, ended } = await startProcess(
    'gateway',
    { ...process.env, ...settings(t), SHUTDOWN_WAIT: '2s' },
    () => {},
  )
  // On the fast path and off it: Node's server reads what has TE.
  const ways = [{}, { te: 'trailers' }].map((headers) => ({ headers, dispatcher: new Agent({ connections: 1 }) }))
  const ask = async (way: (typeof ways)[number]) => {
    const response = await request(`http://127.0.0.1:${port}/nowhere`, way)
    await response.body.dump()
    return response
  }
  for (const way of ways) t.equal((await ask(way)).headers.connection, 'keep-alive')

  const signalled = Date.now()
  child.kill('SIGTERM')
  await eventually('it says that it is not ready', async () => {
    const { statusCode, body } = await request(`http://127.0.0.1:${managementPort}/readyz`)
    return statusCode === 503 && (await body.text()).includes('not ready') && Date.now() - signalled > 100
  })
  for (const way of ways) {
    const during = { statusCode: 404, headers: { connection: 'close' } }
    t.match(await ask(way), during, 'it is served, and its connection closes')
    t.equal((await ask(way)).statusCode, 404, 'a new connection is still taken')
  }
  t.strictSame(await ended, [0, null])
  t.ok(Date.now() - signalled >= 2_000)
  await Promise.all(ways.map(({ dispatcher }) => dispatcher.close()))
})

t.test('an error that nothing handled is logged, and the process ends in order with code 1', async (t) => {
  const log: string[] = []
  const NODE_OPTIONS = '--import=data:text/javascript,process.on(`SIGUSR2`,()=>{throw(new(Error)(`boom`))})'
  const gateway = await startProcess('gateway', { ...process.env, ...settings(t), NODE_OPTIONS }, (line) =>
    log.push(line),
  )
  gateway.child.kill('SIGUSR2')
  t.strictSame(await gateway.ended, [1, null])
  t.ok(log.some((line) => line.includes('"crashed"') && line.includes('boom')))
})

t.test('a process ends when whoever started it is gone, at whatever moment', async (t) => {
  const gateway = await startProcess('gateway', { ...process.env, ...settings(t) }, () => {})
  gateway.child.disconnect()
  t.strictSame(await gateway.ended, [0, null])

  /** Starts a service that waits for its database, and goes away without a word. */
  const startAndLeave = async (afterMs: number) => {
    const child = spawn(process.execPath, [programOf('auth')], {
      env: { ...process.env, ...settings(t), DATABASE_WAIT: '60s' },
      stdio: ['ignore', 'ignore', 'ignore', 'ipc'],
    })
    const ended = once(child, 'exit')
    await sleep(afterMs)
    child.disconnect()
    t.strictSame(await ended, [0, null], `${afterMs} ms after it began`)
  }
  await Promise.all([0, 100, 300, 1_000].map(startAndLeave))
})

t.test(
  'a process whose output nobody reads any more ends with the next line, however it was going to end',
  async (t) => {
    for (const signal of ['SIGTERM', 'SIGUSR2'] as const) {
      const NODE_OPTIONS = '--import=data:text/javascript,process.on(`SIGUSR2`,()=>{throw(new(Error)(`boom`))})'
      const { child, ended } = await startProcess('gateway', { ...process.env, ...settings(t), NODE_OPTIONS }, () => {})
      child.stdout?.destroy()
      child.kill(signal)
      t.strictSame(await ended, [1, null], signal)
    }
  },
)
