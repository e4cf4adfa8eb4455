import { rmSync, writeFileSync } from 'node:fs'
import { join } from 'node:path'
import { createLogger } from '@sallyport/chassis'
import t, { type Test } from 'tap'
import { Upstreams } from '../proxy/upstreams.ts'
import { type Route, readRoutes } from './route-file.ts'
import { openRouteTable } from './route-table.ts'

const upstreams = new Upstreams(createLogger('test', 'silent'))
t.teardown(() => upstreams.close())

const plain = { prefix: '/api', upstreams: ['http://api:5002'], access: 'public' }

function write(t: Test, content: unknown): string {
  const text = typeof content === 'string' ? content : JSON.stringify({ routes: content })
  return join(t.testdir({ 'routes.yaml': text }), 'routes.yaml')
}

function readOne(t: Test, entry: object, environment: Record<string, string> = {}): Route {
  const [route] = readRoutes(write(t, [{ ...plain, ...entry }]), environment, upstreams).values()
  return route as Route
}

t.test('what a route leaves out has a default', async (t) => {
  t.match(readOne(t, {}), {
    prefix: '/api',
    upstreams: [{ origin: 'http://api:5002' }],
    access: 'public',
    roles: undefined,
    timeout: 30_000,
    bodyLimit: 10 * 1024 * 1024,
    rateLimit: undefined,
    websocket: false,
    audience: 'api',
    forwardAuthorization: false,
    refreshCookie: false,
    strippedPrefix: undefined,
    preserveHost: false,
  })
})

t.test('what a route says counts', async (t) => {
  const entry = {
    access: 'authenticated',
    roles: ['doctor', 'admin'],
    timeout: 1,
    bodyLimit: 0,
    rateLimit: 1,
    websocket: true,
    audience: 'appointments',
    forwardAuthorization: true,
    refreshCookie: true,
    preserveHost: true,
  }
  t.match(readOne(t, entry), entry)
})

t.test(
  'how lately and how well a caller must have proved who they are is said in any form that settings take',
  async (t) => {
    t.equal(readOne(t, {}).stepUp, undefined)
    const signedIn = { access: 'authenticated' }
    t.match(readOne(t, { ...signedIn, acr: 'aal2' }).stepUp?.required.body(), { acr: 'aal2', maxAge: undefined })
    for (const [maxAge, seconds] of [
      ['5m', 300],
      ['300', 300],
      [300, 300],
      ['300s', 300],
      ['1h', 3600],
      [1, 1],
      ['1000ms', 1],
    ])
      t.match(
        readOne(t, { ...signedIn, maxAge }).stepUp?.required.body(),
        { acr: undefined, maxAge: seconds },
        `${maxAge}`,
      )
    const file = write(
      t,
      'routes: [{ prefix: /a, upstreams: ["http://a"], access: authenticated, acr: aal1, maxAge: 5m }]',
    )
    t.match(readRoutes(file, {}, upstreams).get('/a')?.stepUp?.required.body(), { acr: 'aal1', maxAge: 300 })
  },
)

t.test('the file may be YAML, and an upstream may name variables', async (t) => {
  const file = write(t, 'routes:\n  - { prefix: /a/, upstreams: ["http://${HOST}:${PORT}"], access: optional } # why\n')
  const route = readRoutes(file, { HOST: 'auth', PORT: '5001' }, upstreams).get('/a')
  t.match(route, { prefix: '/a', upstreams: [{ origin: 'http://auth:5001' }], access: 'optional', audience: 'auth' })
})

t.test('the prefix can be replaced or left out on the way to the upstream', async (t) => {
  const { upstreamPath, strippedPrefix } = readOne(t, { rewrite: '/v2/' })
  t.strictSame([upstreamPath('/api/x'), strippedPrefix], ['/v2/x', undefined])
  for (const entry of [{ stripPrefix: true }, { rewrite: '/' }, { rewrite: '/', stripPrefix: false }])
    t.strictSame([readOne(t, entry).upstreamPath('/api/x'), readOne(t, entry).strippedPrefix], ['/x', '/api'])
  t.equal(readOne(t, { stripPrefix: false }).upstreamPath('/api/x'), '/api/x')
})

