import { generateKeyPairSync, randomUUID } from 'node:crypto'
import { createServer } from 'node:http'
import type { AddressInfo } from 'node:net'
import { createSigner, publicJwk } from '@sallyport/identity'
import t from 'tap'
import { assertionClaims, assertionType, issuer, makeKeyPair, openMachines, signAny } from '../support/machines.ts'
import { claimsOf } from '../support/system.ts'

const publicKeyEncoding = { type: 'spki', format: 'pem' } as const
const privateKeyEncoding = { type: 'pkcs8', format: 'pem' } as const
const now = () => Math.floor(Date.now() / 1000)

t.test('good client assertions are taken, as RFC 7523 has them', async (t) => {
  const jwksServer = createServer((_, response) => response.end(JSON.stringify({ keys: published })))
  const published: object[] = []
  await new Promise<void>((resolve) => jwksServer.listen(0, '127.0.0.1', resolve))
  t.teardown(() => jwksServer.close())
  const origin = `http://127.0.0.1:${(jwksServer.address() as AddressInfo).port}`
  const { post, makeMachine, administer } = await openMachines(t, { CLIENT_JWKS_ORIGINS: origin })
  const machine = await makeMachine()
  const { id, key } = machine
  const { kid } = publicJwk(key.publicKey)

  const send = (assertion: string) =>
    post('token', {
      grant_type: 'client_credentials',
      client_assertion_type: assertionType,
      client_assertion: assertion,
    })
  const addKeys = async (keys: object[]): Promise<string> => {
    const { status, body } = await administer('POST', `clients/${id}/credentials`, {
      ...{ kind: 'keys', name: 'more', jwks: { keys } },
    })
    if (status !== 201) throw new Error(JSON.stringify(body))
    return body.id
  }

  const headers = {
    'no typ': { alg: 'ES256', kid },
    'the typ JWT (RFC 7519 section 5.1)': { alg: 'ES256', typ: 'JWT', kid },
    'the typ jwt': { alg: 'ES256', typ: 'jwt', kid },
    'a typ of its own (RFC 8725 section 3.11)': { alg: 'ES256', typ: 'client-authentication+jwt', kid },
    'no kid': { alg: 'ES256', typ: 'JWT' },
    'members in another order': { kid, typ: 'JWT', alg: 'ES256' },
  }
  const claims = {
    'aud as text': {},
    'aud as a list of one (RFC 7519 section 4.1.3)': { aud: [issuer] },
    'an exp in five minutes': { exp: now() + 299 },
    'an exp with a fraction (RFC 7519 section 2)': { exp: now() + 60.5 },
    'no iat': { iat: undefined },
    'an iat with a fraction': { iat: now() - 0.25 },
    'an nbf that has passed': { nbf: now() - 10 },
    'claims that say nothing here (section 3, point 9)': { role: 'admin', scope: 'all', sid: randomUUID() },
    'a jti of one character': { jti: '~' },
    'a jti of 256 characters': { jti: 'é'.repeat(256) },
  }
  for (const [name, header] of Object.entries(headers))
    t.match(await send(signAny(key.privateKey, header, assertionClaims(id))), { status: 200 }, name)
  for (const [name, more] of Object.entries(claims)) {
    const sent = { ...assertionClaims(id), ...more }
    t.match(await send(signAny(key.privateKey, { alg: 'ES256', kid }, sent)), { status: 200 }, name)
  }

  await t.test('by a key of each family, alone and in one set', async (t) => {
    const pairs = {
      ES256: makeKeyPair(),
      RS256: generateKeyPairSync('rsa', { modulusLength: 2048, publicKeyEncoding, privateKeyEncoding }),
      EdDSA: generateKeyPairSync('ed25519', { publicKeyEncoding, privateKeyEncoding }),
    }
    const jwks = Object.values(pairs).map(({ publicKey }) => publicJwk(publicKey))
    const together = await addKeys(jwks.map((jwk, at) => ({ ...jwk, kid: `key ${at}`.replace(' ', '-') })))
    for (const [at, [alg, { privateKey }]] of Object.entries(pairs).entries())
      for (const kid of [`key-${at}`, undefined]) {
        const { status, body } = await send(signAny(privateKey, { alg, ...(kid && { kid }) }, assertionClaims(id)))
        t.equal(status, 200, `${alg} ${kid}`)
        t.equal(claimsOf(body.access_token).sid, together)
      }
  })

  await t.test('while keys are being replaced, by both, and then by the new one alone', async (t) => {
    const [old, next] = [makeKeyPair(), makeKeyPair()]
    const send1 = ({ privateKey }: typeof old) => send(createSigner(privateKey, 'JWT')(assertionClaims(id)))
    const before = await addKeys([publicJwk(old.publicKey)])
    t.match(await send1(next), { status: 401 })
    await addKeys([publicJwk(next.publicKey)])
    t.match(await send1(old), { status: 200 })
    t.match(await send1(next), { status: 200 })
    t.match(await administer('DELETE', `clients/${id}/credentials/${before}`), { status: 200 })
    t.match(await send1(old), { status: 401, body: { error: 'invalid_client' } })
    t.match(await send1(next), { status: 200 })
  })

  await t.test('by keys that the client publishes itself', async (t) => {
    const [pair, stranger] = [makeKeyPair(), makeKeyPair()]
    published.push(publicJwk(pair.publicKey))
    const { status, body } = await administer('POST', `clients/${id}/credentials`, {
      ...{ kind: 'keys', name: 'published', jwksUri: `${origin}/jwks` },
    })
    t.equal(status, 201)
    t.match(body, { jwksUri: `${origin}/jwks`, keys: [] })
    for (const host of ['localhost', '127.0.0.1'])
      t.match(
        await administer('POST', `clients/${id}/credentials`, {
          ...{ kind: 'keys', name: 'inside', jwksUri: `https://${host}:1/jwks` },
        }),
        { status: 400, body: { code: 'JWKS_INVALID', detail: /is one inside, which CLIENT_JWKS_ORIGINS/ } },
        'what is inside is not asked, and the setting for it is named',
      )
    t.match(await send(createSigner(pair.privateKey, 'JWT')(assertionClaims(id))), { status: 200 })
    t.match(await send(createSigner(stranger.privateKey, 'JWT')(assertionClaims(id))), { status: 401 })
    jwksServer.close()
    jwksServer.closeAllConnections()
    t.match(await send(createSigner(pair.privateKey, 'JWT')(assertionClaims(id))), { status: 200 }, 'remembered')
  })
})
