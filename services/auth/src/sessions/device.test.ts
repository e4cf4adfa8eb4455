import t from 'tap'
import { describeDevice } from './device.ts'

t.test('a device is named by its browser and system', async (t) => {
  t.equal(describeDevice('Mozilla/5.0 (X11; Linux x86_64; rv:128.0) Gecko/20100101 Firefox/128.0'), 'Firefox on Linux')
  t.equal(describeDevice('curl/8.0 (x)'), 'curl')
})

t.test('what a user agent calls itself is no name if it is long, or has what no name has', async (t) => {
  for (const userAgent of [null, undefined, '', `${'x'.repeat(101)}/1.0 (x)`, 'a\x1b[31m/1.0 (x)', 'a\x9b31m/1.0 (x)'])
    t.equal(describeDevice(userAgent), 'Unknown', String(userAgent))
})
