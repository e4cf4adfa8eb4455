import { spawnSync } from 'node:child_process'
import { readFileSync } from 'node:fs'
import { fileURLToPath } from 'node:url'
import t, { type Test } from 'tap'
import { takeOutput } from './test-output.ts'

const root = fileURLToPath(new URL('../../', import.meta.url))

/** What the command does and says of these routes, or of a file by its text. */
async function check(
  t: Test,
  routes: object[] | string,
  words: string[] = [],
  environment: Record<string, string> = {},
) {
  const entries = Array.isArray(routes) ? routes.map((route) => ({ ...plain, ...route })) : []
  const text = Array.isArray(routes) ? JSON.stringify({ routes: entries }) : routes
  const file = `${t.testdir({ 'routes.yaml': text })}/routes.yaml`
  const [command] = words[0] === 'explain' ? words.splice(0, 1) : ['check']
  const taken = await takeOutput(['routes', command as string, file, ...words], environment)
  return { file, lines: taken.output.trimEnd().split('\n'), ...taken }
}

const plain = { access: 'public', upstreams: ['http://api:1'] }
const authenticated = { access: 'authenticated' }

t.test('a sound file is explained: who each route is for, and where it leads', async (t) => {
  const { code, file, output, errors } = await check(
    t,
    [
      { prefix: '/open', upstreams: ['${API_URL}', 'http://${HOST}:80'], rewrite: '/v1' },
      { prefix: '/feed', access: 'optional' },
      { prefix: '/bots', ...authenticated, callers: ['client'], scopes: ['a:read', 'a:write'] },
      { prefix: '/both', ...authenticated, callers: ['user', 'client'], roles: ['doctor', 'admin'] },
      { prefix: '/pay', ...authenticated, methods: ['POST'], hosts: ['a.test'], acr: 'aal2', maxAge: '5m' },
      { prefix: '/live', ...authenticated, websocket: true },
    ],
    [],
    { HOST: 'api' },
  )
  t.equal(code, 0)
  t.equal(errors, '')
  t.equal(
    output,
    `${file}: 6 routes, sound

route            for                                                 upstream
/open            everyone                                            \${API_URL}/v1, http://api/v1
/feed            everyone; with a token people                       http://api:1
/bots            service accounts, scopes a:read and a:write         http://api:1
/both            people and service accounts, roles doctor or admin  http://api:1
POST a.test/pay  people, acr aal2, maxAge 300 s                      http://api:1
/live            people                                              http://api:1

open to everyone:
  /open
open to everyone, and a token is looked at:
  /feed
for service accounts:
  /bots
  /both
takes WebSockets:
  /live
variables that a gateway needs, not set here:
  API_URL
`,
  )
})

t.test('an invalid file is refused with the line of what to fix', async (t) => {
  t.match((await check(t, [{ prefix: '/a' }])).output, ': 1 route, sound\n')
  const { code, output, errors, file } = await check(t, [{ prefix: '/a/*' }])
  t.equal(code, 1)
  t.equal(output, '')
  t.match(errors, `${file}: route /a/*: the prefix holds "*", and is no pattern`)
  t.match(await check(t, 'routes: ['), { code: 1, errors: /cannot be read as YAML or JSON/ })
  const json = await check(t, [{ prefix: '/a' }, { prefix: '/a/' }], ['--json'])
  t.equal(json.code, 1)
  t.strictSame(JSON.parse(json.output), { valid: false, fault: `${json.file}: route /a is there twice; keep one` })
})

t.test(
  'what takes tokens of several issuers is listed, with JWT_ISSUER of the environment as one of them',
  async (t) => {
    const issuer = (name: string) => ({ issuer: `https://${name}.test`, audience: 'api' })
    const routes = [
      { ...plain, ...authenticated, prefix: '/any' },
      { ...plain, ...authenticated, prefix: '/one', issuers: ['https://a.test'] },
      { ...plain, prefix: '/open' },
    ]
    const severalOf = async (names: string[], environment = {}) => {
      const file = JSON.stringify({ issuers: names.map(issuer), routes })
      return JSON.parse((await check(t, file, ['--json'], environment)).output).severalIssuers
    }
    t.strictSame(await severalOf(['a', 'b']), ['/any'])
    t.strictSame(await severalOf(['a']), [])
    t.strictSame(await severalOf(['a'], { JWT_ISSUER: 'https://own.test' }), ['/any'])
  },
)

