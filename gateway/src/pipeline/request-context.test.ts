import proxyAddress from '@fastify/proxy-addr'
import fc from 'fast-check'
import t from 'tap'
import { addressOf } from './address.ts'
import { sourceOf } from './request-context.ts'

const trustAll = () => true
const compiled = proxyAddress.compile(['127.0.0.1', '10.0.0.0/8', '::1'])
const isTrusted = (address: string) => compiled(address, 0)

function from(peer: string | undefined, headers: Record<string, string>, trust = isTrusted) {
  return sourceOf(peer, (name) => ({ host: 'g', ...headers })[name], trust)
}
const clientOf = (list: string, trust = isTrusted) => from('127.0.0.1', { 'x-forwarded-for': list }, trust).ip

/** What a proxy may write of an address (RFC 7239 section 6), and the address. */
const forms: Record<string, string> = {
  '203.0.113.8': '203.0.113.8',
  ' 203.0.113.8\t': '203.0.113.8',
  '203.0.113.8:40001': '203.0.113.8',
  '203.0.113.8:_port': '203.0.113.8',
  '"203.0.113.8:40001"': '203.0.113.8',
  '2001:db8::1': '2001:db8::1',
  '2001:DB8:0:0::1': '2001:db8::1',
  '[2001:db8::1]': '2001:db8::1',
  '[2001:db8::1]:40001': '2001:db8::1',
  '"[2001:db8::1]"': '2001:db8::1',
  '"[2001:db8::1]:40001"': '2001:db8::1',
  '"[2001:db8::1]:_x.y-z"': '2001:db8::1',
  'fe80::1%eth0': 'fe80::1',
  '[fe80::1%25eth0]:1': 'fe80::1',
  '::ffff:203.0.113.8': '203.0.113.8',
  '::FFFF:203.0.113.8': '203.0.113.8',
  '::ffff:cb00:7108': '203.0.113.8',
  '[0:0:0:0:0:ffff:203.0.113.8]:80': '203.0.113.8',
}

t.test('a forwarded value is reduced to the address in it', async (t) => {
  for (const [written, address] of Object.entries(forms)) {
    t.equal(clientOf(written), address, written)
    t.equal(clientOf(`192.0.2.1, ${written}, 10.0.0.9:80`), address, 'also behind another proxy')
  }
})

t.test('where a proxy names no address, the request is its own', async (t) => {
  for (const written of [
    ...['unknown', '_hidden', 'unix:', 'localhost', '', ' ', '""', '"', '203.0.113', '203.0.113.256', '203.0.113.08'],
    ...['203.0.113.8:', '203.0.113.8:port', '203.0.113.8:123456', '203.0.113.8 203.0.113.9', '203.0.113.8%eth0'],
    ...['[203.0.113.8]', '[::1', '::1]', '[::1]80', '2001:db8::1:::', '2001:db8:::40001', '[]', 'for=203.0.113.8'],
    ...['203.0.113.8\u0000', `${'0'.repeat(200)}`, `fe80::1%${'x'.repeat(200)}`],
  ]) {
    t.equal(clientOf(written), '127.0.0.1', JSON.stringify(written))
    t.equal(clientOf(`203.0.113.8,${written}`), '127.0.0.1', 'whatever stands before it, the client may have written')
    t.equal(clientOf(`${written},10.0.0.9`), '10.0.0.9', written)
  }
})

t.test('who is not trusted says nothing of where a request came from', async (t) => {
  const headers = { 'x-forwarded-for': '203.0.113.8', 'x-forwarded-host': 'h', 'x-forwarded-proto': 'https' }
  t.strictSame(from('192.0.2.1', headers), { ip: '192.0.2.1', way: ['192.0.2.1'], host: 'g', protocol: 'http' })
  t.equal(clientOf('198.51.100.1, 203.0.113.8'), '203.0.113.8', 'nor does the client of a trusted one')
  t.equal(sourceOf('192.0.2.1', () => undefined, isTrusted).host, '', 'a request without a host is refused elsewhere')
  t.strictSame(from(undefined, headers), { ip: '', way: [''], host: 'g', protocol: 'http' }, 'nor one that is gone')
})

t.test('a peer is one client, by whichever kind of socket it came', async (t) => {
  t.equal(from('::ffff:192.0.2.1', {}).ip, '192.0.2.1')
  t.equal(from('::ffff:127.0.0.1', { 'x-forwarded-for': '203.0.113.8' }).ip, '203.0.113.8')
})

t.test('proxies are followed up to a number of them', async (t) => {
  const { way } = from('127.0.0.1', { 'x-forwarded-for': `${'10.0.0.1,'.repeat(5_000)}10.0.0.2` })
  t.equal(way.length, 33)
  t.strictSame(way.slice(-3), ['10.0.0.1', '10.0.0.2', '127.0.0.1'])
})

t.test('the host is what the nearest proxy names, and a protocol that is none is not passed on', async (t) => {
  const hosts = {
    'api.example.com': 'api.example.com',
    'a:1, b:2': 'b:2',
    'a b': 'a b',
    'a:': 'a:',
    ',': 'g',
    '': 'g',
  }
  for (const [said, host] of Object.entries(hosts)) t.equal(from('::1', { 'x-forwarded-host': said }).host, host, said)
  const protocols = { https: 'https', 'http, HTTPS': 'https', 'https,http': 'http', wss: 'http', 'https\u0000': 'http' }
  for (const [said, protocol] of Object.entries(protocols))
    t.equal(from('::1', { 'x-forwarded-proto': said }).protocol, protocol, said)
})

t.test('no port, zone or spelling makes another client of an address', async () => {
  const port = fc.oneof(fc.constant(''), fc.integer({ min: 0, max: 65_535 }).map(String), fc.constantFrom('_p', '_1-2'))
  const quoted = fc.boolean()
  const written = fc.oneof(
    fc.tuple(fc.ipV4(), port, quoted).map(([address, at, quote]) => ({ address, at, quote, text: address })),
    fc.tuple(fc.ipV6(), port, quoted).map(([address, at, quote]) => ({ address, at, quote, text: `[${address}]` })),
    fc
      .tuple(fc.ipV4(), port, quoted)
      .map(([address, at, quote]) => ({ address, at, quote, text: `[::ffff:${address}]` })),
  )
  fc.assert(
    fc.property(written, ({ address, at, quote, text }) => {
      const node = at === '' ? text : `${text}:${at}`
      const found = addressOf(quote ? `"${node}"` : node)
      return found !== undefined && found === addressOf(address) && found === addressOf(found)
    }),
    { numRuns: 3_000 },
  )
})

t.test('whatever is written, the client is an address', async () => {
  const piece = fc.constantFrom(
    ...[
      '203.0.113.8',
      '::1',
      '[',
      ']',
      ':',
      '80',
      '"',
      ',',
      ' ',
      '%',
      'unknown',
      '_',
      '10.0.0.1',
      '::ffff:',
      '\t',
      'é',
    ],
  )
  fc.assert(
    fc.property(fc.array(piece, { maxLength: 12 }), (pieces) => {
      const { way } = from('127.0.0.1', { 'x-forwarded-for': pieces.join('') }, trustAll)
      return way.every((address) => addressOf(address) === address)
    }),
    { numRuns: 5_000 },
  )
})
