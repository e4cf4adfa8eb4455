import t from 'tap'
import { createProxyNotice } from './untrusted-proxy.ts'

/** What is logged of requests, each an address and its X-Forwarded-For. */
function noticed(requests: [string, string | undefined][], trusted: string[] = []) {
  const peers: string[] = []
  const logger = {
    warn: ({ peer, msg }: { peer: string; msg: string }) =>
      peers.push(msg.includes(`TRUSTED_PROXIES=${peer}`) ? peer : msg),
  }
  const isTrusted = (address: string) => trusted.includes(address)
  const notice = createProxyNotice(isTrusted, logger as never)
  for (const [peer, list] of requests) {
    const way = isTrusted(peer) && list ? [list, peer] : [peer]
    notice({ ip: way[0] as string, source: { ip: '', way, host: '', protocol: '' }, header: () => list })
  }
  return peers
}

t.test('a proxy nearby that is not trusted is named once, with what to set', async (t) => {
  t.strictSame(
    noticed([
      ['10.89.0.1', '203.0.113.7'],
      ['10.89.0.1', '203.0.113.8'],
      ['127.0.0.1', 'a'],
      ['fd00::1', 'b'],
    ]),
    ['10.89.0.1', '127.0.0.1', 'fd00::1'],
  )
})

t.test('nothing is said of trusted proxies, of who forwards nothing, or of strangers', async (t) => {
  t.strictSame(noticed([['10.0.0.1', '203.0.113.7']], ['10.0.0.1']), [])
  t.strictSame(noticed([['10.0.0.1', '']], ['10.0.0.1']), [], 'a trusted one that names nobody')
  t.strictSame(
    noticed([
      ['10.0.0.1', undefined],
      ['203.0.113.7', '10.0.0.1'],
    ]),
    [],
  )
})

t.test('many addresses do not fill the log', async (t) => {
  const many = Array.from({ length: 9 }, (_, index): [string, string] => [`10.0.0.${index}`, 'x'])
  t.equal(noticed(many).length, 3)
})
