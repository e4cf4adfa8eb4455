import dns from 'node:dns'
import { once } from 'node:events'
import { syncBuiltinESMExports } from 'node:module'
import { type AddressInfo, createServer } from 'node:net'
import t from 'tap'
import { createOutbound } from './outbound.ts'

const signal = AbortSignal.timeout(20_000)

t.test('no request goes inside, however its address is spelled', async (t) => {
  let connections = 0
  const server = createServer((socket) => {
    connections++
    socket.destroy()
  }).listen(0)
  await once(server, 'listening')
  t.teardown(() => server.close())
  const { port } = server.address() as AddressInfo
  const outbound = createOutbound([], 'SOME_ORIGINS')
  for (const host of [
    ...['127.0.0.1', 'localhost', 'LOCALHOST', '127.255.255.254', '0.0.0.0', '0', '127.1', '127.0.1'],
    ...['2130706433', '0x7f000001', '0x7f.0.0.1', '017700000001', '0177.0.0.1', '１２７.0.0.1', '①②⑦.0.0.1'],
    ...['[::1]', '[::]', '[::ffff:127.0.0.1]', '[::ffff:7f00:1]', '[0:0:0:0:0:ffff:127.0.0.1]', '[64:ff9b::7f00:1]'],
    ...['10.0.0.1', '172.16.0.1', '192.168.0.1', '100.64.0.1', '169.254.169.254', '2852039166', '0xa9fea9fe'],
    ...['[fe80::1]', '[fc00::1]', '[fd00:ec2::254]', '[::ffff:169.254.169.254]', '[2002:7f00:1::]', '[ff02::1]'],
    ...['224.0.0.1', '255.255.255.255', '192.0.2.1', '198.18.0.1', '240.0.0.1'],
  ]) {
    const request = outbound.request(`https://${host}:${port}/`, { headers: {}, signal })
    await t.rejects(
      request,
      { message: 'its address is one inside, which SOME_ORIGINS of the auth service would have to allow' },
      host,
    )
  }
  t.equal(connections, 0)
})

t.test('nor by a name that stands for one inside, also if it stood for another one before', async (t) => {
  const found = dns.lookup
  let address = '93.184.215.14'
  const asked: string[] = []
  dns.lookup = ((name: string, options: { all?: boolean }, done: (...values: unknown[]) => void) => {
    asked.push(name)
    done(null, ...(options.all ? [[{ address, family: 4 }]] : [address, 4]))
  }) as typeof dns.lookup
  syncBuiltinESMExports()
  t.teardown(() => {
    dns.lookup = found
    syncBuiltinESMExports()
  })
  const outbound = createOutbound([], 'SOME_ORIGINS')
  for (address of ['127.0.0.1', '10.0.0.1', '169.254.169.254', '0.0.0.0']) {
    const request = outbound.request('https://10.0.0.1.nip.example/', { headers: {}, signal })
    await t.rejects(request, { message: /one inside/ }, address)
  }
  t.strictSame(asked, Array(4).fill('10.0.0.1.nip.example'), 'each time anew')
})

t.test('what is no address over https without a password is not allowed', async (t) => {
  const outbound = createOutbound(['http://crm:8080'], 'SOME_ORIGINS')
  const refused = [
    ...['', 'x', '//x', 'https:', 'file:///etc/passwd', 'data:,x', 'javascript:1', 'ftp://x/', 'ws://crm:8080/'],
    ...['http://example.com/', 'http://crm/', 'http://crm:8081/', 'http://crm:8080@example.com/'],
    ...[
      'https://user:pass@example.com/',
      'https://user@example.com/',
      'https://:pass@example.com/',
      'http://a@crm:8080/',
    ],
  ]
  for (const url of refused) {
    t.notOk(outbound.allows(url), url)
    await t.rejects(outbound.request(url, { headers: {}, signal }), { message: /over https/ }, url)
  }
  for (const url of ['https://example.com/a?b', 'HTTPS://example.com', 'http://crm:8080/x'])
    t.ok(outbound.allows(url), url)
})