t.test('upstreams are picked round-robin', async (t) => {
  const { pick } = readOne(t, { upstreams: ['http://a:1', 'https://b', 'http://c:3/'] })
  t.strictSame(
    [pick(), pick(), pick(), pick()].map(({ origin }) => origin),
    ['http://a:1', 'https://b', 'http://c:3', 'http://a:1'],
  )
})

t.test('an invalid file is refused with what to fix', async (t) => {
  const refused: [name: string, content: unknown, message: RegExp][] = [
    ['broken YAML', 'routes: [', /cannot be read as YAML or JSON \(/],
    ['nothing', '', /the file must be object; see docs\/routes\.md/],
    ['no routes', '{}', /the file must have required property 'routes'/],
    ['another key', 'routes: []\nrules: []', /\/rules is not known/],
    ['routes that are no list', 'routes: {}', /\/routes must be array/],
    ['no prefix', [{ ...plain, prefix: undefined }], /\/routes\/0 must have required property 'prefix'/],
    ['no access', [{ ...plain, access: undefined }], /\/routes\/0 must have required property 'access'/],
    ['an access of its own', [{ ...plain, access: 'private' }], /\/routes\/0\/access must be/],
    ['no upstream', [{ ...plain, upstreams: [] }], /\/routes\/0\/upstreams must NOT have fewer than 1 items/],
    ['one upstream without a list', [{ ...plain, upstreams: 'http://a' }], /\/routes\/0\/upstreams must be array/],
    ['a misspelt setting', [plain, { ...plain, bodylimit: 1 }], /\/routes\/1\/bodylimit is not known/],
    ['a timeout of nothing', [{ ...plain, timeout: 0 }], /\/routes\/0\/timeout must be >= 1/],
    ['a text for a number', [{ ...plain, rateLimit: '5' }], /\/routes\/0\/rateLimit must be integer/],
    ['an empty audience', [{ ...plain, audience: '' }], /\/routes\/0\/audience must NOT have fewer than 1 characters/],
    ['a prefix twice', [plain, { ...plain, prefix: '/api/' }], /route \/api is there twice; keep one/],
    [
      'two prefixes for a server without case',
      [plain, { ...plain, prefix: '/Api' }],
      /routes \/api and \/Api are the same/,
    ],
    ...['api', '', '//', '/a//', '/a//b', '/a/../b', '/a;b', '/%61pi', '/a b', 'http://a/b'].map(
      (prefix): [string, unknown, RegExp] => [
        `the prefix "${prefix}"`,
        [{ ...plain, prefix }],
        /the prefix is not a plain absolute path/,
      ],
    ),
    [
      'a pattern',
      [{ ...plain, prefix: '/admin/*', access: 'authenticated', roles: ['admin'] }],
      /route \/admin\/\*: the prefix holds "\*", and is no pattern: .* holds .* everything below it; write \/admin$/,
    ],
    ['a prefix that is never reachable', [{ ...plain, prefix: '/Metrics' }], /the prefix is never reachable/],
    ['a pattern for the upstream', [{ ...plain, rewrite: '/$1/*' }], /route \/api: rewrite holds "\*"/],
    ['an internal path of the upstream', [{ ...plain, rewrite: '/internal' }], /rewrite is never reachable/],
    ['an upstream path that is none', [{ ...plain, rewrite: '' }], /rewrite is not a plain absolute path/],
    ['two words for it', [{ ...plain, rewrite: '/', stripPrefix: true }], /stripPrefix is the same as `rewrite: \/`/],
    [
      'the client’s Host for a certificate',
      [{ ...plain, upstreams: ['http://a', 'https://b'], preserveHost: true }],
      /route \/api: preserveHost is for upstreams over http;/,
    ],
    ...['public', 'optional'].map((access): [string, unknown, RegExp] => [
      `roles on a route that is ${access}`,
      [{ ...plain, access, roles: ['doctor'] }],
      /route \/api: roles need `access: authenticated`/,
    ]),
    ...['public', 'optional'].flatMap((access) =>
      [{ acr: 'aal1' }, { maxAge: '5m' }, { acr: 'aal2', maxAge: 300 }].map((rule): [string, unknown, RegExp] => [
        `${Object.keys(rule)} on a route that is ${access}`,
        [{ ...plain, access, ...rule }],
        /route \/api: acr and maxAge need `access: authenticated`/,
      ]),
    ),
    ...['aal0', 'aal3', 'AAL2', '', 2, null].map((acr): [string, unknown, RegExp] => [
      `the level ${acr}`,
      [{ ...plain, access: 'authenticated', acr }],
      /\/routes\/0\/acr must be equal to one of the allowed values; see docs\/routes\.md/,
    ]),
    ...['', 'soon', '5 x', '-5m', -1, 0, '0', '0s', '1500ms', '1ms', '9'.repeat(400), 2 ** 53].map(
      (maxAge): [string, unknown, RegExp] => [
        `the age ${maxAge}`,
        [{ ...plain, access: 'authenticated', maxAge }],
        /route \/api: maxAge ".*" is not a span of time of one second or more, like 5m or 300/,
      ],
    ),
    ...[1.5, null, ['5m'], { minutes: 5 }, true].map((maxAge): [string, unknown, RegExp] => [
      `an age that is ${JSON.stringify(maxAge)}`,
      [{ ...plain, access: 'authenticated', maxAge }],
      /\/routes\/0\/maxAge must be string,integer; see docs\/routes\.md/,
    ]),
    [
      'a role that no token can hold',
      [{ ...plain, access: 'authenticated', roles: ['doctor', 'Admin'] }],
      /route \/api: "Admin" cannot be a role; roles are lower-case words/,
    ],
    [
      'a variable that is not set',
      [{ ...plain, upstreams: ['${API_URL}'] }],
      /route \/api: the upstream names API_URL, which is not set; set it to an address like http:\/\/auth:5001/,
    ],
    ...[
      'api:5002',
      'ftp://api',
      'http://',
      'http://user:hush@api',
      'http://:hush@api',
      'http://api/v1',
      'http://api/?x',
      'http://api/#x',
      '$API_URL',
    ].map((upstream): [string, unknown, RegExp] => [
      `the upstream ${upstream}`,
      [{ ...plain, upstreams: [upstream] }],
      /route \/api: upstream ".*" is not an address like http:\/\/auth:5001/,
    ]),
  ]
  for (const [name, content, message] of refused) {
    const file = write(t, content)
    t.throws(() => readRoutes(file, {}, upstreams), { name: 'ConfigurationError', message }, name)
    t.throws(() => readRoutes(file, {}, upstreams), { message: new RegExp(`^${file}: `) }, 'the line names the file')
  }
  t.throws(() => readRoutes('/nowhere.yaml', {}, upstreams), { message: /^\/nowhere\.yaml: cannot be read .*ENOENT/ })
})

/** A table that is in use, with the lines it logged. */
function open(t: Test, content: unknown) {
  const file = write(t, content)
  const lines: string[] = []
  const logger = createLogger('test', 'info', { write: (line) => lines.push(line) })
  const table = openRouteTable(file, {}, upstreams, logger)
  t.teardown(() => table.close())
  return { file, table, lines }
}

async function eventually(what: string, check: () => boolean): Promise<void> {
  const deadline = Date.now() + 10_000
  while (!check()) {
    if (Date.now() > deadline) throw new Error(`not in time: ${what}`)
    await new Promise((resolve) => setTimeout(resolve, 20))
  }
}

t.test('the longest prefix decides, by whole segments', async (t) => {
  const { table } = open(
    t,
    ['/api', '/api/doctors', '/api/doctors/me', '/other'].map((prefix) => ({ ...plain, prefix })),
  )
  const matches: Record<string, string | undefined> = {
    '/api': '/api',
    '/api/': '/api',
    '/api/x': '/api',
    '/api/doctors': '/api/doctors',
    '/api/doctors/': '/api/doctors',
    '/api/doctors/1/2/3': '/api/doctors',
    '/api/doctors/me': '/api/doctors/me',
    '/api/doctors/meow': '/api/doctors',
    '/api/doctorsmith': '/api',
    '/API': undefined,
    '/apis': undefined,
    '/elsewhere': undefined,
    '/': undefined,
    [`/api/doctors/${'x'.repeat(5_000)}`]: '/api/doctors',
    [`/api${'/x'.repeat(100)}`]: '/api',
    [`/${'x'.repeat(5_000)}`]: undefined,
  }
  for (const [path, prefix] of Object.entries(matches)) t.equal(table.match(path)?.prefix, prefix, path)
})

t.test('the prefix / holds every path that no other one does', async (t) => {
  const { table } = open(t, [plain, { ...plain, prefix: '/' }])
  t.equal(table.match('/api/x')?.prefix, '/api')
  for (const path of ['/', '/apis', '/a/b/c']) t.equal(table.match(path)?.prefix, '/', path)
})

t.test('what is never reachable is not reachable by a rewritten path either', async (t) => {
  const { table } = open(t, [
    { ...plain, stripPrefix: true },
    { ...plain, prefix: '/', rewrite: '/v2' },
  ])
  for (const path of ['/api/users', '/api/metric', '/api/api/metrics', '/api', '/users']) t.ok(table.match(path), path)
  for (const path of ['/api/metrics', '/api/Internal/x', '/api/healthz./', '/api/readyz%20', '/metrics', '/metrics.'])
    t.equal(table.match(path), undefined, path)
})

t.test('a path that a less exact server takes for another route’s has none', async (t) => {
  const { table } = open(
    t,
    ['/', '/admin', '/Users', '/caf%C3%A9'].map((prefix) => ({ ...plain, prefix })),
  )
  const matches: Record<string, string | undefined> = {
    '/Open/X': '/',
    '/%41': '/',
    '/admin/X': '/admin',
    '/admin./x': undefined,
    '/admin%20': undefined,
    '/ADMIN': undefined,
    '/Admin/users': undefined,
    '/adm%C4%B1n': undefined,
    '/%EF%BD%81dmin': undefined,
    '/Users/1': '/Users',
    '/users/1': undefined,
    '/caf%C3%A9': '/caf%C3%A9',
    '/cafe%CC%81': undefined,
  }
  for (const [path, prefix] of Object.entries(matches)) t.equal(table.match(path)?.prefix, prefix, path)
})

t.test('the file is read again when it changes, and a bad one changes nothing', async (t) => {
  const { file, table, lines } = open(t, [plain])
  await eventually('the new table is in use', () => {
    // Again and again, since a watch that has only begun takes the first change for how the file was.
    writeFileSync(file, JSON.stringify({ routes: [{ ...plain, prefix: '/new' }] }))
    return table.match('/new') !== undefined
  })
  t.equal(table.match('/api'), undefined)
  t.match(lines.at(-1), /"routes_reloaded","routes":1/)
  rmSync(file)
  await eventually('the log says why', () => lines.some((line) => /"routes_refused".*ENOENT/.test(line)))
  t.equal(table.match('/new')?.prefix, '/new')
})

t.test('the file is read at once when that is asked for', async (t) => {
  const { file, table } = open(t, [plain])
  writeFileSync(file, JSON.stringify({ routes: [{ ...plain, prefix: '/asked' }] }))
  table.reload()
  t.equal(table.match('/asked')?.prefix, '/asked')
})
