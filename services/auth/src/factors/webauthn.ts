import { randomBytes } from 'node:crypto'
import { Problem } from '@sallyport/chassis'
import type { Passkey } from '@sallyport/database'
import type {
  PublicKeyCredentialCreationOptionsJSON,
  PublicKeyCredentialRequestOptionsJSON,
  VerifyAuthenticationResponseOpts,
} from '@simplewebauthn/server'
import Type, { type Static } from 'typebox'
import { readAssertion } from './assertion.ts'
import { readAttestation } from './attestation.ts'
import { readClientData } from './client-data.ts'
import type { RelyingParty } from './relying-party.ts'

/** It brings a reader of certificates, which takes a start as long as Fastify does: loaded with the first passkey. */
const load = () => import('@simplewebauthn/server')

/** ES256, RS256 (Windows Hello) and EdDSA, by their COSE numbers. */
const algorithms = [-7, -257, -8]

/** Milliseconds that a browser gives the user. What is signed later than a challenge lasts is refused anyway. */
const timeout = 300_000

const Base64Url = (maxLength: number) => Type.String({ pattern: '^[A-Za-z0-9_-]+$', maxLength })
const shared = { id: Base64Url(1_364), rawId: Base64Url(1_364), type: Type.Literal('public-key') }

/** What `PublicKeyCredential.toJSON()` gives after a passkey was used, as far as it is looked at. */
export const Assertion = Type.Object({
  ...shared,
  response: Type.Object({
    clientDataJSON: Base64Url(4_096),
    authenticatorData: Base64Url(4_096),
    signature: Base64Url(4_096),
    userHandle: Type.Optional(Type.Union([Base64Url(88), Type.Null()])),
  }),
})
export type Assertion = Static<typeof Assertion>

/** The same after one was made. */
export const Attestation = Type.Object({
  ...shared,
  response: Type.Object({
    clientDataJSON: Base64Url(4_096),
    attestationObject: Base64Url(8_192),
    transports: Type.Optional(Type.Array(Type.String({ pattern: '^[a-z-]{1,32}$' }), { maxItems: 10 })),
  }),
})
export type Attestation = Static<typeof Attestation>

/** 256 random bits for a passkey to sign, in base64url. */
export const makeWebauthnChallenge = () => randomBytes(32).toString('base64url')

const bytesOf = (challenge: string) => new Uint8Array(Buffer.from(challenge, 'base64url'))

/** What a passkey says that it is of: the user's id, which names nobody. */
const handleOf = (userId: string) => Buffer.from(userId)

interface Owner {
  id: string
  email: string
  name: string
}

type Known = Pick<Passkey, 'id' | 'transports'>

const described = (passkeys: Known[]) =>
  passkeys.map(({ id, transports }) => ({ id, ...(transports.length > 0 && { transports: transports as Transports }) }))

type Transports = NonNullable<VerifyAuthenticationResponseOpts['credential']['transports']>

/** What a browser asks an authenticator for, to make a passkey (WebAuthn Level 3 section 7.1). */
export async function creationOptions(
  { id: rpID }: RelyingParty,
  rpName: string,
  { id, email, name }: Owner,
  existing: Known[],
  challenge: string,
): Promise<PublicKeyCredentialCreationOptionsJSON> {
  const { generateRegistrationOptions } = await load()
  return generateRegistrationOptions({
    ...{ rpID, rpName, timeout },
    challenge: bytesOf(challenge),
    userID: new Uint8Array(handleOf(id)),
    userName: email,
    userDisplayName: name,
    attestationType: 'none',
    excludeCredentials: described(existing),
    authenticatorSelection: { residentKey: 'required', userVerification: 'required' },
    supportedAlgorithmIDs: algorithms,
  })
}

/** What a browser asks an authenticator for, to use a passkey: one of these, or if none are given any of the domain. */
export async function requestOptions(
  { id: rpID }: RelyingParty,
  challenge: string,
  passkeys?: Known[],
): Promise<PublicKeyCredentialRequestOptionsJSON> {
  const { generateAuthenticationOptions } = await load()
  return generateAuthenticationOptions({
    ...{ rpID, timeout },
    challenge: bytesOf(challenge),
    userVerification: 'required',
    ...(passkeys && { allowCredentials: described(passkeys) }),
  })
}

