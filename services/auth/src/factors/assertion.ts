import { decodeCBOR } from '@levischuck/tiny-cbor'

/** The flag of authenticator data that says that there is a key in it. */
const attested = 0x40

/** The parts of a P-256 signature have 32 bytes at most, and a zero before them where the first bit is set. */
const longestPart = 33

/**
 * Reads what a passkey signed more strictly than what verifies it does: there is no key in it, which only a new passkey
 * gives (WebAuthn Level 3 section 6.1), and its signature is written as it alone may be.
 *
 * @param response in base64url
 * @param publicKey of the passkey, as a COSE key
 * @throws Error with what is wrong
 */
export function readAssertion(
  { authenticatorData, signature }: { authenticatorData: string; signature: string },
  publicKey: Uint8Array<ArrayBuffer>,
): void {
  const [flags = 0] = Buffer.from(authenticatorData, 'base64url').subarray(32)
  if (flags & attested) throw new Error('there is a key in it')
  const algorithm = (decodeCBOR(publicKey) as Map<number, unknown>).get(3)
  if (algorithm === -7) requireDer(Buffer.from(signature, 'base64url'))
}

/** An ECDSA signature in DER (X.690 section 10), which has no two forms, and nothing after it. */
function requireDer(signature: Buffer): void {
  const isWhole = signature[0] === 0x30 && signature[1] === signature.length - 2
  if (!isWhole || endOfInteger(signature, endOfInteger(signature, 2)) !== signature.length) throw notDer()
}

/** @returns where the integer ends that begins there, which is positive and has no zero too many */
function endOfInteger(bytes: Buffer, at: number): number {
  const [tag, length = 0, first = 0, second = 0] = bytes.subarray(at)
  const isPadded = first === 0 && length > 1 && second < 0x80
  if (tag !== 2 || length < 1 || length > longestPart || first >= 0x80 || isPadded) throw notDer()
  return at + 2 + length
}

const notDer = () => new Error('its signature is not in DER')
