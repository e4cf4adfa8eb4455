import { createLogger } from '@sallyport/chassis'
import fc from 'fast-check'
import t, { type Test } from 'tap'
import { Upstreams } from '../proxy/upstreams.ts'
import { Issuers } from './issuers.ts'
import { methods } from './methods.ts'
import { fold, isInternal, normalise } from './path.ts'
import { type Route, readRouteFile } from './route-file.ts'
import { createRouteLookup, NoRoute } from './route-lookup.ts'

const logger = createLogger('test', 'silent')
const upstreams = new Upstreams(logger)
const issuers = new Issuers({ own: undefined, keySetMaxAge: 300 }, logger)
t.teardown(() => upstreams.close())

interface Entry {
  prefix: string
  hosts?: string[]
  methods?: string[]
  rewrite?: string
}

/** Routes as a file makes them. */
function read(t: Test, entries: Entry[]) {
  const routes = entries.map((entry) => ({ access: 'public', upstreams: ['http://api:1'], ...entry }))
  const folder = t.testdir({ 'routes.json': JSON.stringify({ routes }) })
  return readRouteFile(`${folder}/routes.json`, {}, { upstreams, issuers, forwardAuth: false }).lookup
}

function open(t: Test, entries: Entry[]) {
  const { match } = read(t, entries)
  /** The name of the route that takes a request; the reason why none does, with what it allows. */
  return (request: string): string => {
    const [method = '', host = '', path = ''] = request.split(' ')
    const found = match(path, method, host)
    if (!(found instanceof NoRoute)) return found.name
    return [found.reason, ...found.allowed].join(' ')
  }
}

t.test(
  'the routes of the host of a request are looked at first, and the others where none of them holds the path',
  async (t) => {
    const match = open(t, [
      { prefix: '/' },
      { prefix: '/v1/users' },
      { prefix: '/v1', hosts: ['api.test', 'api.example'] },
      { prefix: '/v1/orders', hosts: ['API.test.'] },
      { prefix: '/', hosts: ['admin.test'] },
    ])
    for (const [request, route] of Object.entries({
      'GET api.test /v1/orders/1': 'api.test/v1/orders',
      'GET api.example /v1/orders/1': 'api.test,api.example/v1',
      'GET API.Test.:443 /v1/orders/1': 'api.test/v1/orders',
      'GET api.test /v1/users': 'api.test,api.example/v1',
      'GET www.test /v1/users': '/v1/users',
      'GET www.test /v1/orders': '/',
      'GET api.test /v2': '/',
      'GET [::1]:80 /v1/users/1': '/v1/users',
      'GET admin.test /v1/users': 'admin.test/',
      'GET api.test.evil.test /v1': '/',
    }))
      t.equal(match(request), route, request)
  },
)

t.test('what a less exact server takes for a path of the host’s is no path of another host’s routes', async (t) => {
  const match = open(t, [
    { prefix: '/' },
    { prefix: '/admin', hosts: ['api.test'] },
    { prefix: '/Users', hosts: ['api.test'] },
    { prefix: '/users' },
  ])
  for (const [request, route] of Object.entries({
    'GET api.test /admin/x': 'api.test/admin',
    'GET api.test /Admin/x': 'ambiguous',
    'GET api.test /admin./x': 'ambiguous',
    'GET www.test /Admin/x': '/',
    'GET api.test /Users': 'api.test/Users',
    'GET api.test /users': 'ambiguous',
    'GET www.test /users': '/users',
    'GET www.test /Users': 'ambiguous',
    'GET api.test /Metrics': 'internal',
    'GET api.test /open': '/',
  }))
    t.equal(match(request), route, request)
})

t.test('the method chooses among the routes of one prefix, and never a shorter one', async (t) => {
  const match = open(t, [
    { prefix: '/' },
    { prefix: '/notes', methods: ['GET'] },
    { prefix: '/notes', methods: ['POST', 'PUT'], hosts: ['api.test'] },
    { prefix: '/notes', methods: ['PATCH'] },
    { prefix: '/files', methods: ['GET', 'HEAD'] },
    { prefix: '/files' },
    { prefix: '/probe', methods: ['HEAD'] },
    { prefix: '/moved', methods: ['GET'], rewrite: '/' },
  ])
  for (const [request, route] of Object.entries({
    'GET www.test /notes/1': 'GET /notes',
    'HEAD www.test /notes/1': 'GET /notes',
    'PATCH www.test /notes/1': 'PATCH /notes',
    'POST www.test /notes/1': 'method GET HEAD PATCH',
    'DELETE www.test /notes': 'method GET HEAD PATCH',
    'POST api.test /notes': 'POST,PUT api.test/notes',
    'GET api.test /notes': 'method POST PUT',
    'GET www.test /files': 'GET,HEAD /files',
    'HEAD www.test /files': 'GET,HEAD /files',
    'OPTIONS www.test /files': '/files',
    'HEAD www.test /probe': 'HEAD /probe',
    'GET www.test /probe': 'method HEAD',
    'GET www.test /moved/metrics': 'rewritten',
    'POST www.test /moved/metrics': 'method GET HEAD',
  }))
    t.equal(match(request), route, request)
})

t.test('why there is no route is said with the routes that it is about', async (t) => {
  const { match, routes } = read(t, [
    { prefix: '/a' },
    { prefix: '/a/b' },
    { prefix: '/c', methods: ['GET'] },
    { prefix: '/d', rewrite: '/' },
  ])
  const [a, b, c, d] = routes as [Route, Route, Route, Route]
  const about = (path: string) => (match(path, 'POST', '') as NoRoute).routes
  t.strictSame(about('/x'), [])
  t.strictSame(about('/metrics'), [])
  t.strictSame(about('/a/B'), [a, b])
  t.strictSame(about('/A'), [a])
  t.strictSame(about('/c'), [c])
  t.strictSame(about('/d/metrics'), [d])
})