t.test('a route that others leave nothing to is a warning, everywhere or on a host', async (t) => {
  const warnings = async (routes: object[]) => {
    const { code, output } = await check(t, routes, ['--json'])
    t.equal(code, 0, 'a file with warnings is sound')
    return JSON.parse(output).warnings
  }
  const read = ['GET', 'HEAD', 'OPTIONS']
  const write = ['POST', 'PUT', 'PATCH', 'DELETE']
  t.strictSame(
    await warnings([
      { prefix: '/a', methods: read },
      { prefix: '/a', methods: write },
      { prefix: '/a', ...authenticated },
      { prefix: '/b', methods: read },
      { prefix: '/b', ...authenticated },
    ]),
    ['no request reaches /a: GET,HEAD,OPTIONS /a, POST,PUT,PATCH,DELETE /a take all of its prefix'],
  )
  t.strictSame(
    await warnings([
      { prefix: '/admin', ...authenticated, roles: ['admin'] },
      { prefix: '/mine', ...authenticated },
      { prefix: '/open' },
      { prefix: '/', hosts: ['a.test'] },
      { prefix: '/', hosts: ['b.test'], ...authenticated },
      { prefix: '/', hosts: ['c.test'], ...authenticated, roles: ['admin'] },
      { prefix: '/admin', hosts: ['d.test'], ...authenticated, roles: ['admin'] },
      { prefix: '/', hosts: ['e.test'], methods: ['POST'] },
    ]),
    [
      'on a.test a.test/ takes the requests of /admin, and asks for less',
      'on b.test b.test/ takes the requests of /admin, and asks for less',
      'on e.test POST e.test/ takes the requests of /admin, and asks for less',
      'on a.test a.test/ takes the requests of /mine, and asks for less',
      'on e.test POST e.test/ takes the requests of /mine, and asks for less',
    ],
  )
  const { output } = await check(t, [
    { prefix: '/a', ...authenticated },
    { prefix: '/', hosts: ['x.test'] },
  ])
  t.match(output, /\nwarnings:\n {2}on x/)
})

t.test('a request is explained: its route, why that, and what the upstream gets; or why there is none', async (t) => {
  const routes = [
    { prefix: '/', access: 'optional', callers: ['user', 'client'] },
    { prefix: '/v1', hosts: ['api.test'], rewrite: '/', websocket: true },
    { prefix: '/v1/notes', hosts: ['api.test'], methods: ['GET'] },
    { prefix: '/v1/notes', hosts: ['api.test'], methods: ['POST'], ...authenticated },
    { prefix: '/files', methods: ['GET'] },
    { prefix: '/files', ...authenticated, upstreams: ['http://a:1', '${B_URL}'] },
  ]
  const ask = (...words: string[]) => check(t, routes, words)
  t.strictSame((await ask('--path', '/x?y=z')).lines, [
    'GET /x?y=z is for /',
    '  because it has the longest prefix that holds the path',
    '  for     everyone; with a token people and service accounts',
    '  sent to http://api:1/x?y=z',
  ])
  t.strictSame((await ask('--path', '/v1/%61', '--host', 'API.test.:443')).lines, [
    'GET API.test.:443 /v1/%61 is for api.test/v1',
    '  because of the routes of api.test it has the longest prefix that holds the path',
    '  for     everyone',
    '  sent to http://api:1/a',
    '  also as a WebSocket',
  ])
  t.match(
    (await ask('--path', '/v2', '--host', 'api.test')).output,
    /no route of api\.test holds the path; of the others it has the/,
  )
  t.match(
    (await ask('--path', '/v1/notes', '--host', 'api.test', '--method', 'POST')).output,
    /is for POST api\.test\/v1\/notes\n.* the longest prefix that holds the path, and takes the method\n/,
  )
  t.match((await ask('--path', '/files/1', '--method', 'PUT')).lines, [
    'PUT /files/1 is for /files',
    '  because it has the longest prefix that holds the path, and takes the other methods',
    '  for     people',
    '  sent to http://a:1/files/1, ${B_URL}/files/1',
  ])
  for (const [words, status, why] of [
    ['/a//b', '400 PATH_INVALID', 'can be read in more than one way'],
    ['x', '400 PATH_INVALID', 'can be read in more than one way'],
    [`/${'x'.repeat(9_000)}`, '414 PATH_TOO_LONG', 'more characters or segments'],
    ['/metrics', '404 NOT_FOUND', 'never reachable, whatever'],
    ['/Files', '404 NOT_FOUND', 'see a path of another route: /, GET /files, /files'],
    ['/v1/metrics --host api.test', '404 NOT_FOUND', 'api.test/v1 would turn it into a path that is never reachable'],
    ['/v1/notes --host api.test --method PUT', '405 METHOD_NOT_ALLOWED', '/notes take GET, HEAD, POST alone'],
    ['/x --method get', '405 METHOD_NOT_ALLOWED', 'the gateway takes GET, HEAD'],
  ] as const) {
    const { code, lines } = await ask('--path', ...words.split(' '))
    t.equal(code, 0, 'the file is sound')
    t.ok((lines[0] as string).endsWith(` is ${status}`), words)
    t.ok((lines[1] as string).includes(why), words)
  }
  t.match((await check(t, [{ prefix: '/a' }], ['--path', '/b'])).lines, [/404/, '  because no prefix holds the path'])
  const json = await ask('--path', '/files', '--json')
  t.match(JSON.parse(json.output), {
    valid: true,
    routes: [{ name: '/' }, { name: 'api.test/v1', hosts: ['api.test'], rewrite: '/' }],
    request: {
      path: '/files',
      method: 'GET',
      route: 'GET /files',
      upstreams: ['http://api:1/files'],
      websocket: false,
    },
  })
  t.match(JSON.parse((await ask('--path', '/metrics', '--json')).output).request, { status: 404, code: 'NOT_FOUND' })
})

