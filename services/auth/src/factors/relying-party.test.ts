import { ConfigurationError } from '@sallyport/chassis'
import t from 'tap'
import { readRelyingParty } from './relying-party.ts'

const read = (RP_ID?: string, APP_ORIGIN?: string, ...CORS_ORIGINS: string[]) =>
  readRelyingParty({ RP_ID, APP_ORIGIN, CORS_ORIGINS })

t.test('passkeys are for the domain that is set, and its pages are those there and below it', async (t) => {
  t.strictSame(
    read(
      'example.com',
      'https://app.example.com',
      'https://example.com',
      'https://example.com:8443',
      'https://evil.test',
    ),
    {
      id: 'example.com',
      origins: ['https://app.example.com', 'https://example.com', 'https://example.com:8443'],
    },
  )
  t.strictSame(read('example.com', 'https://example.com', 'https://example.com')?.origins, ['https://example.com'])
  t.strictSame(read('example.com', undefined, 'https://example.com')?.origins, ['https://example.com'])
})

t.test('of a domain that is set and has no page, the setting is refused', async (t) => {
  for (const page of [
    'https://evil.test',
    'https://notexample.com',
    'https://example.com.evil.test',
    'https://com',
    'http://example.com',
    undefined,
  ])
    t.throws(() => read('example.com', page), ConfigurationError, `${page}`)
  t.throws(() => read('example.com'), { message: /such as https:\/\/example\.com/ })
})

t.test('if none is set, they are for the host of the app, or the one host of all pages', async (t) => {
  t.strictSame(read(undefined, 'https://app.example.com', 'https://other.test'), {
    id: 'app.example.com',
    origins: ['https://app.example.com'],
  })
  t.strictSame(read(undefined, undefined, 'https://a.test', 'https://a.test:8443'), {
    id: 'a.test',
    origins: ['https://a.test', 'https://a.test:8443'],
  })
  t.equal(read(undefined, undefined, 'https://a.test', 'https://b.test'), undefined, 'it could be either')
  t.equal(read(), undefined)
})

t.test('browsers make none for IP addresses, and none without https but on this machine', async (t) => {
  for (const page of ['https://192.0.2.1', 'http://127.0.0.1:3000', 'https://[::1]', 'http://a.test'])
    t.equal(read(undefined, page), undefined, page)
  for (const [page, id] of [
    ['http://localhost:3000', 'localhost'],
    ['http://app.localhost', 'app.localhost'],
    ['https://localhost', 'localhost'],
  ] as const)
    t.strictSame(read(undefined, page), { id, origins: [page] }, page)
  t.equal(read(undefined, 'http://notlocalhost'), undefined)
})
