import { createPublicKey } from 'node:crypto'
import { writeFileSync } from 'node:fs'
import { createServer } from 'node:http'
import { join } from 'node:path'
import { isDeepStrictEqual } from 'node:util'
import { createAssertionVerifier as createAssertionVerifierOnNode } from '@sallyport/identity'
import {
  createAssertionVerifier,
  createVerifier,
  type Identity,
  identityFromHeaders,
  type OtherIssuer,
  type Problem,
} from '@sallyport/verify'
import t, { type Test } from 'tap'
import { assertionOf, bentAssertions } from '../support/bent-assertions.ts'
import { each, exchange, Issuer, listen, openGateway, Upstream } from '../support/edge.ts'
import { foreignTokens } from '../support/foreign-tokens.ts'
import { expiredTokens, forgedTokens, good, issuer, oddTokens, withClaims } from '../support/forged-tokens.ts'
import { makeKeyPair } from '../support/machines.ts'
import { eventually, temporaryFolder } from '../support/system.ts'
import { transplantedVectors, vectorsMissing } from '../support/transplanted-vectors.ts'

/** What became of a token, and for one that was accepted, who the caller is to a service. */
interface Decision {
  status: number
  code: string | undefined
  reason: unknown
  identity: Identity | undefined
}

const publicKeyOf = (privateKey: string) =>
  createPublicKey(privateKey).export({ type: 'spki', format: 'pem' }).toString()

/** A gateway, and a verifier where there is none, that take tokens of the same issuers for the same service. */
async function openBoth(
  t: Test,
  { own = issuer, issuers = [], stream }: { own?: Issuer; issuers?: readonly OtherIssuer[]; stream?: string } = {},
) {
  const api = await new Upstream().serve(t)
  const routes = join(temporaryFolder(t), 'routes.json')
  const route = { prefix: '/orders', upstreams: [api.url], access: 'authenticated', audience: 'orders' }
  writeFileSync(routes, JSON.stringify({ routes: [{ ...route, callers: ['user', 'client'] }], issuers }))
  const settings = {
    GATEWAY_ROUTES: routes,
    LOG_LEVEL: 'error',
    ...(stream && { REVOCATIONS_URL: stream, REVOCATIONS_SECRET: 'a-secret-of-the-stream-that-is-long-enough' }),
  }
  const { port, identityKey } = await openGateway(t, [], settings, own)
  const verifier = createVerifier({
    issuer: 'https://issuer.test',
    audience: 'https://api.test',
    jwks: await own.serve(t),
    issuers,
    ...(stream && { revocations: { url: stream } }),
  })
  t.teardown(() => verifier.close())
  await verifier.ready()
  const readAssertion = createAssertionVerifier([publicKeyOf(identityKey)], 'orders')
  let count = 0

  async function byGateway(token: string): Promise<Decision> {
    const target = `/orders/${count++}`
    const lines = [`GET ${target} HTTP/1.1`, 'Host: gateway', `Authorization: Bearer ${token}`, 'Connection: close']
    const response = await exchange(port, Buffer.from(`${lines.join('\r\n')}\r\n\r\n`, 'latin1'))
    const status = Number(/^HTTP\/1\.1 (\d{3})/.exec(response)?.[1])
    const [request] = api.of(target)
    if (!request)
      return {
        status,
        code: /"code":"(\w+)"/.exec(response)?.[1],
        reason: /"reason":"(\w+)"/.exec(response)?.[1],
        identity: undefined,
      }
    const identity = await readAssertion(String(request.headers['x-identity-token']))
    // Headers hold no more of it than that.
    const { amr: _amr, act, ...same } = identity ?? ({} as Identity)
    const inHeaders = identityFromHeaders(request.headers)
    t.strictSame({ ...inHeaders, act: inHeaders?.act?.sub }, { ...same, act: act?.sub }, 'headers say the same')
    return { status, code: undefined, reason: undefined, identity }
  }

  async function byVerifier(token: string): Promise<Decision> {
    try {
      const identity = await verifier.authenticate(`Bearer ${token}`, 'orders')
      return { status: 200, code: undefined, reason: undefined, identity }
    } catch (error) {
      const { statusCode, code, body } = error as Problem
      return {
        status: statusCode,
        code,
        reason: (body.call(error) as { reason?: unknown }).reason,
        identity: undefined,
      }
    }
  }
  return { byGateway, byVerifier }
}

