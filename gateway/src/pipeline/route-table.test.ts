import { rmSync, writeFileSync } from 'node:fs'
import { join } from 'node:path'
import { createLogger } from '@sallyport/chassis'
import t, { type Test } from 'tap'
import { type Upstream, Upstreams } from '../proxy/upstreams.ts'
import { Issuers } from './issuers.ts'
import { type Route, readRouteFile } from './route-file.ts'
import { NoRoute } from './route-lookup.ts'
import { openRouteTable } from './route-table.ts'

const logger = createLogger('test', 'silent')
const upstreams = new Upstreams(logger)
t.teardown(() => upstreams.close())
const own = { issuer: 'https://issuer.test', audience: 'https://api.test', jwks: 'http://127.0.0.1:1/' }
const issuers = new Issuers({ own, keySetMaxAge: 300 }, logger)
t.teardown(() => issuers.close())
const parts = { upstreams, issuers, forwardAuth: false }

const plain = { prefix: '/api', upstreams: ['http://api:5002'], access: 'public' }

function write(t: Test, content: unknown): string {
  const text = typeof content === 'string' ? content : JSON.stringify({ routes: content })
  return join(t.testdir({ 'routes.yaml': text }), 'routes.yaml')
}

function readOne(t: Test, entry: object, environment: Record<string, string> = {}): Route {
  const [route] = readRouteFile(write(t, [{ ...plain, ...entry }]), environment, parts).lookup.routes
  return route as Route
}

