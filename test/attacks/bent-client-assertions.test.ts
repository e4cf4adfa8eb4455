import { createHmac, createSign, generateKeyPairSync, randomUUID } from 'node:crypto'
import { createAssertions, createSigner, publicJwk } from '@sallyport/identity'
import t from 'tap'
import { openAuthHere } from '../support/in-process.ts'
import {
  assertionClaims,
  assertionType,
  basic,
  issuer,
  makeKeyPair,
  openMachines,
  signAny,
  signAssertion,
} from '../support/machines.ts'
import { claimsOf } from '../support/system.ts'

const publicKeyEncoding = { type: 'spki', format: 'pem' } as const
const privateKeyEncoding = { type: 'pkcs8', format: 'pem' } as const
const now = () => Math.floor(Date.now() / 1000)
const b64 = (text: string | Buffer) => Buffer.from(text).toString('base64url')
const json = JSON.stringify

t.test('no bent client assertion is taken, and none is a failure', async (t) => {
  const machines = await openMachines(t)
  const { makeMachine, post, tokenOf, secrets, gateway } = machines
  const [machine, other] = [await makeMachine({ scopes: ['introspect'] }), await makeMachine()]
  const { id, key } = machine
  const { kid } = publicJwk(key.publicKey)
  const rsa = generateKeyPairSync('rsa', { modulusLength: 2048, publicKeyEncoding, privateKeyEncoding })
  const ed = generateKeyPairSync('ed25519', { publicKeyEncoding, privateKeyEncoding })
  for (const { publicKey } of [rsa, ed])
    await machines.administer('POST', `clients/${id}/credentials`, {
      ...{ kind: 'keys', name: 'more', jwks: { keys: [publicJwk(publicKey)] } },
    })
  const stranger = makeKeyPair()
  const good = () => signAssertion(machine)
  const header = { alg: 'ES256', typ: 'JWT', kid }
  const claims = (more: object = {}) => ({ ...assertionClaims(id), ...more })
  const withClaims = (more: object) => signAny(key.privateKey, header, claims(more))
  const withHeader = (more: object) => signAny(key.privateKey, { ...header, ...more }, claims())
  /** Claims as text, in which `exp` is spelled so. */
  const withText = (name: string, value: string) =>
    signAny(key.privateKey, header, json(claims({ [name]: '@' })).replace('"@"', value))
  const unsigned = (head: object, signature = '') => `${b64(json(head))}.${b64(json(claims()))}.${signature}`
  const one = { parts: good().split('.') as [string, string, string] }
  const parts = () => one.parts
  const hmac = (secret: string) => {
    const content = unsigned({ ...header, alg: 'HS256' }).slice(0, -1)
    return `${content}.${createHmac('sha256', secret).update(content).digest('base64url')}`
  }
  const twice = (text: string, name: string, value: string) => text.replace('{', `{"${name}":${value},`)
  const bySigner = (pair: { privateKey: string }, alg: string, kid?: string) =>
    signAny(pair.privateKey, { alg, kid }, claims())
  const spare = (part: string) => part.slice(0, -1) + String.fromCharCode(part.charCodeAt(part.length - 1) + 1)
  const der = () => {
    const content = parts().slice(0, 2).join('.')
    return `${content}.${b64(createSign('sha256').update(content).sign(key.privateKey))}`
  }
  const pss = () => {
    const content = `${b64(json({ alg: 'PS256' }))}.${b64(json(claims()))}`
    const pem = { key: rsa.privateKey, padding: 6, saltLength: 32 }
    return `${content}.${b64(createSign('sha256').update(content).sign(pem))}`
  }
  const each = (name: string, values: unknown[]): [string, string][] =>
    values.map((value) => [`${name} ${json(value)?.slice(0, 60)}`, withClaims({ [name]: value })])
  const identity = {
    caller: 'client',
    userId: `client:${id}`,
    clientId: id,
    roles: [],
    sessionId: machine.keysId,
  } as const
  const said = createAssertions(secrets.IDENTITY_PRIVATE_KEY as string)
  const token = await tokenOf(machine)

  const bentNow = (): [string, string][] => [
    // Algorithms and keys.
    ...['none', 'None', 'NONE', ''].map((alg): [string, string] => [`alg '${alg}'`, unsigned({ alg })]),
    ['alg none with a signature', unsigned({ alg: 'none' }, parts()[2])],
    ['no alg', signAny(key.privateKey, { typ: 'JWT', kid }, claims())],
    ['alg as a list', withHeader({ alg: ['ES256'] })],
    ['alg in small letters', withHeader({ alg: 'es256' })],
    ['HS256 with the public key as the secret', hmac(key.publicKey)],
    ['HS256 with the JWK as the secret', hmac(json(publicJwk(key.publicKey)))],
    ['HS256 with the client secret', hmac(machine.secret)],
    ['HS256 with nothing as the secret', hmac('')],
    ...['RS256', 'EdDSA', 'ES384', 'ES512', 'ES256K', 'PS256'].map((alg): [string, string] => [
      `${alg} by an EC key`,
      bySigner(key, alg),
    ]),
    ['ES256 by an RSA key', bySigner(rsa, 'ES256')],
    ['EdDSA by an RSA key', bySigner(rsa, 'EdDSA')],
    ['ES256 by an Ed25519 key', bySigner(ed, 'ES256')],
    ['PS256 by an RSA key', pss()],
    ["another's key", signAny(other.key.privateKey, { alg: 'ES256' }, claims())],
    [
      "another's key with its kid",
      signAny(other.key.privateKey, { alg: 'ES256', kid: publicJwk(other.key.publicKey).kid }, claims()),
    ],
    ["another's key with our kid", signAny(other.key.privateKey, header, claims())],
    ['a key that nobody knows', signAny(stranger.privateKey, header, claims())],
    ["our key with another's kid", withHeader({ kid: publicJwk(other.key.publicKey).kid })],
    ['our key with an unknown kid', withHeader({ kid: 'x' })],
    ...[1, null, [kid], { kid }, '', true].map((kid): [string, string] => [`kid ${json(kid)}`, withHeader({ kid })]),
    // Headers.
    ...Object.entries({
      jwk: publicJwk(key.publicKey),
      jku: `${gateway}/.well-known/jwks.json`,
      x5u: 'https://evil.test/x',
      x5c: ['AAAA'],
      x5t: 'AAAA',
      crit: ['exp'],
      b64: false,
      zip: 'DEF',
      cty: 'JWT',
      enc: 'A128GCM',
      exp: now() + 60,
    }).map(([name, value]): [string, string] => [`header ${name}`, withHeader({ [name]: value })]),
    [
      'a key of its own in the header',
      signAny(stranger.privateKey, { alg: 'ES256', jwk: publicJwk(stranger.publicKey) }, claims()),
    ],
    ['crit and b64', withHeader({ crit: ['b64'], b64: false })],
    ...['at+jwt', 'identity+jwt', 'JOSE', '', 'Jwt', 'dpop+jwt'].map((typ): [string, string] => [
      `typ '${typ}'`,
      withHeader({ typ }),
    ]),
    ...[1, null, ['JWT']].map((typ): [string, string] => [`typ ${json(typ)}`, withHeader({ typ })]),
    // Claims.
    ...['iss', 'sub', 'aud', 'jti', 'exp'].map((name): [string, string] => [
      `no ${name}`,
      withClaims({ [name]: undefined }),
    ]),
    ...each('iss', [other.id, issuer, null, 1, [id], '', `client:${id}`, id.toUpperCase(), `${id} `]),
    ...each('sub', [other.id, null, 1, [id], { id }, '', `client:${id}`, id.toUpperCase()]),
    ['iss and sub of another', withClaims({ iss: other.id, sub: other.id })],
    ['iss and sub with a prefix', withClaims({ iss: `client:${id}`, sub: `client:${id}` })],
    ['iss and sub empty', withClaims({ iss: '', sub: '' })],
    ...each('aud', [
      ...[
        `${issuer}/`,
        issuer.toUpperCase(),
        `${issuer}/oauth/token`,
        `${gateway}/oauth/token`,
        gateway,
        'https://api.test',
      ],
      ...[`${issuer}:443`, ` ${issuer}`, issuer.replace('https', 'http'), '', null, 1, {}, { aud: issuer }, []],
      ...[
        [issuer, issuer],
        [issuer, 'https://evil.test'],
        ['https://evil.test', issuer],
        [[issuer]],
        [null],
        '*',
        [`${issuer}/`],
      ],
    ]),
    ...each('jti', ['', null, 1, ['x'], {}, true, 'x'.repeat(257), 'x'.repeat(2_000)]),
    ...each('exp', [
      0,
      -1,
      now() - 31,
      now() - 3_600,
      now() + 400,
      now() + 86_400,
      Date.now() + 60_000,
      String(now() + 60),
      null,
      true,
      [now() + 60],
      {},
      '',
      'NaN',
    ]),
    ...['1e400', '-1e400', '1e308', '99999999999999999999'].flatMap((value): [string, string][] => [
      [`exp ${value}`, withText('exp', value)],
      [`iat ${value}`, withText('iat', value)],
      [`nbf ${value}`, withText('nbf', value)],
    ]),
    ['exp NaN', withText('exp', 'NaN')],
    ['exp Infinity', withText('exp', 'Infinity')],
    ['exp in hexadecimal', withText('exp', '0xffffffff')],
    ...each('iat', [now() + 90, now() + 3_600, now() - 3_600, -1, null, String(now()), Date.now(), []]),
    ...each('nbf', [now() + 90, now() + 3_600, -1, null, String(now()), Date.now(), {}]),
    // JSON.
    ...['iss', 'sub', 'aud', 'exp', 'jti', '\\u0065xp', 'x'].map((name): [string, string] => [
      `the claim ${name} twice`,
      signAny(
        key.privateKey,
        header,
        twice(name === 'x' ? twice(json(claims()), 'x', '1') : json(claims()), name, '1'),
      ),
    ]),
    ...['alg', 'typ', 'kid', '\\u0061lg'].map((name): [string, string] => [
      `${name} twice in the header`,
      signAny(key.privateKey, twice(json(header), name, '"none"'), claims()),
    ]),
    ...[
      'null',
      '[]',
      '1',
      '""',
      '',
      '{',
      'true',
      `[${json(claims())}]`,
      json(json(claims())),
      `${json(claims())}x`,
      `\ufeff${json(claims())}`,
    ].map((text): [string, string] => [`claims that are ${text.slice(0, 20)}`, signAny(key.privateKey, header, text)]),
    ...['null', '[]', '""', '{}', 'x'].map((text): [string, string] => [
      `a header that is ${text}`,
      signAny(key.privateKey, text, claims()),
    ]),
    ['claims in UTF-16', `${b64(json(header))}.${b64(Buffer.from(json(claims()), 'utf16le'))}.${parts()[2]}`],
    ['lists in lists', signAny(key.privateKey, header, `{"x":${'['.repeat(1_000)}${']'.repeat(1_000)}}`)],
    ['lists in lists, without an end', signAny(key.privateKey, header, '['.repeat(2_500))],
    ['a prototype', signAny(key.privateKey, header, `{"__proto__":${json(claims())}}`)],
    ['a prototype in the header', signAny(key.privateKey, `{"__proto__":{"alg":"ES256"}}`, claims())],
    // The spelling.
    ['padding', `${good()}=`],
    [
      'padding of each part',
      good()
        .split('.')
        .map((part) => `${part}=`)
        .join('.'),
    ],
    ['a space before', ` ${good()}`],
    ['a line break after', `${good()}\n`],
    ['a space within', good().replace('.', ' .')],
    ['a NUL after', `${good()}\0`],
    ['spare bits in the signature', `${parts().slice(0, 2).join('.')}.${spare(parts()[2])}`],
    ['standard base64', unsigned(header, `${'+/'.repeat(43)}`)],
    ['a signature in DER', der()],
    ['no signature', `${parts()[0]}.${parts()[1]}.`],
    ['no dot before the signature', parts().slice(0, 2).join('.')],
    ['no header', `.${parts()[1]}.${parts()[2]}`],
    ['no claims', `${parts()[0]}..${parts()[2]}`],
    ['nothing but dots', '..'],
    ['one word', 'x'],
    ['five parts', `${good()}.AAAA.AAAA`],
    ['four parts', `${good()}.AAAA`],
    ['a signature of zeros', `${parts().slice(0, 2).join('.')}.${b64(Buffer.alloc(64))}`],
    ['a signature of another assertion', `${parts().slice(0, 2).join('.')}.${good().split('.')[2]}`],
    ['half a signature', `${parts().slice(0, 2).join('.')}.${parts()[2].slice(0, 43)}`],
    ['a signature twice', good() + parts()[2]],
    ['as JSON', json({ payload: parts()[1], signatures: [{ protected: parts()[0], signature: parts()[2] }] })],
    ['5 kB', withClaims({ x: 'x'.repeat(5_000) })],
    // Tokens of ours that are something else.
    ['an access token', token],
    ['an identity assertion', said.sign({ ...identity, scopes: [] } as never, issuer).token],
    ['claims by the key of auth', createSigner(secrets.JWT_PRIVATE_KEY as string, 'JWT')(claims())],
    ['claims by the key of the gateway', createSigner(secrets.IDENTITY_PRIVATE_KEY as string, 'JWT')(claims())],
    ['an API key', machine.apiKey],
    ['a secret', machine.secret],
    ...good()
      .split('')
      .flatMap((_, at): [string, string][] => {
        if (at % 7 !== 0) return []
        const bytes = Buffer.from(good())
        bytes[at] = (bytes[at] as number) ^ 1
        return [[`a bit of byte ${at}`, bytes.toString('latin1')]]
      }),
  ]
  let bent = bentNow()
  const { length } = bent
  t.ok(length >= 200, `${length} kinds`)

  const endpoints = {
    token: { grant_type: 'client_credentials' },
    introspect: { token },
    revoke: { token: 'x' },
  }
  for (let at = 0; at < length; at++) {
    // Anew now and then, so that none is refused for its age.
    if (at % 20 === 0) {
      one.parts = good().split('.') as [string, string, string]
      bent = bentNow()
    }
    const [kind, assertion] = bent[at] as [string, string]
    for (const path of ['token', at % 2 === 0 ? 'introspect' : 'revoke'] as const) {
      const form = { ...endpoints[path], client_assertion_type: assertionType, client_assertion: assertion }
      const { status, body } = await post(path, form)
      if (status !== 401 || body.error !== 'invalid_client') t.fail(`${kind} at ${path}`, { status, body, assertion })
      if (at % 20 === 0) {
        const { status } = await post(path, { ...form, client_assertion: good() })
        if (status !== 200) t.fail(`a good one after ${kind} at ${path}: ${status}`)
      }
    }
  }

  await t.test('nor one that is sent in the wrong way', async (t) => {
    const grant = { grant_type: 'client_credentials' }
    const type = assertionType
    for (const [kind, send, status] of [
      ['no type', { ...grant, client_assertion: good() }, 400],
      ['no assertion', { ...grant, client_assertion_type: type }, 400],
      ['an empty assertion', { ...grant, client_assertion_type: type, client_assertion: '' }, 400],
      ...['urn:ietf:params:oauth:client-assertion-type:saml2-bearer', type.toUpperCase(), `${type} `, 'jwt-bearer'].map(
        (wrong) =>
          [`the type ${wrong}`, { ...grant, client_assertion_type: wrong, client_assertion: good() }, 400] as const,
      ),
      ['1 MB', { ...grant, client_assertion_type: type, client_assertion: 'x'.repeat(1_000_000) }, 413],
    ] as const)
      t.match(await post('token', send), { status }, kind)
    const form = (more: string) => `grant_type=client_credentials&client_assertion_type=${type}&${more}`
    const two = `client_assertion=${good()}&client_assertion=${good()}`
    t.match(await post('token', form(two)), { status: 400, body: { error: 'invalid_request' } }, 'twice')
    t.match(
      await post('token', form(`client_assertion_type=${type}&client_assertion=${good()}`)),
      { status: 400, body: { error: 'invalid_request' } },
      'its type twice',
    )
    for (const authorization of [`Bearer ${good()}`, `Basic ${good()}`, good()])
      t.match(await post('token', grant, { authorization }), { status: 401 }, 'in Authorization')
    t.match(await post('token', grant, basic(id, good())), { status: 401 }, 'as a secret')
  })
})

