import { TOTP } from 'otpauth'
import type { Test } from 'tap'
import { openAccounts, password } from './accounts.ts'
import { type Algorithm, SoftwarePasskey } from './authenticator.ts'
import { Client } from './system.ts'

const step = 30_000

/** What an authenticator app shows for a secret, so many steps of 30 s from now. */
export const codeOf = (secret: string, steps = 0) =>
  new TOTP({ secret }).generate({ timestamp: Date.now() + steps * step })

/** Waits until the code of now is right for some seconds to come. */
export async function steadyStep(): Promise<void> {
  const left = step - (Date.now() % step)
  if (left < 6_000) await new Promise((resolve) => setTimeout(resolve, left + 20))
}

/** As openAccounts, for a page at https://app.test, with people who have factors. */
export async function openFactors(t: Test, settings: Record<string, string> = {}) {
  const system = await openAccounts(t, { RP_ID: 'app.test', ...settings })
  const { gateway, sql, call, post, register } = system
  const origin = 'https://app.test'

  /** A code is right once: whoever has none to wait for begins anew. */
  const forgetStep = (client: { id: string }) =>
    sql('UPDATE auth.totp SET last_step = 0 WHERE user_id = $1', [client.id])

  /** Adds an authenticator app. */
  async function enrolTotp(client: Client & { id: string }) {
    const { body } = await post('factors/totp', {}, client)
    await steadyStep()
    const { status, body: confirmed } = await post('factors/totp/confirm', { code: codeOf(body.secret) }, client)
    if (status !== 200) throw new Error(`confirming returned ${status} ${JSON.stringify(confirmed)}`)
    await forgetStep(client)
    return { secret: body.secret as string, recoveryCodes: confirmed.recoveryCodes as string[] | undefined }
  }

  /** Adds a passkey. */
  async function enrolPasskey(client: Client & { id: string }, kind: { algorithm?: Algorithm; synced?: boolean } = {}) {
    const passkey = new SoftwarePasskey(origin, kind)
    const { body } = await post('factors/passkeys/options', {}, client)
    const credential = passkey.create(body.options)
    const { status, body: added } = await post(
      'factors/passkeys',
      { challengeId: body.challengeId, credential },
      client,
    )
    if (status !== 201) throw new Error(`adding returned ${status} ${JSON.stringify(added)}`)
    return { passkey, recoveryCodes: added.recoveryCodes as string[] | undefined }
  }

  /** Signs in with the password, and returns what is asked for then. */
  async function beginLogin(email: string, client = new Client(gateway), typed = password) {
    const { status, body } = await post('login', { email, password: typed }, client)
    if (status !== 401 || body.code !== 'SECOND_FACTOR_REQUIRED')
      throw new Error(`login returned ${status} ${JSON.stringify(body)}`)
    return { client, challenge: body.challenge as string, methods: body.methods as string[], options: body.options }
  }

  /** Signs in with a passkey alone. */
  async function loginWithPasskey(passkey: SoftwarePasskey, client = new Client(gateway)) {
    const { body } = await post('login/passkey/options', {}, client)
    return post('login/passkey', { challengeId: body.challengeId, credential: passkey.get(body.options) }, client)
  }

  /** Lets a session look as if nobody had proved anything in it for as long as this. */
  const age = (client: { id: string }, interval = '6 minutes') =>
    sql('UPDATE auth.sessions SET authenticated_at = now() - $2::interval WHERE user_id = $1', [client.id, interval])

  /** A person with an authenticator app. */
  async function registerWithTotp(email: string) {
    const client = await register(email)
    return { client, ...(await enrolTotp(client)) }
  }

  return {
    ...{ ...system, origin, call, forgetStep, enrolTotp, enrolPasskey, beginLogin, loginWithPasskey, age },
    registerWithTotp,
  }
}
