import { generateKeyPairSync } from 'node:crypto'
import { writeFileSync } from 'node:fs'
import { join } from 'node:path'
import type { ValidatorSpec } from 'envalid'
import t from 'tap'
import {
  addresses,
  auditSink,
  ConfigurationError,
  choice,
  databaseAddress,
  duration,
  durationBetween,
  type Environment,
  headerNames,
  mailbox,
  origin,
  origins,
  port,
  positive,
  privateKeys,
  publicKeys,
  readSettings,
  redisAddress,
  roles,
  safeOrigin,
  secrets,
  smtpServer,
  text,
  webAddress,
} from './settings.ts'

const read = (spec: ValidatorSpec<unknown>, VALUE: string) => readSettings({ VALUE }, { VALUE: spec }).VALUE

const strong = 'Zk3vR9qLw2XtB7nYp5JcHd8sMf4GgTa1'
const publicKeyEncoding = { type: 'spki', format: 'pem' } as const
const privateKeyEncoding = { type: 'pkcs8', format: 'pem' } as const
const pair = generateKeyPairSync('ec', { namedCurve: 'P-256', publicKeyEncoding, privateKeyEncoding })
const other = generateKeyPairSync('ed25519', { publicKeyEncoding, privateKeyEncoding })
const weak = generateKeyPairSync('rsa', { modulusLength: 1024, publicKeyEncoding, privateKeyEncoding })

