import type { Test } from 'tap'
import { type Sent, SoftwarePasskey } from './authenticator.ts'

interface Ceremony<Options> {
  publicKey: Options & { challenge: ArrayBuffer }
  signal: AbortSignal
  mediation?: string
}

interface Descriptor {
  id: ArrayBuffer
}

type Create = Ceremony<{ rp: { id: string }; user: { id: ArrayBuffer }; excludeCredentials?: Descriptor[] }>
type Get = Ceremony<{ rpId?: string; allowCredentials?: Descriptor[] }>

interface Unknown {
  rpId: string
  credentialId: string
}

interface Accepted {
  rpId: string
  userId: string
  allAcceptedCredentialIds: string[]
}

export interface Abilities {
  /** Whether passkeys are offered in the list of an input. */
  autofill?: boolean
  /** Whether a passkey can be made without asking; not there where the browser does not say. */
  conditionalCreate?: boolean
}

const textOf = (bytes: ArrayBuffer) => Buffer.from(bytes).toString('base64url')
const bytesOf = (text: string) => new Uint8Array(Buffer.from(text, 'base64url')).buffer

/**
 * What a page has of WebAuthn, until the test ends, since Node has none of it: a browser at this origin with an authenticator
 * of software passkeys. Both do as the specification has it (WebAuthn Level 3), also with what is signalled to them.
 */
export function openCredentials(t: Test, origin: string, { autofill = true, ...capabilities }: Abilities = {}) {
  const { hostname } = new URL(origin)
  const page = {
    passkeys: [] as SoftwarePasskey[],
    /** What the page asked for, such as `get conditional`. */
    ceremonies: [] as string[],
    /** What the page signalled, whether or not it made sense. */
    signals: [] as object[],
    /** The user, who agrees unless this throws. */
    async user(): Promise<void> {},
    makePasskey: () => new SoftwarePasskey(origin),
  }

  /** Lasts until the user has agreed, or the page ends it. */
  async function ask(kind: string, { signal, mediation }: Ceremony<object>): Promise<void> {
    page.ceremonies.push(mediation ? `${kind} ${mediation}` : kind)
    const ended = new Promise<never>((_, reject) => signal.addEventListener('abort', () => reject(signal.reason)))
    await Promise.race([page.user(), ended])
  }

  const isIn = (list: Descriptor[]) => (passkey: SoftwarePasskey) =>
    list.some(({ id }) => textOf(id) === passkey.credentialId)

  const credentials = {
    async create(ceremony: Create) {
      await ask('create', ceremony)
      const { challenge, rp, user, excludeCredentials = [] } = ceremony.publicKey
      if (page.passkeys.some(isIn(excludeCredentials))) throw new DOMException('', 'InvalidStateError')
      const passkey = page.makePasskey()
      page.passkeys.push(passkey)
      return credentialOf(passkey.create({ challenge: textOf(challenge), rp, user: { id: textOf(user.id) } }))
    },

    async get(ceremony: Get) {
      await ask('get', ceremony)
      const { challenge, rpId = hostname, allowCredentials = [] } = ceremony.publicKey
      const passkey = page.passkeys.find((one) => allowCredentials.length === 0 || isIn(allowCredentials)(one))
      if (!passkey) throw new DOMException('', 'NotAllowedError')
      return credentialOf(passkey.get({ challenge: textOf(challenge), rpId }))
    },
  }

  function hear(signal: { rpId: string }, isKept: (passkey: SoftwarePasskey) => boolean): void {
    page.signals.push(signal)
    if (signal.rpId !== hostname) throw new DOMException('', 'SecurityError')
    page.passkeys = page.passkeys.filter(isKept)
  }

  const PublicKeyCredential = Object.assign(() => {}, {
    isConditionalMediationAvailable: async () => autofill,
    getClientCapabilities: async () => capabilities,
    signalUnknownCredential: async (unknown: Unknown) =>
      hear(unknown, ({ credentialId }) => credentialId !== unknown.credentialId),
    signalAllAcceptedCredentials: async (accepted: Accepted) =>
      hear(accepted, ({ userHandle, credentialId }) => {
        return userHandle !== accepted.userId || accepted.allAcceptedCredentialIds.includes(credentialId)
      }),
  })

  const globals = { navigator: { credentials }, document: { querySelectorAll: () => [{}] }, PublicKeyCredential }
  for (const [name, value] of Object.entries(globals))
    t.intercept(globalThis, name as keyof typeof globalThis, { value })
  return page
}

function credentialOf({ id, type, response: { transports, ...parts } }: Sent) {
  const bytes = Object.entries(parts).map(([name, text]) => [name, bytesOf(text as string)])
  const response = { ...Object.fromEntries(bytes), getTransports: () => transports }
  return { id, rawId: bytesOf(id), type, response, getClientExtensionResults: () => ({}) }
}
