import t from 'tap'
import { clientKey } from './client.ts'

t.test('an IPv4 client is its address, also when written as IPv6', async (t) => {
  t.equal(clientKey('203.0.113.9'), '203.0.113.9')
  t.equal(clientKey('::ffff:203.0.113.9'), '203.0.113.9')
  t.not(clientKey('203.0.113.9'), clientKey('203.0.113.10'))
})

t.test('an IPv6 client is its /64, however the address is written', async (t) => {
  const key = clientKey('2001:db8:1:2::1')
  for (const address of ['2001:db8:1:2:ffff:ffff:ffff:ffff', '2001:0DB8:0001:0002:0:0:0:9', '2001:db8:1:2::'])
    t.equal(clientKey(address), key, address)
  t.not(clientKey('2001:db8:1:3::1'), key)
  t.doesNotThrow(() => clientKey('fe80::1%eth0'))
})

t.test('what a proxy names that is no address stands for itself', async (t) => {
  for (const name of ['unknown', '203.0.113.9:4711', '_hidden', '']) t.equal(clientKey(name), name)
})