const cases: [name: string, spec: ValidatorSpec<unknown>, good: [string, unknown][], bad: [string, RegExp][]][] = [
  ['text', text({ desc: 'x' }), [['any thing', 'any thing']], []],
  [
    'one of some words',
    choice('open', 'closed')({ desc: 'x' }),
    [['open', 'open']],
    [['Open', /none of open, closed/]],
  ],
  [
    'a port',
    port({ desc: 'x' }),
    [
      ['0', 0],
      ['65535', 65535],
    ],
    ['65536', '-1', '80a', '8e3', ' 80', '123456'].map((value) => [value, /is not a port/]),
  ],
  [
    'a whole number above 0',
    positive({ desc: 'x' }),
    [
      ['1', 1],
      ['4294967296', 4294967296],
    ],
    ['0', '-1', '1.5', '01', '1e3', '99999999999'].map((value) => [value, /is not a whole number above 0/]),
  ],
  [
    'a span of time, in seconds',
    duration({ desc: 'x' }),
    [
      ['900', 900],
      ['0', 0],
      ['0s', 0],
      ['30s', 30],
      ['15m', 900],
      ['1.5h', 5400],
      ['7d', 604800],
      ['250ms', 0.25],
    ],
    ['soon', '-5m', '15x', '1h30m', 'NaN'].map((value) => [value, /is not a span of time/]),
  ],
  [
    'a span of time within bounds',
    durationBetween(1, 300)({ desc: 'x' }),
    [
      ['1s', 1],
      ['5m', 300],
    ],
    [
      ...['0', '301', '250ms', '1d'].map((value) => [value, /is not between 1 and 300 seconds/] as const),
      ['soon', /is not a span of time/],
    ] as [string, RegExp][],
  ],
  [
    'a web address',
    webAddress({ desc: 'x' }),
    [['http://auth:5001/keys', 'http://auth:5001/keys']],
    ['auth:5001', '/keys', 'ftp://auth/keys'].map((value) => [value, /is not an http or https address/]),
  ],
  [
    'the address of a Redis',
    redisAddress({ desc: 'x' }),
    [
      ['redis://valkey:6379', 'redis://valkey:6379'],
      ['rediss://user:secret@valkey/1', 'rediss://user:secret@valkey/1'],
    ],
    ['valkey:6379', 'http://valkey', '/run/valkey'].map((value) => [value, /is not a redis or rediss address/]),
  ],
  [
    'the address of an SMTP server',
    smtpServer({ desc: 'x' }),
    [
      ['smtp://mail.example.com', { host: 'mail.example.com', port: 587, tls: 'required', auth: undefined }],
      [
        'smtp://mail.example.com:25?tls=optional',
        { host: 'mail.example.com', port: 25, tls: 'optional', auth: undefined },
      ],
      [
        'smtps://user%40example.com:p%3Ass%2F%25@mail.example.com/',
        { host: 'mail.example.com', port: 465, tls: 'implicit', auth: { user: 'user@example.com', pass: 'p:ss/%' } },
      ],
      ...['localhost', 'mail.localhost', '127.0.0.2'].map((host): [string, unknown] => [
        `smtp://${host}:1025`,
        { host, port: 1025, tls: 'off', auth: undefined },
      ]),
      ['smtp://[::1]', { host: '::1', port: 587, tls: 'off', auth: undefined }],
      ['smtp://localhost?tls=required', { host: 'localhost', port: 587, tls: 'required', auth: undefined }],
    ],
    [
      ...[
        'mail.example.com',
        'http://mail.example.com',
        'smtp://',
        'smtp://user:pa/ss@mail.example.com',
        'smtp://user:pa#ss@mail.example.com',
        'smtp://mail.example.com/path',
        'smtp://mail.example.com?tls=off',
        'smtp://mail.example.com?pool=true',
      ].map((value): [string, RegExp] => [value, /is not an smtp:\/\/ or smtps:\/\/ address; .*%2F/]),
      ['smtp://user:100%@mail.example.com', /has a % in its user name or password that is not written %25/],
    ],
  ],
  [
    'where the audit log goes',
    auditSink({ desc: 'x' }),
    [
      ['file:/var/log/audit.ndjson', { name: 'file:/var/log/audit.ndjson', path: '/var/log/audit.ndjson' }],
      ['file:///a', { name: 'file:///a', path: '/a' }],
      [
        'syslog+tls://log.example.com',
        { name: 'syslog+tls://log.example.com', host: 'log.example.com', port: 6514, tls: true },
      ],
      ['syslog+tcp://[::1]/', { name: 'syslog+tcp://[::1]/', host: '::1', port: 601, tls: false }],
      ['syslog+tcp://log:5514', { name: 'syslog+tcp://log:5514', host: 'log', port: 5514, tls: false }],
    ],
    [
      '/var/log/audit.ndjson',
      'file:audit.ndjson',
      'file:/var/log/',
      'syslog://log.example.com',
      'syslog+udp://log.example.com',
      'syslog+tls://',
      'syslog+tls://user:password@log.example.com',
      'syslog+tls://log.example.com/path',
      'syslog+tls://log.example.com?facility=10',
    ].map((value) => [value, /is no file:\/, syslog\+tls:\/\/ or syslog\+tcp:\/\/ address/]),
  ],
  [
    'whom mail is from',
    mailbox({ desc: 'x' }),
    [
      ['no-reply@example.com', { name: '', address: 'no-reply@example.com' }],
      ['<no-reply@example.com>', { name: '', address: 'no-reply@example.com' }],
      ['Sallyport <no-reply@example.com>', { name: 'Sallyport', address: 'no-reply@example.com' }],
      [' "Gate, North" <gate@localhost> ', { name: 'Gate, North', address: 'gate@localhost' }],
    ],
    [
      'Sallyport',
      'no-reply@',
      'a@example.com, b@example.com',
      'Sallyport <a@example.com> <b@example.com>',
      'Sally\r\nBcc: x <a@example.com>',
      '"Sally" port <a@example.com>',
    ].map((value) => [value, /is neither an address nor Name <address>/]),
  ],
  [
    'an origin that nobody listens in on',
    safeOrigin({ desc: 'x' }),
    ['https://app.example.com', 'http://localhost:5173', 'http://127.0.0.1', 'http://[::1]:5173'].map((value) => [
      value,
      value,
    ]),
    [
      ['http://app.example.com', /is not https, which only localhost need not be/],
      ['https://app.example.com/', /which is not an origin/],
      ['ftp://app.example.com', /is not https/],
    ],
  ],
  [
    'an address of PostgreSQL with one host',
    databaseAddress({ desc: 'x' }),
    [
      'postgresql://user:password@db.example.com:5432/sallyport',
      'postgres://db',
      'postgresql://user:p%40ss,word@[::1]:5432/sallyport?sslmode=verify-full&sslrootcert=/run/ca.pem',
      'postgresql:///sallyport?host=/run/postgresql',
      'postgresql://user:password@/sallyport?host=/run/postgresql',
      'postgresql://user:p@ss word@db/sallyport',
    ].map((value) => [value, value]),
    [
      ...[
        'foo',
        'mysql://user:hush@db/sallyport',
        'db:5432/sallyport',
        'host=db dbname=sallyport',
        '/run/postgresql',
      ].map((value): [string, RegExp] => [value, /is not a postgresql:\/\/ address/]),
      ...[
        'postgresql://user:hush@one:5432,two:5432/sallyport?target_session_attrs=read-write',
        'postgresql://one,two/sallyport',
        'postgresql://one%2Ctwo/sallyport',
        'postgresql:///sallyport?host=one,two',
        'postgresql:///sallyport?user=x&host=one&port=5432,5433',
      ].map((value): [string, RegExp] => [value, /names several hosts.* put one address in front/]),
      ...[
        'postgresql://user:hu/sh@db/sallyport',
        'postgresql://user:1#hush@db/sallyport',
        'postgresql://user:1?hush@db/sallyport',
        'postgresql://db:99999/sallyport',
        'postgresql://[::1/sallyport',
      ].map((value): [string, RegExp] => [value, /is not an address; in a user name or password, \/ is written %2F/]),
    ],
  ],
  [
    'one web origin',
    origin({ desc: 'x' }),
    [['https://a.test', 'https://a.test']],
    ['https://a.test,https://b.test', 'a.test'].map((value) => [value, /which is not an origin/]),
  ],
  [
    'web origins',
    origins({ desc: 'x' }),
    [['https://a.test, http://localhost:5173', ['https://a.test', 'http://localhost:5173']]],
    ['https://a.test/', 'https://a.test/path', 'a.test', '*', 'null', 'https://a.test,'].map((value) => [
      value,
      /which is not an origin/,
    ]),
  ],
  [
    'names of headers',
    headerNames({ desc: 'x' }),
    [
      ['ETag, x-total-count,etag', ['etag', 'x-total-count']],
      ['x_y', ['x_y']],
    ],
    ['*', 'etag,', 'etag,*', 'two words', 'a:b', 'é'].map((value) => [value, /which is no name of a header/]),
  ],
  [
    'roles',
    roles({ desc: 'x' }),
    [['admin, ward-nurse', ['admin', 'ward-nurse']]],
    ['Admin', 'admin,', 'two words'].map((value) => [value, /which is not a role/]),
  ],
  [
    'private keys in PEM, several, on one line or on many',
    privateKeys({ desc: 'x' }),
    [
      [pair.privateKey, [pair.privateKey.trim()]],
      [pair.privateKey.replaceAll('\n', '\\n'), [pair.privateKey.trim()]],
      [`${pair.privateKey}# old\n${other.privateKey}`, [pair.privateKey.trim(), other.privateKey.trim()]],
    ],
    [
      ['/path/to/key.pem', /holds no PEM block/],
      ['-----BEGIN A-----\nx\n-----END B-----', /holds no PEM block/],
      ['-----BEGIN PRIVATE KEY-----\nAAAA\n-----END PRIVATE KEY-----', /holds a key that is none of/],
      [weak.privateKey, /holds a key that is none of/],
      [pair.publicKey, /holds a key that is none of/],
    ],
  ],
  [
    'public keys in PEM, and no private ones',
    publicKeys({ desc: 'x' }),
    [[pair.publicKey, [pair.publicKey.trim()]]],
    [
      [pair.privateKey, /or is not of its half/],
      [weak.publicKey, /holds a key that is none of/],
    ],
  ],
  [
    'addresses and ranges of them',
    addresses({ desc: 'x' }),
    [
      ['127.0.0.1, 10.0.0.0/8,::1,fd00::/8', ['127.0.0.1', '10.0.0.0/8', '::1', 'fd00::/8']],
      ['loopback,uniquelocal', ['loopback', 'uniquelocal']],
    ],
    ['gateway', '10.0.0.0/33', '10.0.0.0/8/8', '10.0.0/8', '::1/129', '10.0.0.0/x', '1.2.3.4,'].map((value) => [
      value,
      /which is neither an address nor a CIDR range/,
    ]),
  ],
]