t.test('what a route leaves out has a default', async (t) => {
  t.match(readOne(t, {}), {
    name: '/api',
    prefix: '/api',
    hosts: undefined,
    methods: undefined,
    responseHeaders: [],
    upstreams: [{ origin: 'http://api:5002' }],
    access: 'public',
    roles: undefined,
    callers: ['user'],
    scopes: undefined,
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
    callers: ['client', 'user'],
    scopes: ['appointments:read', 'urn:x/y'],
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
    t.match(readRouteFile(file, {}, parts).lookup.routes[0]?.stepUp?.required.body(), {
      acr: 'aal1',
      maxAge: 300,
    })
  },
)

t.test('hosts, methods and response headers are read as requests and responses have them', async (t) => {
  const entry = {
    prefix: '/api/',
    hosts: ['API.example.com', 'bücher.example'],
    methods: ['POST', 'GET'],
    responseHeaders: { 'Cache-Control': 'public, max-age=60', 'x-a': 'b' },
  }
  t.match(readOne(t, entry), {
    name: 'POST,GET api.example.com,xn--bcher-kva.example/api',
    prefix: '/api',
    hosts: ['api.example.com', 'xn--bcher-kva.example'],
    methods: ['POST', 'GET', 'HEAD'],
    responseHeaders: ['cache-control', 'public, max-age=60', 'x-a', 'b'],
  })
  t.match(readOne(t, { methods: ['HEAD', 'GET'] }), { name: 'HEAD,GET /api', methods: ['HEAD', 'GET'] })
  t.match(readOne(t, { hosts: ['api.test'] }), { name: 'api.test/api', methods: undefined })
})

t.test('variables that are not set can be noted in place of being refused', async (t) => {
  const upstreams = ['${A}', 'http://${B}:${PORT}']
  const file = write(t, [
    { ...plain, upstreams },
    { ...plain, prefix: '/b', upstreams: ['https://b'] },
  ])
  const unset = new Set<string>()
  const at = (origin: string) => ({ origin }) as Upstream
  const { routes } = readRouteFile(file, { PORT: '80' }, { ...parts, upstreams: { at } }, unset).lookup
  t.strictSame([...unset], ['A', 'B'])
  t.strictSame(
    routes.map(({ upstreams, audience }) => [upstreams.map(({ origin }) => origin), audience]),
    [
      [['${A}', 'http://${B}:80'], '${A}'],
      [['https://b'], 'b'],
    ],
  )
})

t.test('the file may be YAML, and an upstream may name variables', async (t) => {
  const file = write(t, 'routes:\n  - { prefix: /a/, upstreams: ["http://${HOST}:${PORT}"], access: optional } # why\n')
  const route = readRouteFile(file, { HOST: 'auth', PORT: '5001' }, parts).lookup.routes[0]
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
    ['another key', 'routes: []\nrules: []', /the file: rules is not known/],
    ['routes that are no list', 'routes: {}', /the file: routes must be array/],
    ['no prefix', [{ ...plain, prefix: undefined }], /: route 1 must have required property 'prefix'/],
    ['no access', [{ ...plain, access: undefined }], /: route 1 \(\/api\) must have required property 'access'/],
    ['an access of its own', [{ ...plain, access: 'private' }], /: route 1 \(\/api\): access must be/],
    ['no upstream', [{ ...plain, upstreams: [] }], /: route 1 \(\/api\): upstreams must NOT have fewer than 1 items/],
    [
      'one upstream without a list',
      [{ ...plain, upstreams: 'http://a' }],
      /: route 1 \(\/api\): upstreams must be array/,
    ],
    ['a misspelt setting', [plain, { ...plain, bodylimit: 1 }], /: route 2 \(\/api\): bodylimit is not known; see/],
    [
      'a misspelt setting that is missing, below one that is missing',
      [{ upstreams: ['http://a'] }, { prefix: '/b', acces: 'public' }],
      /: route 2 \(\/b\): acces is not known; see docs\/routes/,
    ],
    ['a route that is none', [null], /: route 1 must be object/],
    [
      'a misspelt key of an issuer',
      'issuers: [{ issuer: https://a.test, audience: a, claims: { role: x } }]\nroutes: []',
      /: issuer 1 \(https:\/\/a\.test\): claims\/role is not known; see docs\/issuers\.md for what an issuer/,
    ],
    ['a timeout of nothing', [{ ...plain, timeout: 0 }], /: route 1 \(\/api\): timeout must be >= 1/],
    ['a text for a number', [{ ...plain, rateLimit: '5' }], /: route 1 \(\/api\): rateLimit must be integer/],
    [
      'an empty audience',
      [{ ...plain, audience: '' }],
      /: route 1 \(\/api\): audience must NOT have fewer than 1 characters/,
    ],
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
    ['no host', [{ ...plain, hosts: [] }], /: route 1 \(\/api\): hosts must NOT have fewer than 1 items/],
    ['one host without a list', [{ ...plain, hosts: 'a.test' }], /: route 1 \(\/api\): hosts must be array/],
    [
      'a pattern for a host',
      [{ ...plain, hosts: ['a.test', '*.test'] }],
      /route a\.test,\*\.test\/api: the host "\*\.test" is a pattern, .*; name each host$/,
    ],
    ['a host twice', [{ ...plain, hosts: ['a.test', 'A.test.'] }], /the host a\.test is there twice; keep one$/],
    ...['get', 'TRACE', 'CONNECT', 'QUERY', '*', '', 1].map((method): [string, unknown, RegExp] => [
      `the method ${method}`,
      [{ ...plain, methods: ['GET', method] }],
      /: route 1 \(\/api\): methods\/1 must be equal to one of the allowed values; see docs/,
    ]),
    ['no method', [{ ...plain, methods: [] }], /: route 1 \(\/api\): methods must NOT have fewer than 1 items/],
    [
      'a method twice',
      [{ ...plain, methods: ['GET', 'GET'] }],
      /: route 1 \(\/api\): methods must NOT have duplicate items/,
    ],
    [
      'a WebSocket without a GET',
      [{ ...plain, methods: ['POST', 'HEAD'], websocket: true }],
      /route POST,HEAD \/api: a WebSocket begins with a GET; add it to `methods`/,
    ],
    ...[['x-a', 1], 'x-a', { 'x-a': null }, { 'x-a': 1 }].map((responseHeaders): [string, unknown, RegExp] => [
      `response headers that are ${JSON.stringify(responseHeaders)}`,
      [{ ...plain, responseHeaders }],
      /: route 1 \(\/api\): responseHeaders(\/x-a)? must be (object|string)/,
    ]),
    ...['', 'x a', 'x:', 'x\n', 'é', '(x)'].map((name): [string, unknown, RegExp] => [
      `the response header "${name}"`,
      [{ ...plain, responseHeaders: { [name]: 'a' } }],
      /route \/api: the response header ".*" has a character that no name may have/s,
    ]),
    ...['', ' ', ' a', 'a ', 'a\tb\t', 'a\nb', 'a\r\nset-cookie: b', 'a\0', 'a\x7f', 'é', '💥'].map(
      (value): [string, unknown, RegExp] => [
        `the value ${JSON.stringify(value)} of a response header`,
        [{ ...plain, responseHeaders: { 'x-a': value } }],
        /route \/api: the response header x-a needs a value of visible ASCII characters/,
      ],
    ),
    ...[
      ...['Connection', 'keep-alive', 'Transfer-Encoding', 'TE', 'trailer', 'upgrade', 'proxy-authenticate'],
      ...[
        'content-length',
        'Content-Encoding',
        'content-range',
        'content-type',
        'age',
        'Date',
        'etag',
        'last-modified',
      ],
      ...['Set-Cookie', 'Access-Control-Allow-Origin', 'access-control-x', 'X-Request-Id', 'retry-after'],
      ...['RateLimit', 'ratelimit-policy', 'X-RateLimit-Limit'],
    ].map((name): [string, unknown, RegExp] => [
      `the response header ${name}`,
      [{ ...plain, responseHeaders: { [name]: 'a' } }],
      new RegExp(`route /api: the response header ${name} is not for a route to say; leave it out`),
    ]),
    [
      'a response header twice',
      [{ ...plain, responseHeaders: { 'x-a': '1', 'X-A': '2' } }],
      /route \/api: the response header X-A is there twice; keep one/,
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
    ...[[], ['machine'], ['user', 'user'], 'client', null].map((callers): [string, unknown, RegExp] => [
      `callers that are ${JSON.stringify(callers)}`,
      [{ ...plain, access: 'authenticated', callers }],
      /: route 1 \(\/api\): callers.* must .*; see docs\/routes\.md/,
    ]),
    [
      'callers on a route that is public',
      [{ ...plain, access: 'public', callers: ['client'] }],
      /route \/api: callers need `access: authenticated` or `optional`/,
    ],
    ...['public', 'optional'].map((access): [string, unknown, RegExp] => [
      `scopes on a route that is ${access}`,
      [{ ...plain, access, scopes: ['read'] }],
      /route \/api: scopes need `access: authenticated`/,
    ]),
    ...['', 'a b', 'a"b', 'a\\b', 'ä', 'a'.repeat(65)].map((scope): [string, unknown, RegExp] => [
      `the scope ${scope}`,
      [{ ...plain, access: 'authenticated', scopes: ['read', scope] }],
      /route \/api: ".*" cannot be a scope; scopes are words without spaces or quotes/,
    ]),
    ...['aal0', 'aal3', 'AAL2', '', 2, null].map((acr): [string, unknown, RegExp] => [
      `the level ${acr}`,
      [{ ...plain, access: 'authenticated', acr }],
      /: route 1 \(\/api\): acr must be equal to one of the allowed values; see docs\/routes\.md/,
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
      /: route 1 \(\/api\): maxAge must be string,integer; see docs\/routes\.md/,
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
      'ftp://${API-URL}',
    ].map((upstream): [string, unknown, RegExp] => [
      `the upstream ${upstream}`,
      [{ ...plain, upstreams: [upstream] }],
      /route \/api: upstream ".*" is not an address like http:\/\/auth:5001/,
    ]),
  ]
  for (const [name, content, message] of refused) {
    const file = write(t, content)
    t.throws(() => readRouteFile(file, {}, parts), { name: 'ConfigurationError', message }, name)
    t.throws(() => readRouteFile(file, {}, parts), { message: new RegExp(`^${file}: `) }, 'the line names the file')
  }
  for (const upstream of ['http://user:hush@api', 'http://:hush@api', 'user:hush@api', 'ftp://u:a/hush@api'])
    t.throws(() => readRouteFile(write(t, [{ ...plain, upstreams: [upstream] }]), {}, parts), {
      message: /^(?!.*hush).*upstream ".*\.\.\.@api" is not/,
    })
  t.throws(() => readRouteFile('/nowhere.yaml', {}, parts), {
    message: /^\/nowhere\.yaml: cannot be read .*ENOENT/,
  })
})

t.test('each of several workers has its part of what a route may have of an upstream', async (t) => {
  const read = (entry: object) =>
    readRouteFile(write(t, [{ ...plain, ...entry }]), {}, { ...parts, workers: 3 }).lookup.routes[0]
  t.match(read({ connections: 7, queue: 2 }), { connections: 2, queue: 0 })
  t.match(read({}), { connections: undefined, queue: undefined })
  t.throws(() => read({ connections: 2 }), {
    message: /route \/api: connections is 2, less than GATEWAY_WORKERS \(3\), which share it/,
  })
})

t.test('a route needs no upstreams where other proxies forward, but says whom identities are for', async (t) => {
  const { upstreams: _, ...withoutUpstreams } = plain
  const read = (entry: object, forwardAuth: boolean) =>
    readRouteFile(write(t, [{ ...withoutUpstreams, ...entry }]), {}, { upstreams, issuers, forwardAuth }).lookup
      .routes[0]
  const signedIn = { access: 'authenticated' }
  t.match(read({ ...signedIn, audience: 'api' }, true), { upstreams: [], audience: 'api' })
  t.match(read({ access: 'public' }, true), { upstreams: [], audience: '' })
  t.throws(() => read(signedIn, true), { message: /route \/api: without upstreams it needs an audience/ })
  t.throws(() => read({ ...signedIn, audience: 'api' }, false), {
    message: /route \/api: there are no upstreams; only with FORWARD_AUTH_PORT a route needs none/,
  })
})

/** A table that is in use, with the lines it logged. */
function open(t: Test, content: unknown) {
  const file = write(t, content)
  const lines: string[] = []
  const logger = createLogger('test', 'info', { write: (line) => lines.push(line) })
  const table = openRouteTable(file, {}, parts, logger)
  t.teardown(() => table.close())
  /** The prefix of the route that takes a request; undefined if none does. */
  const match = (path: string) => {
    const found = table.match(path, 'GET', 'api.test')
    return found instanceof NoRoute ? undefined : found.prefix
  }
  return { file, table, lines, match }
}

async function eventually(what: string, check: () => boolean): Promise<void> {
  const deadline = Date.now() + 10_000
  while (!check()) {
    if (Date.now() > deadline) throw new Error(`not in time: ${what}`)
    await new Promise((resolve) => setTimeout(resolve, 20))
  }
}

t.test('the longest prefix decides, by whole segments', async (t) => {
  const { match } = open(
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
  for (const [path, prefix] of Object.entries(matches)) t.equal(match(path), prefix, path)
})

t.test('the prefix / holds every path that no other one does', async (t) => {
  const { match } = open(t, [plain, { ...plain, prefix: '/' }])
  t.equal(match('/api/x'), '/api')
  for (const path of ['/', '/apis', '/a/b/c']) t.equal(match(path), '/', path)
})

t.test('what is never reachable is not reachable by a rewritten path either', async (t) => {
  const { match } = open(t, [
    { ...plain, stripPrefix: true },
    { ...plain, prefix: '/', rewrite: '/v2' },
  ])
  for (const path of ['/api/users', '/api/metric', '/api/api/metrics', '/api', '/users']) t.ok(match(path), path)
  for (const path of ['/api/metrics', '/api/Internal/x', '/api/healthz./', '/api/readyz%20', '/metrics', '/metrics.'])
    t.equal(match(path), undefined, path)
})

t.test('a path that a less exact server takes for another route’s has none', async (t) => {
  const { match } = open(
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
  for (const [path, prefix] of Object.entries(matches)) t.equal(match(path), prefix, path)
})

t.test('the file is read again when it changes, and a bad one changes nothing', async (t) => {
  const { file, lines, match } = open(t, [plain])
  await eventually('the new table is in use', () => {
    // Again and again, since a watch that has only begun takes the first change for how the file was.
    writeFileSync(file, JSON.stringify({ routes: [{ ...plain, prefix: '/new' }] }))
    return match('/new') !== undefined
  })
  t.equal(match('/api'), undefined)
  t.match(lines.at(-1), /"routes_reloaded","routes":1/)
  rmSync(file)
  await eventually('the log says why', () => lines.some((line) => /"routes_refused".*ENOENT/.test(line)))
  t.equal(match('/new'), '/new')
})

t.test('the file is read at once when that is asked for', async (t) => {
  const { file, table, match } = open(t, [plain])
  writeFileSync(file, JSON.stringify({ routes: [{ ...plain, prefix: '/asked' }] }))
  table.reload()
  t.equal(match('/asked'), '/asked')
})
