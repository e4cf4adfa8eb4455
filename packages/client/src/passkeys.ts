import {
  type AuthenticationResponseJSON,
  browserSupportsWebAuthn,
  browserSupportsWebAuthnAutofill,
  bufferToBase64URLString,
  getBrowserCapabilities,
  type PublicKeyCredentialRequestOptionsJSON,
  sendSignal,
  startAuthentication,
  startRegistration,
  WebAuthnAbortService,
} from '@simplewebauthn/browser'
import { AuthError } from './auth-error.ts'
import { callsOf } from './calls.ts'
import type { AuthClient } from './client.ts'
import { factorsOf, type NewFactor, type Passkey } from './factors.ts'

/**
 * Ceremonies of WebAuthn, one at a time in a page: another one ends that before. What the browser says goes into an
 * AuthError too:
 *
 * - `PASSKEY_CANCELLED`: the user has none or did not want to, it took too long, or another ceremony took its place
 * - `PASSKEY_EXISTS`: the authenticator has one of this user already
 * - `PASSKEY_FAILED`: anything else, which `cause` says
 */
export interface Passkeys {
  /** Whether this browser knows passkeys. Whether the server does, the first call says: `PASSKEYS_UNAVAILABLE`. */
  isAvailable(): boolean
  /**
   * Signs in with a passkey, and without a password. With `autofill` the browser offers them in the list of an
   * `<input autocomplete="username webauthn">`, until one is chosen, another ceremony begins or `signal` is aborted.
   *
   * @returns false if this browser has no such list, or `signal` was aborted at once; nothing has happened then
   */
  signIn(options?: { autofill?: boolean; signal?: AbortSignal }): Promise<boolean>
  /** The `credential` for `loginWithSecondFactor` or `stepUp`, of the options that came with the challenge. */
  secondFactor(options: PublicKeyCredentialRequestOptionsJSON): Promise<AuthenticationResponseJSON>
  stepUp(): Promise<void>
  /**
   * Makes a passkey for the signed-in user.
   *
   * @param options.automatic without asking, which some browsers do right after a sign-in with a password that they
   *   filled in. It never rejects: where nothing comes of it, the result is undefined
   */
  create(options: { name?: string; automatic: true }): Promise<NewPasskey | undefined>
  create(options?: { name?: string }): Promise<NewPasskey>
  /** On the server, and in the authenticator as far as the browser can reach it. */
  remove(id: string): Promise<void>
}

interface Challenge {
  challengeId: string
  options: PublicKeyCredentialRequestOptionsJSON
}

export type NewPasskey = NewFactor & { passkey: Passkey }

/** Passkeys of a browser. Apart from the rest, since it brings a library that other pages need not load. */
export function passkeysOf(client: AuthClient): Passkeys {
  const call = callsOf(client)
  const factors = factorsOf(client)
  /** Which ceremony was begun last. Its options may come later than those of the next. */
  let begun = 0

  return {
    isAvailable: browserSupportsWebAuthn,

    async signIn({ autofill = false, signal } = {}) {
      if (autofill && !(await browserSupportsWebAuthnAutofill())) return false
      if (signal?.aborted) return false
      const { challengeId, options } = await newest(call<Challenge>('POST', 'login/passkey/options', {}), signal)
      const credential = await ceremony(startAuthentication({ optionsJSON: options, useBrowserAutofill: autofill }))
      await client.loginWithPasskey({ challengeId, credential }).catch(forgetUnknown(options.rpId, credential.id))
      return true
    },

    secondFactor(options) {
      begun++
      return ceremony(startAuthentication({ optionsJSON: options }))
    },

    async stepUp() {
      const { challengeId, options } = await newest(factors.stepUpOptions())
      if (!challengeId || !options) throw new AuthError('FACTOR_MISSING', 'The user has no passkey')
      const credential = await ceremony(startAuthentication({ optionsJSON: options }))
      await client.stepUp({ challengeId, credential }).catch(forgetUnknown(options.rpId, credential.id))
    },

    create: (({ name, automatic }: { name?: string; automatic?: boolean } = {}) =>
      automatic ? createQuietly(name) : create(name, false)) as Passkeys['create'],

    async remove(id) {
      await factors.removePasskey(id)
      const { rpId, passkeys } = await factors.getFactors().catch(() => ({ rpId: null, passkeys: [] }))
      const userId = client.getSnapshot().user?.id
      if (rpId === null || userId === undefined) return
      tell({
        signalName: 'allAcceptedCredentials',
        rpID: rpId,
        userID: bufferToBase64URLString(new TextEncoder().encode(userId).buffer),
        allAcceptedCredentialIDs: passkeys.map((passkey) => passkey.id),
      })
    },
  }

  async function create(name: string | undefined, automatic: boolean): Promise<NewPasskey> {
    const { challengeId, options } = await newest(factors.passkeyOptions())
    const credential = await ceremony(startRegistration({ optionsJSON: options, useAutoRegister: automatic }))
    return factors.addPasskey({ challengeId, credential, name }).catch((error: AuthError) => {
      // Without a response of the service it may be there, and what exists is there.
      if (error.status >= 400 && error.status < 500 && error.code !== 'PASSKEY_EXISTS')
        forget(options.rp.id, credential.id)
      throw error
    })
  }

  async function createQuietly(name: string | undefined): Promise<NewPasskey | undefined> {
    try {
      const { conditionalCreate } = await getBrowserCapabilities()
      if (conditionalCreate === 'supported') return await create(name, true)
    } catch {}
    return undefined
  }

  async function newest<Options>(options: Promise<Options>, signal?: AbortSignal): Promise<Options> {
    const mine = ++begun
    signal?.addEventListener('abort', () => {
      if (begun !== mine) return
      begun++
      WebAuthnAbortService.cancelCeremony()
    })
    const given = await options
    if (begun !== mine) throw new AuthError('PASSKEY_CANCELLED', 'Another ceremony has begun')
    return given
  }
}

function ceremony<Credential>(running: Promise<Credential>): Promise<Credential> {
  return running.catch((cause: Error) => {
    if (cause.name === 'NotAllowedError' || cause.name === 'AbortError')
      throw new AuthError('PASSKEY_CANCELLED', 'No passkey was used', { cause })
    if (cause.name === 'InvalidStateError')
      throw new AuthError('PASSKEY_EXISTS', 'This authenticator has a passkey of the user already', { cause })
    throw new AuthError('PASSKEY_FAILED', 'The browser could not use a passkey', { cause })
  })
}

const forgetUnknown = (rpId: string | undefined, id: string) => (error: AuthError) => {
  if (error.code === 'PASSKEY_UNKNOWN') forget(rpId, id)
  throw error
}

/** The server does not know it: the authenticator shall not offer it. */
function forget(rpId: string | undefined, id: string): void {
  if (rpId !== undefined) tell({ signalName: 'unknownCredential', rpID: rpId, credentialID: id })
}

/** Where the browser can. Nobody hears whether an authenticator did as it was told. */
function tell(news: Parameters<typeof sendSignal>[0]): void {
  void sendSignal(news).catch(() => {})
}
