import { spawn, spawnSync } from 'node:child_process'
import { once } from 'node:events'
import { existsSync, mkdirSync, readdirSync, readFileSync, statSync, symlinkSync, writeFileSync } from 'node:fs'
import { dirname, join } from 'node:path'
import { fileURLToPath } from 'node:url'
import t, { type Test } from 'tap'
import { parse } from 'yaml'
import { startBrowser, withoutBrowser } from '../support/chromium.ts'
import { packedPackages, run, start } from '../support/packed.ts'
import { isMissing, proxyNames } from '../support/proxies.ts'
import { Client, eventually, freePort, startServer, temporaryFolder } from '../support/system.ts'
import { kill } from './ends.ts'

// Projects are installed here, and a machine may have to fetch every package of them.
t.setTimeout(900_000)

const root = fileURLToPath(new URL('../../..', import.meta.url))
const tarballOf = async (name: string) => (await packedPackages()).get(name)?.tarball as string

/** Runs `npm create sallyport` in a folder, of what is packed. */
async function create(folder: string, ...args: string[]): Promise<string> {
  const tarball = await tarballOf('create-sallyport')
  const program = ['npx', '--yes', '--prefer-offline', `--package=${tarball}`, 'create-sallyport']
  return run(folder, [...program, ...args])
}

/** A project as `npm create sallyport` makes it of the packed packages. */
async function createProject(t: Test, name: string, ...flags: string[]): Promise<string> {
  const folder = temporaryFolder(t)
  await create(folder, name, '--packages', dirname(await tarballOf('@sallyport/local')), ...flags)
  return join(folder, name)
}

const install = (project: string) =>
  run(project, ['npm', 'install', '--prefer-offline', '--no-audit', '--no-fund', '--loglevel=error'])

/** All that a project is, in the style of this repository. */
function isLinted(t: Test, project: string): void {
  const biome = join(root, 'node_modules/.bin/biome')
  const files = ['project.js', 'start.js', 'service', 'page', 'test'].map((file) => join(project, file))
  const args = ['lint', '--error-on-warnings', `--config-path=${root}`, '--vcs-enabled=false', ...files]
  const { status, stdout, stderr } = spawnSync(biome, args, { encoding: 'utf8' })
  t.equal(status, 0, `${stdout}${stderr}`)
}

/** Settings by which a project is on ports of its own, and what it is reached by. */
async function choosePorts() {
  const names = ['GATEWAY', 'AUTH', 'SERVICE', 'EMBEDDED_PG', 'MAILBOX', 'MAILBOX_SMTP']
  const ports = Object.fromEntries(
    await Promise.all(names.map(async (name) => [`${name}_PORT`, String(await freePort())])),
  )
  return { settings: { ...ports, MANAGEMENT_PORT: '0' }, ports, gateway: `http://localhost:${ports.GATEWAY_PORT}` }
}

/** The first user, whose password only the owner of the folder can read. */
function firstUser(project: string) {
  const file = join(project, '.data/secrets/first-password')
  return { mode: statSync(file).mode & 0o777, password: readFileSync(file, 'utf8') }
}

/** How many users a database has. */
const count = `
  import pg from 'pg'
  const client = new pg.Client(process.env.database)
  await client.connect()
  const { rows } = await client.query('SELECT count(*) FROM auth.users')
  process.stdout.write(rows[0].count)
  await client.end()`

