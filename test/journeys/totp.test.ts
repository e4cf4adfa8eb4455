import t from 'tap'
import { codeOf, openFactors, steadyStep } from '../support/factors.ts'
import { Client, claimsOf } from '../support/system.ts'

t.test('an authenticator app', async (t) => {
  const system = await openFactors(t)
  const { gateway, post, call, register, registerWithTotp, beginLogin, forgetStep } = system
  await t.test('is added', async (t) => {
    const { client, secret, recoveryCodes } = await registerWithTotp('first@example.com')
    t.equal(recoveryCodes?.length, 10)
    t.match((await call('GET', 'factors', undefined, client)).body, { totp: true, passkeys: [], recoveryCodesLeft: 10 })
    const { challenge, methods } = await beginLogin('first@example.com')
    t.strictSame(methods, ['totp', 'recovery_code'])
    const other = new Client(gateway)
    const done = await post('login/second-factor', { challenge, code: codeOf(secret) }, other)
    t.strictSame(done, { ...done, status: 200 })
    t.match(claimsOf(other.accessToken as string), { acr: 'aal2', amr: ['pwd', 'otp', 'mfa'] })
  })
  await t.test('passkey', async (t) => {
    const client = await register('pass@example.com')
    const { passkey, recoveryCodes } = await system.enrolPasskey(client)
    t.equal(recoveryCodes?.length, 10)
    const done = await system.loginWithPasskey(passkey)
    t.strictSame(done, { ...done, status: 200 })
    t.match(claimsOf(done.body.accessToken), { acr: 'aal2', amr: ['hwk', 'user', 'mfa'] })
  })
})
