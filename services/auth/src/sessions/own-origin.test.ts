import { createApplication, createLogger } from '@sallyport/chassis'
import t from 'tap'
import { requireOwnOrigin } from './own-origin.ts'

const gateway = '192.0.2.1'

/** The status of a request through a gateway, or from elsewhere. */
async function statusOf(
  headers: Record<string, string>,
  remoteAddress = gateway,
  write = (_line: string) => {},
): Promise<number> {
  const app = createApplication({
    logger: createLogger('auth', 'warn', { write }),
    isOutage: () => false,
    bodyLimit: 1024,
    production: false,
    trustedProxies: [gateway],
  } as unknown as Parameters<typeof createApplication>[0])
  app.post('/', { onRequest: requireOwnOrigin(['https://app.test']) }, async () => ({}))
  const { statusCode } = await app.inject({
    method: 'POST',
    url: '/',
    remoteAddress,
    headers: { host: 'auth:5001', ...headers },
  })
  await app.close()
  return statusCode
}

/** As the gateway says it. */
const seen = (protocol: string, host: string) => ({ 'x-forwarded-proto': protocol, 'x-forwarded-host': host })

t.test('a page of the origin that its request goes to may send it, whatever the name', async (t) => {
  for (const [origin, headers] of Object.entries({
    'http://box': seen('http', 'box'),
    'http://box:8080': seen('http', 'box:8080'),
    'http://box.local': seen('http', 'Box.local:80'),
    'https://app.example.com': seen('https', 'app.example.com:443'),
    'http://192.168.1.7:5000': seen('http', '192.168.1.7:5000'),
    'http://[fd00::7]:5000': seen('http', '[fd00::7]:5000'),
    'http://auth:5001': {},
  }))
    t.equal(await statusOf({ origin, ...headers }), 200, origin)
})

t.test('a page of another scheme, host or port may not', async (t) => {
  for (const [origin, headers] of [
    ['https://box', seen('http', 'box')],
    ['http://box', seen('https', 'box')],
    ['http://box:8080', seen('http', 'box')],
    ['http://box', seen('http', 'box:8080')],
    ['http://box:443', seen('https', 'box')],
    ['http://other', seen('http', 'box')],
    ['http://box.evil.test', seen('http', 'box')],
    ['http://auth:5001', seen('http', 'box')],
    ['null', seen('http', 'box')],
    ['null', seen('file', 'box')],
    ['file://', seen('file', '')],
    ['http://box', seen('http', 'box/')],
    ['http://box', seen('http', 'user@box')],
    ['http://box', seen('http', 'box?')],
    ['http://', seen('http', '')],
    ['http://b:99999', seen('http', 'b:99999')],
    ['', seen('http', 'box')],
  ] as const)
    t.equal(await statusOf({ origin, ...headers }), 403, `${origin} at ${JSON.stringify(headers)}`)
})

t.test('what a browser says of the site counts for more', async (t) => {
  const own = { origin: 'http://box', ...seen('http', 'box') }
  t.equal(await statusOf({ ...own, 'sec-fetch-site': 'same-origin' }), 200)
  for (const site of ['same-site', 'cross-site', 'none'])
    t.equal(await statusOf({ ...own, 'sec-fetch-site': site }), 403, site)
})

t.test('only a gateway that is trusted says what was called', async (t) => {
  const stranger = '203.0.113.9'
  t.equal(await statusOf({ origin: 'http://box', ...seen('http', 'box') }, stranger), 403)
  t.equal(await statusOf({ origin: 'http://auth:5001', ...seen('http', 'box') }, stranger), 403, 'nor is it our name')
  t.equal(await statusOf({ origin: 'https://auth:5001', 'x-forwarded-proto': 'https' }, stranger), 403)
})

t.test('listed origins may send requests, and so may callers that are no page', async (t) => {
  t.equal(await statusOf({ origin: 'https://app.test', ...seen('http', 'box') }), 200)
  t.equal(await statusOf({ ...seen('http', 'box') }), 200)
})

t.test('the log names the origin of the page, and what helps', async (t) => {
  const lines: string[] = []
  const refused = async (headers: Record<string, string>) => {
    lines.length = 0
    t.equal(await statusOf({ ...headers, ...seen('http', 'box') }, gateway, (line) => lines.push(line)), 403)
    return lines.filter((line) => line.includes('origin_refused')).map((line) => JSON.parse(line))
  }
  t.match(await refused({ origin: 'http://unlisted.test' }), [
    { origin: 'http://unlisted.test', msg: /add its origin to CORS_ORIGINS/ },
  ])
  t.match(await refused({ origin: 'https://elsewhere.test', 'sec-fetch-site': 'cross-site' }), [
    { origin: 'https://elsewhere.test', msg: /serve it from the site of the gateway/ },
  ])
  t.strictSame(await refused({ 'sec-fetch-site': 'cross-site' }), [], 'without one there is nothing to name')
})
