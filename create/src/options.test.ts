import t from 'tap'
import { readOptions, usage } from './options.ts'

t.test('flags say what a project is to have', async (t) => {
  t.strictSame(readOptions(['my-app', '--proxy', 'caddy', '--database=postgresql://a:b@db/c', '--yes']), {
    folder: 'my-app',
    choices: { proxy: 'caddy', database: 'postgresql://a:b@db/c' },
    yes: true,
    packages: undefined,
  })
  const { choices } = readOptions([
    'a',
    '--issuer',
    'https://login.example.com/',
    '--audience',
    'https://api.example.com',
  ])
  t.strictSame({ ...choices }, { issuer: 'https://login.example.com/', audience: 'https://api.example.com' })
  t.strictSame(
    { ...readOptions(['a', '--issuer', 'own', '--packages', 'b']) },
    { folder: 'a', choices: { issuer: 'own' }, yes: false, packages: 'b' },
  )
})

t.test('what cannot be is refused, with what can', async (t) => {
  const cases: [string[], string | RegExp][] = [
    [[], usage],
    [['a', 'b'], usage],
    [['a', '--colour', 'red'], /Unknown option '--colour'/],
    [['a', '--issuer'], /argument missing/],
    [
      ['a', '--issuer', 'example.com'],
      '--issuer "example.com" is no issuer; it is own, or an address such as https://login.example.com',
    ],
    [['a', '--issuer', 'ftp://example.com'], /^--issuer "ftp:\/\/example.com" is no issuer/],
    [['a', '--issuer', "https://a/'b"], /is no issuer/],
    [['a', '--issuer', 'https://a/\nb'], /is no issuer/],
    [['a', '--issuer', 'https://a/${B}'], /is no issuer/],
    [['a', '--database', 'mysql://a/b'], /is no database; it is local, or an address such as postgresql:/],
    [['a', '--database', 'postgres'], /is no database/],
    [
      ['a', '--proxy', 'apache'],
      /--proxy "apache" is not known; there are none, nginx, caddy, haproxy, traefik, envoy$/,
    ],
    [['a', '--issuer', 'https://a', '--audience', 'a b'], /is no audience/],
    [['a', '--issuer', 'https://a', '--audience', 'a"'], /is no audience/],
    [['a', '--audience', 'api'], '--audience is of another issuer; give --issuer its address'],
    [['a', '--issuer', 'https://a', '--database', 'local'], /^--database is of the auth service/],
  ]
  for (const [args, message] of cases) t.throws(() => readOptions(args), { message }, args.join(' '))
})