t.test('a request is explained by a command of its own as well', async (t) => {
  t.strictSame((await check(t, [{ prefix: '/a' }], ['explain', '--path', '/a'])).lines, [
    'GET /a is for /a',
    '  because it has the longest prefix that holds the path',
    '  for     everyone',
    '  sent to http://api:1/a',
  ])
  t.match(await check(t, [{ prefix: '/a' }], ['explain']), {
    code: 1,
    errors:
      "sallyport: required option '--path <path>' not specified; usage: sallyport routes explain [options] <file>\n",
  })
})

t.test('what it cannot be asked is said in a line', async (t) => {
  for (const words of [['more'], ['--what'], ['--path'], ['--method', 'GET'], ['--host', 'a']])
    t.match(await check(t, [], words), { code: 1, errors: /^sallyport: [^\n]+\n$/, output: '' }, words.join(' '))
  t.match((await check(t, [], ['--host', 'a'])).errors, /^sallyport: --method and --host go with --path\n/)
  t.match(await check(t, [], ['--path', '/', '--host', 'https://a']), {
    code: 1,
    errors: /"https:\/\/a" is no host of a req/,
  })
  t.match(await takeOutput(['routes', 'check']), { code: 1, errors: /missing required argument 'file'/ })
})

t.test('the program, as it is installed and as docs/routes.md shows it', async (t) => {
  const start = (...words: string[]) =>
    spawnSync(process.execPath, ['cli/bin/sallyport.js', ...words], { cwd: root, env: {}, encoding: 'utf8' })
  t.match(start('routes', 'check', 'gateway/routes.yaml'), {
    status: 0,
    stdout: /^gateway\/routes\.yaml: \d+ routes, sound/,
  })
  t.match(start('routes', 'check', 'nowhere.yaml'), { status: 1, stderr: /^sallyport: nowhere\.yaml: cannot be read/ })
  for (const words of [[], ['routes'], ['routes', 'list'], ['keys', 'check']])
    t.match(
      start(...words),
      { status: 1, stderr: /^sallyport: .*usage: sallyport (routes |keys )?\[options\] \[command\]/ },
      words.join(' '),
    )

  const shown = /^```console\n\$ npm run --silent routes -- (check .*)\n([\s\S]*?)^```$/gm
  const examples = [...readFileSync(`${root}/docs/routes.md`, 'utf8').matchAll(shown)]
  t.ok(examples.length >= 3, 'the examples are found')
  for (const [, words = '', output = ''] of examples)
    t.equal(start('routes', ...words.split(' ')).stdout.trimEnd(), output.trimEnd(), words)
})