t.test('an assertion is taken once, by whichever process', async (t) => {
  const { gateway, environment, makeMachine, post } = await openMachines(t)
  const [machine, other] = [await makeMachine(), await makeMachine()]
  const second = await openAuthHere(environment, () => {})
  t.teardown(second.close)
  const send = async (base: string, assertion: string) => {
    const form = { grant_type: 'client_credentials', client_assertion_type: assertionType, client_assertion: assertion }
    const response = await fetch(`${base}/oauth/token`, { method: 'POST', body: new URLSearchParams(form) })
    await response.arrayBuffer()
    return response.status
  }
  const bases = [gateway, `http://127.0.0.1:${second.port}`]

  await t.test('of 50 at once over two, one', async (t) => {
    for (let round = 0; round < 3; round++) {
      const assertion = signAssertion(machine)
      const statuses = await Promise.all(
        Array.from({ length: 50 }, (_, at) => send(bases[at % 2] as string, assertion)),
      )
      t.equal(statuses.filter((status) => status === 200).length, 1)
      t.equal(statuses.filter((status) => status === 401).length, 49)
    }
  })

  await t.test('also signed anew, with other claims, or for another endpoint', async (t) => {
    const jti = randomUUID()
    t.equal(await send(gateway, signAssertion(machine, { jti })), 200)
    t.equal(await send(gateway, signAssertion(machine, { jti })), 401)
    t.equal(await send(gateway, signAssertion(machine, { jti, exp: now() + 200 })), 401)
    const form = { token: 'x', client_assertion_type: assertionType, client_assertion: signAssertion(machine, { jti }) }
    t.match(await post('introspect', form), { status: 401 })
    t.equal(await send(gateway, signAssertion(other, { jti })), 200, 'the jti of another client is its own')
    t.equal(await send(gateway, signAssertion(machine, { jti: jti.toUpperCase() })), 200, 'and is a text')
  })

  await t.test('one that was refused may be sent again: it was not taken', async (t) => {
    const assertion = signAssertion(machine)
    const refused = { grant_type: 'client_credentials', client_id: other.id, client_assertion_type: assertionType }
    t.match(await post('token', { ...refused, client_assertion: assertion }), { status: 400 })
    t.equal(await send(gateway, assertion), 200)
  })
})

