import t from 'tap'
import { each, exchange, openGateway, Upstream } from '../support/edge.ts'
import { decodeOnce, guarded, pathTricks, readLeniently } from '../support/path-tricks.ts'

t.test('no way to write a path leads past the rule for it', async (t) => {
  const api = await new Upstream().serve(t)
  const { port, issuer } = await openGateway(
    t,
    [
      { prefix: '/', upstreams: [api.url], access: 'public' },
      { prefix: '/open', upstreams: [api.url], access: 'public' },
      { prefix: '/signed-in', upstreams: [api.url], access: 'authenticated' },
      { prefix: '/admin', upstreams: [api.url], access: 'authenticated', roles: ['admin'] },
    ],
    { LOG_LEVEL: 'warn' },
  )
  const doctor = issuer.token()
  const admin = issuer.token({ role: 'admin', roles: ['admin'] })

  /** The status, and the targets that the upstream received. */
  let count = 0
  async function ask(target: string, token: string | undefined, method = 'GET') {
    const id = `case-${count++}`
    const lines = [
      `${method} ${target} HTTP/1.1`,
      'Host: gateway',
      `X-Case: ${id}`,
      ...(token ? [`Authorization: Bearer ${token}`] : []),
      'Connection: close',
    ]
    const response = await exchange(port, Buffer.from(`${lines.join('\r\n')}\r\n\r\n`, 'latin1'))
    return {
      status: Number(/^HTTP\/1\.1 (\d{3})/.exec(response)?.[1]),
      seen: api.requests.filter(({ headers }) => headers['x-case'] === id).map(({ url }) => url),
    }
  }

  const all = Object.entries(pathTricks).flatMap(([how, targets]) => targets.map((target) => ({ how, target })))
  t.ok(all.length >= 80, `${all.length} tricks`)
  let arrived = 0
  await each(all, async ({ how, target }) => {
    for (const [who, token] of Object.entries({ nobody: undefined, 'a doctor': doctor, 'an admin': admin })) {
      const { status, seen } = await ask(target, token)
      const what = `${how}: ${JSON.stringify(target.slice(0, 80))} by ${who}: ${status} ${seen.join(' ').slice(0, 80)}`
      if (seen.length > 1) t.fail(`more than one request: ${what}`)
      if (seen.length === 0) {
        if (!(status >= 400 && status < 500)) t.fail(`neither refused nor sent on: ${what}`)
        continue
      }
      arrived += 1
      const [found = ''] = seen
      const read = readLeniently(found)
      if (read === readLeniently('/admin') || read.startsWith('/admin/')) {
        if (who !== 'an admin' || !/^\/admin(\/|\?|$)/.test(found)) t.fail(`past the rule: ${what}`)
      } else if (guarded.test(read)) t.fail(`past the rule: ${what}`)
      const [path = ''] = found.split('?', 1)
      // Spaces around a target belong to the line, not to the target.
      if (path !== decodeOnce(target.trim().split('?', 1)[0] as string))
        t.fail(`not the path that was matched: ${what}`)
    }
  })
  t.ok(arrived > 20, `${arrived} arrived, each as what was matched`)

  await t.test('whatever the method', async (t) => {
    for (const method of ['HEAD', 'POST', 'PUT', 'PATCH', 'DELETE', 'OPTIONS']) {
      const { status, seen } = await ask('/admin/users', doctor, method)
      t.match({ status, seen }, { status: 403, seen: [] }, method)
      t.strictSame((await ask('/open/../admin', doctor, method)).seen, [], method)
    }
    for (const method of ['TRACE', 'CONNECT', 'PROPFIND', 'get', 'G\tET', 'PRI', 'QUERY', ''])
      for (const target of ['/admin', '/open', '*', 'gateway:80'])
        t.strictSame((await ask(target, admin, method)).seen, [], `${method} ${target}`)
  })

  await t.test('a header that CGI takes for a setting goes no further', async (t) => {
    for (const name of ['Proxy', 'proxy', 'PROXY']) {
      const path = `/open/with-${name}-${name.length}`
      await exchange(port, `GET ${path} HTTP/1.1\r\nHost: g\r\n${name}: http://evil.test\r\nConnection: close\r\n\r\n`)
      t.notOk(api.of(path)[0]?.rawHeaders.includes('http://evil.test'), name)
      t.equal(api.of(path).length, 1)
    }
  })

  await t.test('other headers that name a path change nothing', async (t) => {
    for (const name of [
      'X-Original-URL',
      'X_Original_URL',
      'X-Rewrite-URL',
      'X-Original-URI',
      'X-Forwarded-Prefix',
      'X-Forwarded-Uri',
      'X.Forwarded.Path',
    ]) {
      const response = await exchange(
        port,
        `GET /open/by-${name} HTTP/1.1\r\nHost: g\r\n${name}: /admin\r\nConnection: close\r\n\r\n`,
      )
      t.match(response, /^HTTP\/1\.1 200/)
      t.notOk(api.of(`/open/by-${name}`)[0]?.rawHeaders.includes('/admin'), name)
    }
  })
})