export interface NewPasskey {
  id: string
  publicKey: Uint8Array<ArrayBuffer>
  counter: number
  transports: string[]
  backupEligible: boolean
  backedUp: boolean
  /** The model of its authenticator (AAGUID). */
  model: string
}

/**
 * Checks what an authenticator made (WebAuthn Level 3 section 7.1): for this challenge, by a page of ours, with the user
 * verified. Who built the authenticator is not asked, and no attestation that would have us look at certificates is read.
 *
 * @throws 403 PASSKEY_INVALID
 */
export async function verifyCreation(
  relyingParty: RelyingParty,
  { id, rawId, type, response }: Attestation,
  challenge: string,
): Promise<NewPasskey> {
  try {
    readAttestation(response.attestationObject)
    readClientData(response.clientDataJSON)
    const { verifyRegistrationResponse } = await load()
    const { verified, registrationInfo: made } = await verifyRegistrationResponse({
      response: { id, rawId, type, response: response as never, clientExtensionResults: {} },
      ...expectedOf(relyingParty, challenge),
      supportedAlgorithmIDs: algorithms,
    })
    if (!verified) throw new Error('the attestation is not signed as it says')
    const { credential, credentialDeviceType, credentialBackedUp, aaguid } = made
    if (credential.id !== id) throw new Error('it was made under another id')
    return {
      id,
      publicKey: credential.publicKey,
      counter: credential.counter,
      transports: response.transports ?? [],
      backupEligible: credentialDeviceType === 'multiDevice',
      backedUp: credentialBackedUp,
      model: aaguid,
    }
  } catch (cause) {
    throw passkeyInvalid(cause)
  }
}

export interface Used {
  counter: number
  backedUp: boolean
  /** Whether its counter is not higher than before, as that of a copy would be. */
  regressed: boolean
}

/**
 * Checks what a passkey signed (WebAuthn Level 3 section 7.2): this challenge, for a page of ours, with the user verified.
 * A counter that went back is reported and no reason to refuse: synced passkeys have none that is of use.
 *
 * @param userId whose it has to be; if nobody knows yet, it says so itself
 * @throws 403 PASSKEY_INVALID
 */
export async function verifyUse(
  relyingParty: RelyingParty,
  { id, rawId, type, response }: Assertion,
  passkey: Passkey,
  challenge: string,
  userId: string | undefined,
): Promise<Used> {
  try {
    const { userHandle, ...rest } = response
    const says = handleOf(passkey.userId).toString('base64url')
    if (userId === undefined ? userHandle !== says : userId !== passkey.userId || (userHandle ?? says) !== says)
      throw new Error('the passkey is of another user')
    readClientData(response.clientDataJSON)
    const publicKey = new Uint8Array(passkey.publicKey)
    readAssertion(response, publicKey)
    const { verifyAuthenticationResponse } = await load()
    const { verified, authenticationInfo: used } = await verifyAuthenticationResponse({
      response: { id, rawId, type, response: rest, clientExtensionResults: {} },
      ...expectedOf(relyingParty, challenge),
      // The counter is compared below.
      credential: { id: passkey.id, publicKey, counter: 0 },
    })
    if (!verified) throw new Error('the signature is not of this passkey')
    if ((used.credentialDeviceType === 'multiDevice') !== passkey.backupEligible)
      throw new Error('whether it can be backed up never changes')
    const before = Number(passkey.counter)
    const regressed = used.newCounter <= before && (used.newCounter > 0 || before > 0)
    return { counter: used.newCounter, backedUp: used.credentialBackedUp, regressed }
  } catch (cause) {
    throw passkeyInvalid(cause)
  }
}

const expectedOf = ({ id, origins }: RelyingParty, challenge: string) => ({
  expectedChallenge: challenge,
  expectedOrigin: origins,
  expectedRPID: id,
  requireUserVerification: true,
})

export const passkeyInvalid = (cause: unknown) =>
  new Problem(403, 'PASSKEY_INVALID', 'The passkey was not accepted', {
    detail: 'Try again, or use another way to confirm that it is you.',
    cause,
  })

export const passkeyUnknown = () =>
  new Problem(403, 'PASSKEY_UNKNOWN', 'This passkey is not known here', {
    detail: 'It may have been removed from the account. Sign in another way, and delete it where it is kept.',
  })
