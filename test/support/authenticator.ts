import { createHash, generateKeyPairSync, type KeyObject, randomBytes, sign } from 'node:crypto'
import { type CBORType, encodeCBOR } from '@levischuck/tiny-cbor'

/** What it does otherwise than a good authenticator and browser do. What is signed is bent before that, unless it says so. */
export interface Bent {
  flags?: number
  counter?: number
  origin?: string
  rpId?: string
  type?: string
  challenge?: string
  userHandle?: string | null
  /** Members that the client data has beside its own. */
  clientData?: object
  /** The client data as text, in place of all of that. */
  clientDataText?: string
  authenticatorData?: (bytes: Buffer) => Buffer
  attestation?: (object: Map<string, CBORType>) => Map<string, CBORType>
  attestationObject?: (bytes: Buffer) => Buffer
  coseKey?: (key: Map<number, CBORType>) => Map<number, CBORType> | Buffer
  /** After it was signed. */
  signature?: (bytes: Buffer) => Buffer
  sent?: (credential: Sent) => unknown
}

type Options = {
  challenge: string
  rp?: { id?: string }
  rpId?: string
  user?: { id: string }
  // biome-ignore lint/suspicious/noExplicitAny: as JSON has it
  [more: string]: any
}

export interface Sent {
  id: string
  rawId: string
  type: string
  clientExtensionResults: object
  response: Record<string, unknown>
}

export type Algorithm = 'ES256' | 'RS256' | 'EdDSA'

/** User present, verified; eligible for backup, and backed up; with a key, with extensions. */
export const flag = { up: 1, uv: 4, be: 8, bs: 16, at: 64, ed: 128 }

const b64 = (bytes: Uint8Array | string) => Buffer.from(bytes).toString('base64url')
const sha256 = (bytes: Uint8Array | string) => createHash('sha256').update(bytes).digest()

/**
 * One passkey in an authenticator and the browser before it (WebAuthn Level 3), by our own hands, so that anything can be
 * wrong with what they answer.
 */
export class SoftwarePasskey {
  readonly id: Buffer
  readonly origin: string
  readonly algorithm: Algorithm
  readonly #keys: { publicKey: KeyObject; privateKey: KeyObject }
  /** What it says of itself. */
  flags: number
  counter = 0
  model = Buffer.alloc(16)
  userHandle: string | undefined

  constructor(
    origin: string,
    { algorithm = 'ES256', synced = false }: { algorithm?: Algorithm; synced?: boolean } = {},
  ) {
    this.id = randomBytes(32)
    this.origin = origin
    this.algorithm = algorithm
    this.#keys = makeKeys(algorithm)
    this.flags = flag.up | flag.uv | (synced ? flag.be | flag.bs : 0)
  }

  get credentialId(): string {
    return b64(this.id)
  }

  /** What `navigator.credentials.create` gives for options. */
  create(options: Options, bent: Bent = {}): Sent {
    this.userHandle = options.user?.id
    const clientDataJSON = this.#clientData('webauthn.create', options, bent)
    const key = bent.coseKey ? bent.coseKey(this.coseKey()) : this.coseKey()
    const keyBytes = Buffer.isBuffer(key) ? key : Buffer.from(encodeCBOR(key))
    const length = Buffer.alloc(2)
    length.writeUInt16BE(this.id.length)
    const own = this.#authenticatorData(bent.rpId ?? options.rp?.id ?? '', bent, flag.at)
    const data = Buffer.concat([own, this.model, length, this.id, keyBytes])
    const authData = bent.authenticatorData?.(data) ?? data
    const usual = new Map<string, CBORType>([
      ['fmt', 'none'],
      ['attStmt', new Map<string, CBORType>()],
      ['authData', new Uint8Array(authData)],
    ])
    const object = Buffer.from(encodeCBOR(bent.attestation?.(usual) ?? usual))
    const attestationObject = bent.attestationObject?.(object) ?? object
    return this.#sent(
      { clientDataJSON, attestationObject: b64(attestationObject), transports: ['internal', 'hybrid'] },
      bent,
    )
  }

  /** What `navigator.credentials.get` gives for options. */
  get(options: Options, bent: Bent = {}): Sent {
    const clientDataJSON = this.#clientData('webauthn.get', options, bent)
    const own = this.#authenticatorData(bent.rpId ?? options.rpId ?? '', bent)
    const authenticatorData = bent.authenticatorData?.(own) ?? own
    const signed = Buffer.concat([authenticatorData, sha256(Buffer.from(clientDataJSON, 'base64url'))])
    const signature = this.sign(signed)
    const userHandle = bent.userHandle === undefined ? this.userHandle : bent.userHandle
    return this.#sent(
      {
        clientDataJSON,
        authenticatorData: b64(authenticatorData),
        signature: b64(bent.signature?.(signature) ?? signature),
        ...(userHandle !== undefined && { userHandle }),
      },
      bent,
    )
  }

  sign(bytes: Buffer): Buffer {
    return sign(this.algorithm === 'EdDSA' ? null : 'sha256', bytes, this.#keys.privateKey)
  }

  coseKey(): Map<number, CBORType> {
    const jwk = this.#keys.publicKey.export({ format: 'jwk' })
    const part = (text: string | undefined) => new Uint8Array(Buffer.from(text as string, 'base64url'))
    switch (this.algorithm) {
      case 'ES256':
        return new Map<number, CBORType>([
          [1, 2],
          [3, -7],
          [-1, 1],
          [-2, part(jwk.x)],
          [-3, part(jwk.y)],
        ])
      case 'EdDSA':
        return new Map<number, CBORType>([
          [1, 1],
          [3, -8],
          [-1, 6],
          [-2, part(jwk.x)],
        ])
      case 'RS256':
        return new Map<number, CBORType>([
          [1, 3],
          [3, -257],
          [-1, part(jwk.n)],
          [-2, part(jwk.e)],
        ])
    }
  }

  #clientData(type: string, { challenge }: Options, bent: Bent): string {
    const data = {
      type: bent.type ?? type,
      challenge: bent.challenge ?? challenge,
      origin: bent.origin ?? this.origin,
      crossOrigin: false,
      ...bent.clientData,
    }
    return b64(bent.clientDataText ?? JSON.stringify(data))
  }

  #authenticatorData(rpId: string, bent: Bent, more = 0): Buffer {
    if (bent.counter === undefined && this.counter > 0) this.counter += 1
    const counter = Buffer.alloc(4)
    counter.writeUInt32BE(bent.counter ?? this.counter)
    return Buffer.concat([sha256(rpId), Buffer.of((bent.flags ?? this.flags) | more), counter])
  }

  #sent(response: Record<string, unknown>, { sent }: Bent): Sent {
    const id = this.credentialId
    const credential = { id, rawId: id, type: 'public-key', clientExtensionResults: {}, response }
    return (sent ? sent(credential) : credential) as Sent
  }
}

function makeKeys(algorithm: Algorithm) {
  if (algorithm === 'EdDSA') return generateKeyPairSync('ed25519')
  if (algorithm === 'RS256') return generateKeyPairSync('rsa', { modulusLength: 2048 })
  return generateKeyPairSync('ec', { namedCurve: 'P-256' })
}
