import t from 'tap'
import { hostOf, readHost } from './route-host.ts'

const read = (host: string) => readHost(host, (why) => new Error(why))

t.test('the host of a request is known in whichever spelling it comes', async (t) => {
  for (const [authority, host] of Object.entries({
    'api.example.com': 'api.example.com',
    'API.Example.COM:443': 'api.example.com',
    'api.example.com.': 'api.example.com',
    'API.example.com.:443': 'api.example.com',
    'api.example.com...:1': 'api.example.com',
    '127.0.0.1:8080': '127.0.0.1',
    '...': '',
    '': '',
    '[::1]:80': '[',
  }))
    t.equal(hostOf(authority), host, authority)
})

t.test('a host of the file is what a request for it names', async (t) => {
  for (const [written, host] of Object.entries({
    'api.example.com': 'api.example.com',
    'API.example.com.': 'api.example.com',
    localhost: 'localhost',
    '127.0.0.1': '127.0.0.1',
    '_a-b.c_d-': '_a-b.c_d-',
    'bücher.example': 'xn--bcher-kva.example',
    'BÜCHER。example': 'xn--bcher-kva.example',
    'xn--bcher-kva.example': 'xn--bcher-kva.example',
  }))
    t.equal(read(written), host, written)
})

t.test('what no request could name as its host is refused, with what to write', async (t) => {
  const refused: Record<string, RegExp> = {
    '*.example.com': /^the host "\*\.example\.com" is a pattern, .*; name each host$/,
    '*': /is a pattern/,
    '.example.com': /is a pattern/,
    '~^api': /is a pattern/,
    '{tenant}.example.com': /is a pattern/,
    'api.example.com:443': /has a port, which routes do not look at; write api\.example\.com$/,
    'bücher.example:443': /has a port, .*; write xn--bcher-kva\.example$/,
    'https://api.example.com': /has a scheme, .*; write api\.example\.com$/,
    'HTTPS://API.example.com:443/x': /has a scheme, .*; write api\.example\.com$/,
    'api.example.com/v1': /has a path, which is for `prefix` to say; write api\.example\.com$/,
    'api.example.com/': /has a path/,
    '': /is no host name like api\.example\.com/,
    '.': /is a pattern/,
    'a..b': /is no host name/,
    'a b': /is no host name/,
    '-a': /is no host name/,
    'user@api.example.com': /is no host name/,
    '::1': /is no host name/,
    'b\u0000cher\u00fc': /is no host name/,
    [`${'a'.repeat(64)}.com`]: /is no host name/,
    [Array(128).fill('a').join('.')]: /is no host name/,
    '[::1]': /is no host name/,
  }
  for (const [written, message] of Object.entries(refused)) t.throws(() => read(written), { message }, written)
})
