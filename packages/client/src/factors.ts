import type {
  PublicKeyCredentialCreationOptionsJSON,
  PublicKeyCredentialRequestOptionsJSON,
  RegistrationResponseJSON,
} from '@simplewebauthn/browser'
import type { Factor } from './auth-error.ts'
import { callsOf } from './calls.ts'
import type { AuthClient } from './client.ts'

export interface Passkey {
  /** The credential's id, as base64url. */
  id: string
  name: string
  /** As JSON has a date. */
  createdAt: string
  lastUsedAt: string | null
  /** Whether it is synced, and so outlives the device. */
  backedUp: boolean
}

/** What the user can sign in with beside the password. */
export interface FactorsState {
  totp: boolean
  passkeys: Passkey[]
  recoveryCodesLeft: number
  /** Whose passkeys they are, a domain; null if the server takes none. */
  rpId: string | null
}

export interface TotpSecret {
  /** In base32, for people who type it. */
  secret: string
  uri: string
  /** `uri` as a QR code: an SVG. */
  qr: string
}

export interface NewFactor {
  /** With the first factor. They are shown this once. */
  recoveryCodes?: string[]
}

export interface StepUpOptions {
  methods: ('password' | Factor)[]
  /** Both for a passkey, if it is one of the methods. */
  challengeId?: string
  options?: PublicKeyCredentialRequestOptionsJSON
}

/**
 * Each rejects with an AuthError, whose codes are those of docs/api.md, and `NETWORK` and `ANSWER_INVALID`. All that
 * changes something may need a step-up: `STEP_UP_REQUIRED`.
 */
export interface Factors {
  getFactors(): Promise<FactorsState>
  /** Begins to set up an authenticator app; `confirmTotp` within 10 minutes ends it. */
  startTotp(): Promise<TotpSecret>
  /** `CODE_WRONG`, `CHALLENGE_INVALID`. */
  confirmTotp(confirmation: { code: string }): Promise<NewFactor>
  removeTotp(): Promise<void>
  /** For the browser's ceremony, as `passkeysOf` holds it. `PASSKEYS_UNAVAILABLE`, `FACTOR_LIMIT`. */
  passkeyOptions(): Promise<{ challengeId: string; options: PublicKeyCredentialCreationOptionsJSON }>
  /** `PASSKEY_INVALID`, `PASSKEY_EXISTS`, `CHALLENGE_INVALID`. */
  addPasskey(passkey: {
    challengeId: string
    credential: RegistrationResponseJSON
    name?: string | undefined
  }): Promise<NewFactor & { passkey: Passkey }>
  renamePasskey(id: string, change: { name: string }): Promise<Passkey>
  /** Leaves it in the authenticator, where `remove` of `passkeysOf` has the browser take it away. */
  removePasskey(id: string): Promise<void>
  /** Ten, in place of those before. `FACTOR_MISSING`. */
  createRecoveryCodes(): Promise<{ recoveryCodes: string[] }>
  /** How a step-up is possible now. */
  stepUpOptions(): Promise<StepUpOptions>
}

/** Calls about what users sign in with. Apart from the client, so that a page without them does not load them. */
export function factorsOf(client: AuthClient): Factors {
  const call = callsOf(client)
  const passkeyPath = (id: string) => `factors/passkeys/${encodeURIComponent(id)}`
  return {
    getFactors: () => call('GET', 'factors'),
    startTotp: () => call('POST', 'factors/totp', {}),
    confirmTotp: (confirmation) => raised(call('POST', 'factors/totp/confirm', confirmation)),
    removeTotp: () => call('DELETE', 'factors/totp'),
    passkeyOptions: () => call('POST', 'factors/passkeys/options', {}),
    addPasskey: (passkey) => raised(call('POST', 'factors/passkeys', passkey)),
    renamePasskey: (id, change) => call('PATCH', passkeyPath(id), change),
    removePasskey: (id) => call('DELETE', passkeyPath(id)),
    createRecoveryCodes: () => call('POST', 'factors/recovery-codes', {}),
    stepUpOptions: () => call('POST', 'step-up/options', {}),
  }

  /** The session has a higher level now, and the next token says so. */
  async function raised<Content>(change: Promise<Content>): Promise<Content> {
    const content = await change
    await client.refresh().catch(() => {})
    return content
  }
}
