import { createPrivateKey } from 'node:crypto'
import {
  allowInsecureRequests,
  type ClientAuth,
  ClientSecretBasic,
  clientCredentialsGrant,
  discovery,
  genericGrantRequest,
  PrivateKeyJwt,
  ResponseBodyError,
  tokenIntrospection,
  tokenRevocation,
} from 'openid-client'
import t from 'tap'
import { accessTokenType, openMachines, tokenExchange } from '../support/machines.ts'
import { claimsOf, freePort, signIn } from '../support/system.ts'

t.test('openid-client, which nobody here wrote, finds all by the issuer alone', async (t) => {
  const port = await freePort()
  const issuer = `http://127.0.0.1:${port}`
  const { gateway, makeMachine, addExchange } = await openMachines(t, {
    ...{ GATEWAY_PORT: String(port), JWT_ISSUER: issuer },
  })
  t.equal(gateway, issuer)
  const machine = await makeMachine({ scopes: ['a', 'b'] })
  await addExchange(machine.id, { from: 'notifications', audience: 'appointments', roles: ['patient'], scopes: ['a'] })
  const algorithm = { name: 'ECDSA', namedCurve: 'P-256' }
  const pkcs8 = createPrivateKey(machine.key.privateKey).export({ type: 'pkcs8', format: 'der' })
  const key = await crypto.subtle.importKey('pkcs8', pkcs8, algorithm, false, ['sign'])
  const patient = await signIn(gateway, 'patient@example.com')

  const find = (authentication: ClientAuth) =>
    discovery(new URL(issuer), machine.id, {}, authentication, {
      algorithm: 'oauth2',
      execute: [allowInsecureRequests],
    })

  for (const [way, authentication] of Object.entries({
    client_secret_basic: ClientSecretBasic(machine.secret),
    private_key_jwt: PrivateKeyJwt(key),
  }))
    await t.test(way, async (t) => {
      const config = await find(authentication)
      t.equal(config.serverMetadata().issuer, issuer)
      const { access_token: token, ...rest } = await clientCredentialsGrant(config, { scope: 'b' })
      t.match(rest, { token_type: 'bearer', scope: 'b' })
      t.match(claimsOf(token), { iss: issuer, sub: `client:${machine.id}` })

      const exchanged = await genericGrantRequest(config, tokenExchange, {
        ...{ subject_token: patient.accessToken as string, subject_token_type: accessTokenType },
        audience: 'appointments',
      })
      t.equal(exchanged.issued_token_type, accessTokenType)
      t.match(claimsOf(exchanged.access_token), { aud: 'appointments', act: { sub: `client:${machine.id}` } })

      for (const one of [token, exchanged.access_token]) {
        t.match(await tokenIntrospection(config, one), { active: true, client_id: machine.id })
        await tokenRevocation(config, one)
        t.strictSame(await tokenIntrospection(config, one), { active: false })
      }
      const refused = await clientCredentialsGrant(config, { scope: 'c' }).catch((error) => error)
      t.match(refused, { error: 'invalid_scope', status: 400 })
    })

  const config = await find(ClientSecretBasic('wrong'))
  const error = await clientCredentialsGrant(config).catch((error) => error)
  t.match(error, { status: 401 }, 'what it says of a wrong secret')
  t.notOk(error instanceof ResponseBodyError, 'is read from WWW-Authenticate')
})