const refused: Decision = { status: 401, code: 'TOKEN_INVALID', reason: undefined, identity: undefined }

type Both = Awaited<ReturnType<typeof openBoth>>

/** @returns how many tokens were compared, by what became of them */
async function compare(t: Test, { byGateway, byVerifier }: Both, tokens: readonly (readonly [string, string])[]) {
  const counts: Record<string, number> = {}
  await each(tokens, async ([what, token]) => {
    const decision = await byVerifier(token)
    // What cannot be a header line at all never becomes a request to a gateway.
    const expected = /[\0\r\n]/.test(token) ? refused : await byGateway(token)
    if (!isDeepStrictEqual(decision, expected)) t.fail(what, { gateway: expected, verifier: decision, token })
    // And once more, now that one that is good is known.
    const again = await byVerifier(token)
    if (!isDeepStrictEqual(again, decision)) t.fail(`${what}, the second time`, { decision, again })
    const outcome = decision.code ?? 'accepted'
    counts[outcome] = (counts[outcome] ?? 0) + 1
  })
  t.comment(JSON.stringify(counts))
  return counts
}

/** Every so many tokens a good one, so that what a bad one leaves behind would show. */
const withGoodOnes = (tokens: readonly (readonly [string, string])[], ones: readonly string[] = [good]) =>
  tokens.flatMap((token, index) =>
    index % 5 === 0 ? [token, [`a good one after ${token[0]}`, ones[index % ones.length] as string] as const] : [token],
  )

t.test('a verifier decides on every token of Sallyport as the gateway does', async (t) => {
  const forged = forgedTokens(makeKeyPair().privateKey).map(
    ({ how, what, token }) => [`${how}: ${what}`, token] as const,
  )
  const machine = { sub: 'client:nightly', client_id: 'nightly', email: undefined, role: undefined, roles: [] }
  const valid: [string, string][] = [
    ['a user', withClaims({})],
    ['who proved it by two factors', withClaims({ acr: 'aal2', auth_time: 1_700_000_000, amr: ['pwd', 'otp'] })],
    ['an address that is no ASCII', withClaims({ email: 'ämil@bücher.example' })],
    ['a machine', withClaims({ ...machine, scope: 'orders:read orders:write' })],
    ['a machine that may do nothing', withClaims({ ...machine, scope: '' })],
    [
      'a machine for a user',
      withClaims({ scope: 'a b', act: { sub: 'client:nightly', sid: 'credential-1', grant: 'g' } }),
    ],
    ['one for these routes alone', withClaims({ aud: 'orders' })],
    ['one for these and others', withClaims({ aud: ['invoices', 'orders'] })],
  ]
  const bad: [string, string][] = [
    ['one for other routes', withClaims({ aud: 'invoices' })],
    ['a machine by another', withClaims({ ...machine, client_id: 'other', scope: 'a' })],
    ['a machine without scopes', withClaims(machine)],
    ['in the name of another issuer', withClaims({ token_iss: 'https://keycloak.test/realms/one' })],
  ]
  const tokens = withGoodOnes([...forged, ...expiredTokens(), ...oddTokens, ...valid, ...bad])
  const { accepted, TOKEN_EXPIRED: expired, TOKEN_INVALID: invalid } = await compare(t, await openBoth(t), tokens)
  t.equal(accepted, tokens.length - forged.length - bad.length - expiredTokens().length)
  t.equal(expired, expiredTokens().length)
  t.ok(Number(invalid) >= 500, `${invalid} that are invalid`)
})

t.test('and on every token of other issuers, whatever they sign with', async (t) => {
  const { issuers, tokens } = await foreignTokens(t)
  const both = await openBoth(t, { issuers })
  const unchanged = tokens.filter(([what]) => what.endsWith(': good'))
  for (const [what, token] of unchanged) t.match(await both.byVerifier(token), { status: 200, identity: {} }, what)
  const all = withGoodOnes(
    tokens,
    unchanged.map(([, token]) => token),
  )
  const { accepted, TOKEN_INVALID: invalid } = await compare(t, both, all)
  t.ok(Number(accepted) >= 500, `${accepted} that are valid`)
  t.ok(Number(invalid) >= 500, `${invalid} that are invalid`)
})

