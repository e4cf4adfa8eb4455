import t from 'tap'
import { checkKeys, type VerifierOptions } from './options.ts'

const us = { issuer: 'https://issuer.test', audience: 'https://api.test', jwks: 'https://issuer.test/keys' }
const them = { issuer: 'https://login.test', audience: 'orders' }
const stream = { url: 'https://issuer.test/internal/revocations' }

const quoted = (text: string) => text.replace(/[.*+?^${}()|[\]\\]/g, '\\$&')

t.test('a key that is unknown where it stands is an error, which names it and the known ones', async (t) => {
  const wrong: [object, string][] = [
    [
      { ...us, failClosed: true },
      'failClosed is no option; those of a verifier are issuer, audience, jwks, revocations, issuers, maxAge, onUnavailable',
    ],
    [
      { ...us, revocations: { ...stream, failclosed: true } },
      'revocations.failclosed is no option; those of revocations are url, secret, failClosed, maxAge',
    ],
    [
      { issuers: [them, { ...them, requires: { token_use: 'access' } }] },
      'issuers[1].requires is no option; those of issuers[1] are issuer, jwks, discovery, audience, types, algorithms, ' +
        'claims, roleMap, require, clients',
    ],
    [
      { issuers: [{ ...them, claims: { role: 'groups' } }] },
      'issuers[0].claims.role is no option; those of issuers[0].claims are subject, audience, roles, email, session, ' +
        'scopes, acr',
    ],
    [{ ...us, toString: 1 }, 'toString is no option; those of a verifier are'],
  ]
  for (const [options, message] of wrong)
    t.throws(() => checkKeys(options as VerifierOptions), { message: new RegExp(`^${quoted(message)}`) }, message)
})

t.test('a key without a value is an error at every level, as of a variable that is not set', async (t) => {
  const wrong: [object, string][] = [
    [{ ...us, revocations: undefined }, 'revocations'],
    [{ ...us, jwks: undefined }, 'jwks'],
    [{ ...us, revocations: { ...stream, secret: undefined } }, 'revocations.secret'],
    [{ ...us, revocations: { ...stream, maxAge: undefined } }, 'revocations.maxAge'],
    [{ issuers: [{ ...them, require: undefined }] }, 'issuers[0].require'],
    [{ issuers: [{ ...them, require: { typ: undefined } }] }, 'issuers[0].require.typ'],
    [{ issuers: [{ ...them, claims: { roles: undefined } }] }, 'issuers[0].claims.roles'],
  ]
  for (const [options, name] of wrong)
    t.throws(() => checkKeys(options as VerifierOptions), { message: `${name} is undefined; set it, or leave it out` })
})

t.test('a value that would be read as another is an error', async (t) => {
  const wrong: [unknown, RegExp][] = [
    [undefined, /^what is given is no object of options$/],
    [null, /^what is given is no object of options$/],
    [{ ...us, revocations: null }, /^revocations is no object of options$/],
    [{ ...us, revocations: stream.url }, /^revocations is no object of options$/],
    [{ issuers: ['https://login.test'] }, /^issuers\[0\] is no object of options$/],
    [{ ...us, revocations: { ...stream, secret: '' } }, /^revocations.secret is empty/],
    [{ ...us, revocations: { ...stream, failClosed: 'false' } }, /^revocations.failClosed is true or false$/],
    ...['60', 0, -1, Number.NaN, null].flatMap((maxAge): [unknown, RegExp][] => [
      [{ ...us, maxAge }, /^maxAge is a number of seconds, more than 0$/],
      [{ ...us, revocations: { ...stream, maxAge } }, /^revocations.maxAge is a number of seconds, more than 0$/],
    ]),
  ]
  for (const [options, message] of wrong)
    t.throws(() => checkKeys(options as VerifierOptions), { message }, JSON.stringify(options))
})

t.test('every known key may be there', async () => {
  checkKeys(us)
  checkKeys({
    ...us,
    maxAge: 60,
    onUnavailable() {},
    revocations: { ...stream, secret: 'hush', failClosed: true, maxAge: 0.5 },
    issuers: [
      {
        ...them,
        jwks: 'https://login.test/keys',
        discovery: 'https://login.test/metadata',
        types: ['JWT'],
        algorithms: ['ES256'],
        claims: { subject: 'a', audience: 'b', roles: 'c', email: 'd', session: 'e', scopes: 'f', acr: 'g' },
        roleMap: { a: 'b' },
        require: { anything: 'x' },
        clients: { anything: true },
      },
    ],
  })
})