t.test('routes that would take the same requests are refused, and the others are not', async (t) => {
  const refused: [RegExp, ...Entry[]][] = [
    [/: route \/a is there twice; keep one$/, { prefix: '/a' }, { prefix: '/a/' }],
    [/: route x\.test\/a is there twice/, { prefix: '/a', hosts: ['x.test'] }, { prefix: '/a', hosts: ['X.test.'] }],
    [
      /: routes x\.test,y\.test\/a and y\.test\/a both take every method that no other one names; leave it to one/,
      { prefix: '/a', hosts: ['x.test', 'y.test'] },
      { prefix: '/a', hosts: ['y.test'] },
    ],
    [
      /: routes GET,POST \/a and PUT,POST \/a both take POST; leave it to one of them$/,
      { prefix: '/a', methods: ['GET', 'POST'] },
      { prefix: '/a', methods: ['PUT', 'POST'] },
    ],
    [
      /: routes GET \/a and HEAD \/a both take HEAD, which goes with GET;/,
      { prefix: '/a', methods: ['GET'] },
      { prefix: '/a', methods: ['HEAD'] },
    ],
    [
      /: routes GET \/a and POST \/A are the same to some servers; keep one$/,
      { prefix: '/a', methods: ['GET'] },
      { prefix: '/A', methods: ['POST'] },
    ],
  ]
  for (const [message, ...entries] of refused) t.throws(() => read(t, entries), { message }, String(message))
  const sound: Entry[] = [
    { prefix: '/a' },
    { prefix: '/a', methods: ['GET'] },
    { prefix: '/a', methods: ['POST', 'DELETE'] },
    { prefix: '/a', hosts: ['x.test'] },
    { prefix: '/A', hosts: ['y.test'] },
    { prefix: '/A', hosts: ['y.test', 'z.test'], methods: ['GET'] },
  ]
  t.equal(read(t, sound).routes.length, sound.length)
})

/** What docs/routes.md says, word by word, of a request with a plain host. */
function choose(routes: readonly Route[], path: string, method: string, host: string): Route | undefined {
  if (isInternal(fold(path))) return undefined
  const holds = (prefix: string, path: string) => prefix === '/' || path === prefix || path.startsWith(`${prefix}/`)
  const longest = (prefixes: string[]) => prefixes.sort((a, b) => b.length - a.length)[0]
  for (const some of [routes.filter(({ hosts }) => hosts?.includes(host)), routes.filter(({ hosts }) => !hosts)]) {
    const exact = longest(some.map(({ prefix }) => prefix).filter((prefix) => holds(prefix, path)))
    const folded = longest(some.map(({ prefix }) => fold(prefix)).filter((prefix) => holds(prefix, fold(path))))
    if (exact === undefined && folded === undefined) continue
    if (exact === undefined || fold(exact) !== folded) return undefined
    const same = some.filter(({ prefix }) => prefix === exact)
    const route = same.find((route) => route.methods?.includes(method as never)) ?? same.find((route) => !route.methods)
    return route && !isInternal(fold(route.upstreamPath(path))) ? route : undefined
  }
  return undefined
}

const names = fc.constantFrom('a', 'A', 'b', 'metrics', 'a.', '%C3%A9', '%C3%89', 'internal')
const paths = fc
  .array(names, { maxLength: 3 })
  .map((segments) => `/${segments.join('/')}`)
  .filter((path) => normalise(path)?.path === path)
const hosts = ['x.test', 'y.test', 'z.test']
const entries = fc.array(
  fc.record(
    {
      prefix: paths.filter((path) => !isInternal(fold(path))),
      hosts: fc.uniqueArray(fc.constantFrom(...hosts.slice(0, 2)), { minLength: 1 }),
      methods: fc.uniqueArray(fc.constantFrom(...methods), { minLength: 1, maxLength: 3 }),
      rewrite: fc.constantFrom('/', '/b'),
    },
    { requiredKeys: ['prefix'] },
  ),
  { maxLength: 8 },
)
const requests = fc.array(fc.tuple(paths, fc.constantFrom(...methods), fc.constantFrom(...hosts)), { minLength: 20 })

t.test(
  'no request reaches a route that a plain reading would not choose, in whichever order the file has them',
  async (t) => {
    const refuse = (why: string) => new Error(why)
    let matched = 0
    fc.assert(
      fc.property(entries, requests, fc.infiniteStream(fc.nat()), (written, sent, numbers) => {
        // Entries are left out that would take the requests of another one.
        let routes: readonly Route[] = []
        for (const { routes: one } of written.map((entry) => read(t, [entry as Entry]))) {
          try {
            routes = createRouteLookup([...routes, ...one], refuse).routes
          } catch {
            const backwards = [...one, ...routes]
            t.throws(() => createRouteLookup(backwards, refuse), 'the order decides nothing here either')
          }
        }
        const order = [...routes].map((route) => ({ route, at: numbers.next().value as number }))
        const shuffled = order.sort((a, b) => a.at - b.at).map(({ route }) => route)
        const lookups = [createRouteLookup(routes, refuse), createRouteLookup(shuffled, refuse)]
        for (const [path, method, host] of sent) {
          const expected = choose(routes, path, method, host)
          if (expected) matched += 1
          for (const { match } of lookups) {
            const found = match(path, method, host)
            if ((found instanceof NoRoute ? undefined : found) !== expected) return false
          }
        }
        return true
      }),
      { numRuns: 300 },
    )
    t.ok(matched > 500, `${matched} requests had a route`)
  },
)