t.test('with what is packed', async (t) => {
  const project = await createProject(t, 'my-app')
  await install(project)
  /** The rest of the projects of this test need what this one has. */
  const borrow = (other: string) => symlinkSync(join(project, 'node_modules'), join(other, 'node_modules'))

  t.test('a new project passes its own tests, and lints', async (t) => {
    t.match(await run(project, ['npm', 'test']), /^# pass 4\n# fail 0$/m)
    t.match(await run(project, ['npm', 'run', 'routes']), 'routes.yaml')
    isLinted(t, project)
    t.notMatch(readdirSync(project), ['.data'], 'which leave nothing there')
  })

  t.test('npm start runs it, the printed user signs in, and Ctrl-C ends it', async (t) => {
    const { settings, ports, gateway } = await choosePorts()
    const env = { ...process.env, ...settings, NODE_OPTIONS: undefined }
    // As in a terminal, where Ctrl-C reaches an entire process group.
    const child = spawn('npm', ['start'], { cwd: project, env, detached: true })
    const ended = once(child, 'exit')
    t.teardown(() => kill(-(child.pid as number), 'SIGKILL'))
    let output = ''
    for (const stream of [child.stdout, child.stderr])
      stream.on('data', (chunk) => {
        output += chunk
      })
    await eventually('it runs', () => /Try +curl/.test(output) || child.exitCode !== null, 60_000)
    const { mode, password } = firstUser(project)
    t.equal(mode, 0o600)
    t.match(output, `Open           ${gateway}\n`)
    t.match(output, `Sign in as     admin@example.com\n  Password       ${password}\n`)

    const [, curl = ''] = /Try +(curl [\s\S]*)\n$/.exec(output) ?? []
    const { accessToken } = JSON.parse(await run(project, ['sh', '-c', curl]))
    const call = (path: string, token?: string) =>
      fetch(gateway + path, { headers: token ? { authorization: `Bearer ${token}` } : {} })
    t.strictSame(await (await call('/api/hello', accessToken)).json(), { hello: 'admin@example.com', roles: ['admin'] })
    t.equal((await call('/api/reports', accessToken)).status, 200)
    t.equal((await call('/api/reports')).status, 401)
    const demo = new Client(gateway)
    t.equal((await demo.login('doctor@example.com')).status, 401, 'the user of the demo is not there')

    await t.test('on its page', { skip: withoutBrowser }, async (t) => {
      const open = await startBrowser(t)
      const { page, complaints } = await open(gateway)
      await page.goto('/')
      const press = (name: string) => page.getByRole('button', { name, exact: true }).click()
      await page.getByLabel('E-mail').fill('admin@example.com')
      await page.getByLabel('Password').fill('not that')
      await press('Sign in')
      await page
        .getByText(/password/i)
        .last()
        .waitFor()
      await page.getByLabel('Password').fill(password)
      await press('Sign in')
      await page.getByText('admin@example.com (admin)').waitFor()
      for (const [name, answer] of [
        ['For everyone', '200 {"hello":"everyone"}'],
        ['Signed in', '200 {"hello":"admin@example.com","roles":["admin"]}'],
        ['For admins', '200 {"reports":[]}'],
      ] as const) {
        await press(name)
        await page.getByText(answer).waitFor()
      }
      await press('Sign out')
      await page.getByRole('button', { name: 'Sign in', exact: true }).waitFor()
      await press('For admins')
      await page.getByText(/^401 .*TOKEN_MISSING/).waitFor()
      t.strictSame(complaints, [])
    })

    process.kill(-(child.pid as number), 'SIGINT')
    // npm itself ends as what interrupted it.
    await ended
    for (const [name, port] of Object.entries(ports))
      await eventually(`${name} is free again`, () =>
        fetch(`http://127.0.0.1:${port}`).then(
          () => false,
          () => true,
        ),
      )
  })

  t.test('a user who has deleted the file with the first password reads of it no more', async (t) => {
    const { settings, gateway } = await choosePorts()
    const { password } = firstUser(project)
    const DATA_DIR = join(project, '.data')
    const file = join(DATA_DIR, 'secrets/first-password')
    await run(project, ['rm', file])
    await start(t, project, `curl -s ${gateway}/api/public`, ['npm', 'start'], { ...settings, DATA_DIR })
    t.equal((await new Client(gateway).login('admin@example.com', password)).status, 200, 'and is still there')
    t.notOk(existsSync(file))
  })

  t.test('with a database of its own', async (t) => {
    const { url, sql } = await startServer(t)
    await sql('CREATE DATABASE app')
    const database = Object.assign(new URL(url), { pathname: '/app' }).toString()
    const project = await createProject(t, 'with-database', '--database', database)
    borrow(project)
    t.equal(readFileSync(join(project, '.env'), 'utf8'), `DATABASE_URL=${database}\n`)
    t.equal(statSync(join(project, '.env')).mode & 0o777, 0o600)
    t.match(readFileSync(join(project, '.gitignore'), 'utf8'), /^\.env$/m)
    t.match(await run(project, ['npm', 'run', 'migrate']), /Applied 2026/)
    const { settings, gateway } = await choosePorts()
    const readme = readFileSync(join(project, 'README.md'), 'utf8')
    const [, createUser = ''] = /^(printf .*create-user.*)$/m.exec(readme) ?? []
    t.match(await run(project, ['sh', '-c', createUser]), 'made user')

    await t.test('no other is started, and nobody is made', async (t) => {
      await start(t, project, 'Try ', ['npm', 'start'], settings)
      t.equal((await new Client(gateway).login('admin@example.com', 'a long passphrase')).status, 200)
      t.equal((await new Client(gateway).login('doctor@example.com')).status, 401)
      t.notOk(existsSync(join(project, '.data/postgres')))
    })
    t.match(await run(project, ['npm', 'test']), /^# pass 4\n# fail 0$/m)
    const { stdout } = spawnSync('node', ['--input-type=module', '-e', count], {
      cwd: root,
      env: { ...process.env, database },
      encoding: 'utf8',
    })
    t.equal(stdout, '1', 'its tests make nobody there either')
  })

  t.test('with another issuer it passes its own tests, and needs neither auth service nor database', async (t) => {
    const flags = ['--issuer', 'https://login.example.com/', '--audience', 'https://api.example.com']
    const project = await createProject(t, 'with-issuer', ...flags)
    await install(project)
    t.match(await run(project, ['npm', 'test']), /^# pass 3\n# fail 0$/m)
    isLinted(t, project)
    const { settings, gateway } = await choosePorts()
    await start(t, project, 'Try ', ['npm', 'start'], settings)
    t.match(await (await fetch(gateway)).text(), 'https://login.example.com/')
    t.equal((await fetch(`${gateway}/api/hello`)).status, 401)
    t.strictSame(
      readdirSync(join(project, '.data')).filter((name) => name.startsWith('postgres')),
      [],
    )
  })

  for (const proxy of proxyNames)
    t.test(`${proxy} in front of the service`, { skip: isMissing(proxy) }, async (t) => {
      const project = await createProject(t, `with-${proxy}`, '--proxy', proxy)
      borrow(project)
      isLinted(t, project)
      const { settings, ports, gateway } = await choosePorts()
      const [port, asked] = [await freePort(), await freePort()]
      const here = { 8080: port, 5100: asked, 5010: ports.SERVICE_PORT }
      const folder = join(project, 'proxy/local')
      for (const name of readdirSync(folder)) {
        const file = join(folder, name)
        const text = Object.entries(here).reduce(
          (text, [usual, port]) => text.replaceAll(`:${usual}`, `:${port}`),
          readFileSync(file, 'utf8'),
        )
        writeFileSync(file, text)
      }
      const origin = `http://localhost:${port}`
      const own = { FORWARD_AUTH_PORT: String(asked), APP_ORIGIN: origin, CORS_ORIGINS: origin }
      await start(t, project, 'Try ', ['npm', 'start'], { ...settings, ...own })
      const [, command = ''] =
        /Beside `npm start`:\n\n```sh\n(.*)\n/.exec(readFileSync(join(project, 'README.md'), 'utf8')) ?? []
      const home = temporaryFolder(t)
      const caddy = { HOME: home, XDG_CONFIG_HOME: home, XDG_DATA_HOME: home, CADDY_ADMIN: `unix/${home}/admin` }
      const child = spawn('sh', ['-c', `exec ${command}`], { cwd: project, env: { ...process.env, ...caddy } })
      const ended = once(child, 'exit')
      t.teardown(async () => {
        child.kill()
        await ended
      })
      let said = ''
      child.stderr.on('data', (chunk) => {
        said += chunk
      })
      const call = (path: string, headers = {}) => fetch(`http://127.0.0.1:${port}${path}`, { headers })
      await eventually('it listens', () =>
        call('/').then(
          () => true,
          () => child.exitCode !== null,
        ),
      )
      t.equal(child.exitCode, null, said)

      t.match(await (await call('/')).text(), `<h1>with-${proxy}</h1>`)
      t.equal((await call('/api/public')).status, 200)
      t.equal((await call('/api/hello')).status, 401)
      t.equal((await call('/api/hello', { 'x-user-id': '1', 'x-identity-token': 'x' })).status, 401)
      const { password } = firstUser(project)
      const { body } = await new Client(gateway).login('admin@example.com', password)
      const authorization = `Bearer ${body.accessToken}`
      t.strictSame(await (await call('/api/hello', { authorization })).json(), {
        hello: 'admin@example.com',
        roles: ['admin'],
      })
      t.equal((await call('/api/reports', { authorization })).status, 200)
    })
})

t.test('a proxy has the addresses of the project, here and in containers', async (t) => {
  for (const proxy of ['nginx', 'caddy', 'haproxy', 'traefik', 'envoy']) {
    const project = await createProject(t, 'app', '--proxy', proxy)
    const textOf = (where: string) => {
      const folder = join(project, 'proxy', where)
      return readdirSync(folder)
        .map((file) => readFileSync(join(folder, file), 'utf8').replaceAll(/^\s*(#|--).*$/gm, ''))
        .join('\n')
    }
    t.notMatch(textOf('local'), /8081|5001|\/\/auth|\/etc\//, proxy)
    t.notMatch(textOf('compose'), /127\.0\.0\.1|8081|\/etc\//, proxy)
    const { services, networks } = parse(readFileSync(join(project, 'docker-compose.yml'), 'utf8'), { merge: true })
    t.match(services.proxy, { image: /./, command: [/./], volumes: ['./proxy/compose:/proxy:ro'] })
    t.match(networks.edge.ipam.config, [{ subnet: '172.31.250.0/24' }])
    const addressOf = (name: string) => services[name].networks.edge.ipv4_address
    for (const name of ['gateway', 'service']) t.match(textOf('compose'), addressOf(name), `${proxy}: ${name}`)
    t.equal(services.gateway.environment.TRUSTED_PROXIES, addressOf('proxy'))
  }
})

t.test('every docker-compose.yml gives each process what it may need, and no more', async (t) => {
  const combinations: [string[], string[]][] = [
    [[], ['auth', 'gateway', 'migrate', 'postgres', 'service']],
    [
      ['--proxy', 'nginx'],
      ['auth', 'gateway', 'migrate', 'postgres', 'proxy', 'service'],
    ],
    [
      ['--database', 'postgresql://a:b@db/c'],
      ['auth', 'gateway', 'migrate', 'service'],
    ],
    [
      ['--issuer', 'https://login.example.com'],
      ['gateway', 'service'],
    ],
    [
      ['--issuer', 'https://login.example.com', '--proxy', 'envoy'],
      ['gateway', 'proxy', 'service'],
    ],
  ]
  for (const [flags, names] of combinations) {
    const project = await createProject(t, 'app', ...flags)
    const { services } = parse(readFileSync(join(project, 'docker-compose.yml'), 'utf8'), { merge: true })
    t.strictSame(Object.keys(services).sort(), names, flags.join(' '))
    // biome-ignore lint/suspicious/noExplicitAny: YAML
    for (const [name, service] of Object.entries<any>(services))
      if (!['postgres', 'proxy'].includes(name))
        t.match(service, { image: 'app', read_only: true, cap_drop: ['ALL'] }, name)
    t.notMatch(readFileSync(join(project, 'README.md'), 'utf8'), /\{\{|<!--/, 'the README is whole')
  }
})

t.test('what cannot be made is refused in a line, and leaves nothing', async (t) => {
  const folder = temporaryFolder(t)
  mkdirSync(join(folder, 'full'))
  writeFileSync(join(folder, 'full/notes.txt'), 'mine')
  mkdirSync(join(folder, 'empty'))
  writeFileSync(join(folder, 'file'), '')
  const before = readdirSync(folder)
  const cases: [string[], RegExp][] = [
    [['full'], /full is there already, and not empty/],
    [['file'], /ENOTDIR/],
    [['My App'], /"My App" cannot be the name of a project; it takes a-z, 0-9 and -/],
    [['..'], /is there already, and not empty|cannot be the name/],
    [['app', '--colour', 'red'], /Unknown option '--colour'/],
    [['app', '--issuer', 'example'], /--issuer "example" is no issuer; it is own, or an address/],
    [['app', '--packages', join(folder, 'empty')], /has no tarball of @sallyport\/\w+; make it with `npm run release/],
    [['app', '--packages', join(folder, 'nowhere')], /ENOENT/],
    [['empty', '--packages', join(folder, 'nowhere')], /ENOENT/],
    [[], /usage: npm create sallyport FOLDER/],
  ]
  await packedPackages()
  const program = join(root, 'create/bin/create-sallyport.js')
  for (const [args, message] of cases) {
    const { status, stdout, stderr } = spawnSync(process.execPath, [program, ...args], {
      cwd: folder,
      encoding: 'utf8',
    })
    t.strictSame([status, stdout], [1, ''], args.join(' '))
    t.match(stderr, message)
    t.match(stderr, /^create-sallyport: /)
    t.strictSame(readdirSync(folder), before)
  }
  t.equal(readFileSync(join(folder, 'full/notes.txt'), 'utf8'), 'mine')

  t.test('the folder where somebody is, if it is empty', async (t) => {
    const here = join(folder, 'here')
    mkdirSync(here)
    const command = '"$0" "$1" . --yes && ls'
    const { stdout } = spawnSync('sh', ['-c', command, process.execPath, program], { cwd: here, encoding: 'utf8' })
    t.match(stdout, /It starts with\n\n {2}cd \.\n {2}npm install\n[\s\S]*\npackage.json\n/, 'and the shell sees it')
  })

  t.test('an empty folder is as good as none', async (t) => {
    const { status } = spawnSync(process.execPath, [program, 'empty', '--yes'], { cwd: folder })
    t.equal(status, 0)
    const { dependencies } = JSON.parse(readFileSync(join(folder, 'empty/package.json'), 'utf8'))
    t.match(dependencies, { '@sallyport/gateway': '0.1.0', fastify: /^\d+\.\d+\.\d+$/ }, 'of the registry, exact')
  })
})

t.test('at a terminal each question is asked once, unless a flag has answered it', async (t) => {
  await packedPackages()
  const folder = temporaryFolder(t)
  const ask = async (name: string, args: string, answers: string[]) => {
    const command = `${process.execPath} ${join(root, 'create/bin/create-sallyport.js')} ${name} ${args}`
    const child = spawn('script', ['-qec', command, '/dev/null'], { cwd: folder })
    t.teardown(() => child.kill('SIGKILL'))
    let received = ''
    let output = ''
    let answered = 0
    child.stdout.on('data', (chunk) => {
      received += chunk
      // Without what places the cursor, which may come by itself or in two pieces.
      output = received.replaceAll(/\u001b\[\d*[A-Z]/g, '')
      // Each answer once it is asked for.
      const asked = output.match(/\([\w-]+\): /g)?.length ?? 0
      if (asked > answered && answered < answers.length) child.stdin.write(`${answers[answered++]}\n`)
    })
    const [code] = await once(child, 'close', { signal: AbortSignal.timeout(60_000) })
    return { code, output, questions: output.match(/\([\w-]+\): /g) }
  }
  const read = (path: string) => readFileSync(join(folder, path), 'utf8')

  const all = await ask('asked', '', ['https://login.example.com', '', 'caddy'])
  t.strictSame([all.code, all.questions], [0, ['(own): ', '(api): ', '(none): ']], all.output)
  t.match(read('asked/project.js'), "ISSUER: 'https://login.example.com',\n    AUDIENCE: 'api',")
  t.ok(existsSync(join(folder, 'asked/proxy/local/Caddyfile')))

  const some = await ask('some', '--issuer own', ['', ''])
  t.strictSame([some.code, some.questions], [0, ['(local): ', '(none): ']], some.output)
  const none = await ask('none', '--yes', [])
  t.strictSame([none.code, none.questions], [0, null], none.output)

  const wrong = await ask('wrong', '', ['nobody'])
  t.equal(wrong.code, 1)
  t.match(wrong.output, '--issuer "nobody" is no issuer')
  t.strictSame(readdirSync(folder).sort(), ['asked', 'none', 'some'])
})