t.test('client ids of any kind are refused in the same way', async (t) => {
  const { makeMachine, post, admin } = await openMachines(t)
  const machine = await makeMachine()
  const user = claimsOf(admin.accessToken as string).sub as string
  const grant = { grant_type: 'client_credentials' }
  const answers = new Set<string>()
  for (const id of [
    ...[user, `client:${machine.id}`, machine.id.toUpperCase(), `{${machine.id}}`, machine.id.replaceAll('-', '')],
    ...[`${machine.id}\0`, `${machine.id} `, 'ü€😀', 'x'.repeat(3_000), '../admin', '%00', '%'],
    ...["' OR 1=1 --", `${machine.id}'; DROP TABLE auth.clients; --`, '__proto__', 'constructor', '*', '[]', '{}'],
  ]) {
    const tries = [await post('token', grant, basic(id, machine.secret))]
    const claims = { ...assertionClaims(id), jti: randomUUID() }
    const assertion = signAny(machine.key.privateKey, { alg: 'ES256' }, claims)
    tries.push(await post('token', { ...grant, client_assertion_type: assertionType, client_assertion: assertion }))
    for (const { status, body } of tries) {
      if (status !== 401) t.fail(id.slice(0, 60), { status, body })
      answers.add(JSON.stringify(body))
    }
  }
  t.match(await post('token', grant, basic('x'.repeat(10_000), machine.secret)), { status: 401 }, '10 kB')
  t.equal(answers.size, 1, 'nothing says which of them there are')
  t.match(await post('token', grant, basic(machine.id, machine.secret)), { status: 200 })
})
