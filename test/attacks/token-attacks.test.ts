import t from 'tap'
import { each, exchange, openGateway, Upstream } from '../support/edge.ts'
import {
  expiredTokens,
  forgedTokens,
  good,
  issuer,
  now,
  oddTokens,
  stranger,
  withClaims,
  withHeader,
} from '../support/forged-tokens.ts'

t.test('no forged, altered or foreign token is an access token', async (t) => {
  const api = await new Upstream().serve(t)
  const { port, identityKey } = await openGateway(
    t,
    [
      { prefix: '/closed', upstreams: [api.url], access: 'authenticated' },
      { prefix: '/maybe', upstreams: [api.url], access: 'optional' },
      { prefix: '/open', upstreams: [api.url], access: 'public' },
    ],
    { LOG_LEVEL: 'warn' },
    issuer,
  )
  let count = 0
  async function ask(lines: string[], path = '/closed', query = '') {
    const target = `${path}/${count++}${query}`
    const head = [`GET ${target} HTTP/1.1`, 'Host: gateway', ...lines, 'Connection: close']
    const response = await exchange(port, Buffer.from(`${head.join('\r\n')}\r\n\r\n`, 'latin1'))
    return {
      status: Number(/^HTTP\/1\.1 (\d{3})/.exec(response)?.[1]),
      code: /"code":"(\w+)"/.exec(response)?.[1],
      challenge: /\r\nwww-authenticate: ([^\r]*)/.exec(response)?.[1],
      reached: api.of(target),
    }
  }
  const refused = { status: 401, code: 'TOKEN_INVALID', challenge: 'Bearer error="invalid_token"', reached: [] }
  const bearer = (token: string) => `Authorization: Bearer ${token}`

  t.match(await ask([bearer(good)]), { status: 200, reached: [{}] }, 'what is altered below is good')

  const all = forgedTokens(identityKey)
  t.ok(all.length >= 150, `${all.length} attacks`)
  await each(all, async ({ how, what, token }) => {
    // What cannot be a header line at all never becomes a request.
    const expected = /[\0\r\n]/.test(token) ? { status: 400, reached: [] } : refused
    const found = await ask([bearer(token)])
    if (found.status !== 401 || found.code !== 'TOKEN_INVALID' || found.reached.length > 0)
      t.match(found, expected, `${how}: ${what}`)
  })
  t.match(await ask([bearer(good)], '/maybe'), { status: 200 }, 'and afterwards it still is')

  await t.test('where a token is optional, a bad one is no better than on other routes', async (t) => {
    for (const token of ['', 'x', withHeader({ alg: 'none' }), withClaims({}, stranger)])
      t.match(await ask([bearer(token)], '/maybe'), refused)
  })

  await t.test('an expired one is reported as such, to the second', async (t) => {
    const ended = { ...refused, code: 'TOKEN_EXPIRED' }
    for (const [what, token] of expiredTokens()) t.match(await ask([bearer(token)]), ended, what)
    t.match(await ask([bearer(withClaims({ exp: now() - 1 }, stranger))]), refused, 'but not of one we did not sign')
  })

  await t.test('odd but valid ones are accepted, and grant no more than others', async (t) => {
    for (const [what, token] of oddTokens) {
      const { status, reached } = await ask([bearer(token)])
      t.equal(status, 200, what)
      t.match(reached[0]?.headers, { 'x-user-id': 'user-1', 'x-user-roles': 'admin' }, what)
    }
  })

  await t.test('two tokens, or one in the wrong place, are refused', async (t) => {
    const protocol = `Sec-WebSocket-Protocol: sallyport.bearer.${good}`
    const wrong: Record<string, string[]> = {
      'two headers': [bearer(good), bearer(good)],
      'two headers, one of them bad': [bearer(good), bearer('x')],
      'two headers in two spellings': [bearer(good), `AUTHORIZATION: bearer ${good}`],
      'one empty': ['Authorization:', bearer(good)],
      'joined by a comma': [`${bearer(good)}, Bearer ${good}`],
      'two schemes': [bearer(good), 'Authorization: Basic dTpw'],
      'a header and a subprotocol': [bearer(good), protocol],
      'a subprotocol of what is no upgrade': [protocol],
      'two subprotocols': [`${protocol}, sallyport.bearer.${good}`],
      'two lines of subprotocols': [protocol, protocol],
      'another scheme': [`Authorization: Basic ${good}`],
      'no scheme': [`Authorization: ${good}`],
      'a scheme alone': ['Authorization: Bearer'],
      'a tab': [`Authorization: Bearer\t${good}`],
      'a scheme that begins alike': [`Authorization: BearerX ${good}`],
      DPoP: [`Authorization: DPoP ${good}`],
    }
    for (const [what, lines] of Object.entries(wrong))
      for (const path of ['/closed', '/maybe']) t.match(await ask(lines, path), refused, `${what} at ${path}`)
  })

  await t.test('a token in the URL is refused, with another and without', async (t) => {
    const names = [
      'access_token',
      'ACCESS_TOKEN',
      'Access_Token',
      'access%5Ftoken',
      'access%5ftoken',
      '%61ccess_token',
      '%61%63%63%65%73%73%5f%74%6f%6b%65%6e',
      '%2561ccess_token',
      'access%255ftoken',
      'access_token[]',
      'access_token%5B%5D',
      'access_token[0]',
      'access.token',
      'access-token',
      'access+token',
      'access%20token',
      '+access_token',
      '%20access_token',
      'access_token%00',
    ]
    for (const name of names)
      for (const query of [`?${name}=${good}`, `?a=b&${name}=x`, `?a;${name}=x`, `??${name}=x`, `?${name}`])
        for (const lines of [[], [bearer(good)]])
          t.match(await ask(lines, lines.length > 0 ? '/closed' : '/maybe', query), refused, `${query.slice(0, 60)}`)
    for (const query of [
      '?token=x',
      '?q=access_token',
      '?page_token=a%20b',
      '?my_access_token=x',
      '?access_tokens=x',
      '?%zz',
    ])
      t.match(await ask([bearer(good)], '/closed', query), { status: 200, reached: [{}] }, query)
    t.match(await ask([], '/open', '?access_token=x'), { status: 200 }, 'a public route looks at no token')
  })
})