t.test(
  'what Project Wycheproof does to signed messages is refused when it is done to access tokens',
  { skip: vectorsMissing },
  async (t) => {
    let tried = 0
    for (const { name, keys, unchanged, isGood, changed } of transplantedVectors()) {
      const own = Object.assign(new Issuer(), { keys })
      const both = await openBoth(t, { own })
      t.equal((await both.byVerifier(unchanged)).status, isGood ? 200 : 401, `${name}, unchanged`)
      const tokens = withGoodOnes(
        changed.map(({ what, token }) => [what, token] as const),
        [unchanged],
      )
      const { TOKEN_INVALID: invalid } = await compare(t, both, tokens)
      t.equal(invalid, isGood ? changed.length : tokens.length, name)
      tried += changed.length
    }
    t.ok(tried >= 355, `${tried} tried`)
  },
)

t.test('and on tokens that have ended before they expire', async (t) => {
  const until = Math.floor(Date.now() / 1000) + 900
  const events = [
    { session: 'ended', reason: 'logout' },
    { session: 'grant-1', reason: 'revoked' },
    { session: 'token-2', reason: 'revoked' },
    { user: 'demoted', roles: ['patient'] },
    { user: 'client:limited', roles: [], scopes: ['a'], audiences: ['orders'] },
  ]
  const server = createServer((_request, response) => {
    response.writeHead(200, { 'content-type': 'text/event-stream' })
    for (const event of events) response.write(`event: revoked\ndata: ${JSON.stringify({ ...event, until })}\n\n`)
    response.write('event: current\ndata: {}\n\n')
  })
  const { issuers, tokens } = await foreignTokens(t)
  const both = await openBoth(t, { issuers, stream: await listen(t, server) })
  const ended = withClaims({ sid: 'ended' })
  for (const by of [both.byGateway, both.byVerifier])
    await eventually('the stream has come', async () => (await by(ended)).code === 'SESSION_ENDED')
  const machine = { sub: 'client:limited', client_id: 'limited', email: undefined, role: undefined, roles: [] }
  const counts = await compare(t, both, [
    ['a session', ended],
    ['a grant', withClaims({ scope: 'a', act: { sub: 'client:nightly', grant: 'grant-1' } })],
    ['an actor’s session', withClaims({ scope: 'a', act: { sub: 'client:nightly', sid: 'ended' } })],
    ['a token', withClaims({ jti: 'token-2' })],
    ['roles that have changed', withClaims({ sub: 'demoted' })],
    ['roles that are those of now', withClaims({ sub: 'demoted', role: 'patient', roles: ['patient'] })],
    ['scopes that have changed', withClaims({ ...machine, scope: 'a b' })],
    ['scopes that are those of now', withClaims({ ...machine, scope: 'a', aud: 'orders' })],
    ['audiences that have changed', withClaims({ ...machine, scope: 'a' })],
    ['another', good],
    ...tokens.filter(([what]) => /: (good|sid|sub) ?/.test(what)),
  ])
  t.match(counts, { SESSION_ENDED: 4, TOKEN_STALE: 3 })
})

t.test('an assertion that is bent in any way is refused by Web Crypto as by Node', async (t) => {
  const { publicKey, privateKey } = makeKeyPair()
  const keys = [makeKeyPair().publicKey, publicKey]
  const verify = createAssertionVerifier(keys, 'orders')
  const verifyOnNode = createAssertionVerifierOnNode(keys, 'orders')
  let refused = 0
  for (const [what, values] of bentAssertions(privateKey, 'orders')) {
    // Two headers come joined.
    const joined = values.join(', ')
    t.strictSame([await verify(joined), verifyOnNode(joined)], [undefined, undefined], what)
    refused += 1
    if (refused % 5 > 0) continue
    const token = assertionOf(privateKey, 'orders', { jti: `assertion-${refused}`, acr: 'aal2', amr: ['pwd'] })
    const identity = await verify(token)
    t.match(identity, { userId: 'user-1' })
    t.strictSame(identity, verifyOnNode(token))
  }
  t.ok(refused >= 150, `${refused} refused`)
})