for (const [name, spec, good, bad] of cases)
  t.test(`a setting takes ${name}`, async (t) => {
    for (const [input, value] of good) t.strictSame(read(spec, input), value, input)
    for (const [input, message] of bad)
      t.throws(() => read(spec, input), { name: 'ConfigurationError', message }, input)
  })

t.test('weak secrets are refused, but only in production', async (t) => {
  const readIn = (NODE_ENV: string | undefined, SECRET: string) =>
    readSettings({ SECRET }, { SECRET: secrets({ NODE_ENV })({ desc: 'at least 32 random characters' }) }).SECRET
  t.strictSame(readIn('production', `${strong}, ${strong}x`), [strong, `${strong}x`], 'the first signs')
  const weak = ['short', 'ab'.repeat(20), `change-me-${strong}`, `${strong}Password`, `${strong},short`, `${strong},`]
  for (const secret of weak) {
    t.throws(
      () => readIn('production', secret),
      { message: /^SECRET is too weak .*; it takes at least 32 random/ },
      secret,
    )
    t.doesNotThrow(() => readIn('development', secret), secret)
    t.doesNotThrow(() => readIn(undefined, secret), secret)
  }
})

t.test('secrets may stand one on a line, with comments and blank lines between them', async (t) => {
  const read = (SECRET: string) => readSettings({ SECRET }, { SECRET: secrets({})({ desc: 'a secret' }) }).SECRET
  t.strictSame(read('# the active one, since May\none\n\n  two , three\r\n#four\n'), ['one', 'two', 'three'])
  t.throws(() => read('# none yet\n'), { message: 'SECRET holds no secret; it takes a secret' })
})

t.test('no refused secret is repeated in the message', async (t) => {
  const SECRET = 'hunter2hunter2'
  const refuse = () =>
    readSettings({ SECRET }, { SECRET: secrets({ NODE_ENV: 'production' })({ desc: 'at least 32 random characters' }) })
  t.throws(refuse, { message: /^((?!hunter2).)*$/ })
})

t.test('a file may hold the value', async (t) => {
  const file = join(t.testdir({ secret: `  ${strong}\n` }), 'secret')
  const spec = { SECRET: text({ default: 'default', desc: 'a secret' }) }
  t.equal(readSettings({ SECRET_FILE: file }, spec).SECRET, strong)
  t.equal(readSettings({ SECRET: '', SECRET_FILE: file }, spec).SECRET, strong)
  writeFileSync(file, '\n')
  t.equal(readSettings({ SECRET_FILE: file }, spec).SECRET, 'default', 'an empty file says nothing')
})

t.test('a value and a file at once are refused, and the line says which to drop', async (t) => {
  const spec = {
    SECRET: text({ desc: 'a secret' }),
    LEVEL: text({ default: 'info', desc: 'a level' }),
    NAME: text({ default: 'x', desc: 'a name' }),
  }
  const environment = {
    SECRET: 'own',
    SECRET_FILE: '/nowhere/secret',
    LEVEL: 'warn',
    LEVEL_FILE: '/nowhere',
    NAME: 'y',
  }
  t.throws(
    () => readSettings(environment, spec),
    new ConfigurationError(
      [
        'SECRET and SECRET_FILE are both set; drop SECRET to use the file, or SECRET_FILE',
        'LEVEL and LEVEL_FILE are both set; drop LEVEL to use the file, or LEVEL_FILE',
      ].join('\n'),
    ),
  )
})

t.test('an empty value counts as not set', async (t) => {
  const spec = { LEVEL: text({ default: 'info', desc: 'a level' }), NAME: text({ default: undefined, desc: 'a name' }) }
  t.strictSame({ ...readSettings({ LEVEL: '', LEVEL_FILE: '', NAME: '' }, spec) }, { LEVEL: 'info', NAME: undefined })
})

t.test('a file that cannot be read is named', async (t) => {
  const refuse = () => readSettings({ SECRET_FILE: '/nowhere/secret' }, { SECRET: text({ desc: 'a secret' }) })
  t.throws(
    refuse,
    new ConfigurationError('SECRET_FILE names /nowhere/secret, which cannot be read; mount it or correct the path'),
  )
})

t.test('every setting to correct has a line that says how', async (t) => {
  const environment: Environment = { PORT: 'http', MODE: 'ajar' }
  const refuse = () =>
    readSettings(environment, {
      PORT: port({ desc: 'a port number' }),
      MODE: choice('open', 'closed')({ desc: 'open or closed' }),
      URL: webAddress({ desc: 'an address like http://auth:5001' }),
      NAME: text({ default: 'x', desc: 'a name' }),
    })
  t.throws(refuse, {
    message: [
      'PORT is not a port; it takes a port number',
      'MODE is none of open, closed; it takes open or closed',
      'URL is not set, nor is URL_FILE; it takes an address like http://auth:5001',
    ].join('\n'),
  })
})
