import { type AsymmetricKeyDetails, createPublicKey } from 'node:crypto'
import { isDeepStrictEqual } from 'node:util'
import { decodeCBOR, decodePartialCBOR } from '@levischuck/tiny-cbor'

type Cbor = ReturnType<typeof decodeCBOR>

/** COSE key parameters (RFC 9053), by the number of the algorithm: type, curve if there is one, and the same as a JWK. */
const kinds: Record<number, { kty: number; crv?: number; toJwk: (key: Map<unknown, unknown>) => object }> = {
  [-7]: { kty: 2, crv: 1, toJwk: (key) => ({ kty: 'EC', crv: 'P-256', x: text(key.get(-2)), y: text(key.get(-3)) }) },
  [-8]: { kty: 1, crv: 6, toJwk: (key) => ({ kty: 'OKP', crv: 'Ed25519', x: text(key.get(-2)) }) },
  [-257]: { kty: 3, toJwk: (key) => ({ kty: 'RSA', n: text(key.get(-1)), e: text(key.get(-2)) }) },
}

/** Where the key begins in authenticator data: after hash, flags, counter, model and the length of the id. */
const idLengthAt = 53

/**
 * Reads what is around a new passkey more strictly than what verifies it does: every byte is of it, it proves nothing of who
 * built the authenticator (certificates name addresses that would be asked), and its key is one that can be used.
 *
 * @param encoded a WebAuthn attestation object, in base64url
 * @throws Error with what is wrong
 */
export function readAttestation(encoded: string): void {
  const object = decodeCBOR(new Uint8Array(Buffer.from(encoded, 'base64url'))) as Map<string, Cbor>
  const data = Buffer.from(object.get('authData') as Uint8Array)
  const idLength = data.readUInt16BE(idLengthAt)
  if (idLength < 16 || idLength > 1_023) throw new Error(`its id has ${idLength} bytes`)
  // A copy: of a part of a buffer, the whole would be read.
  const rest = new Uint8Array(data.subarray(idLengthAt + 2 + idLength))
  const algorithm = readUsableKey(rest, (data[32] as number) >= 0x80)
  requireUncertified(object.get('fmt'), object.get('attStmt'), algorithm)
}

/** @param algorithm of the key, by which it attests itself, if it does */
function requireUncertified(format: Cbor | undefined, statement: Cbor | undefined, algorithm: number): void {
  if (!(statement instanceof Map)) throw new Error('it has no attestation statement')
  const isSelf =
    format === 'packed' && !statement.has('x5c') && !statement.has('ecdaaKeyId') && statement.get('alg') === algorithm
  if (format !== 'none' && !isSelf) throw new Error(`attestation ${format} was not asked for`)
}

/**
 * @param hasMore whether extensions follow the key
 * @returns its algorithm
 */
function readUsableKey(bytes: Uint8Array, hasMore: boolean): number {
  const key = (hasMore ? decodePartialCBOR(bytes, 0)[0] : decodeCBOR(bytes)) as Map<unknown, unknown>
  const algorithm = key.get(3) as number
  const kind = kinds[algorithm]
  if (!kind || key.get(1) !== kind.kty || (kind.crv !== undefined && key.get(-1) !== kind.crv))
    throw new Error('its key is of another kind than it says')
  const jwk = kind.toJwk(key)
  // Beside its algorithm, a key has what it needs, each part in its shortest form.
  const publicKey = createPublicKey({ key: jwk as never, format: 'jwk' })
  if (key.size !== Object.keys(jwk).length + 1 || !isDeepStrictEqual(publicKey.export({ format: 'jwk' }), jwk))
    throw new Error('its key is written otherwise than it should be')
  const { modulusLength = 2_048, publicExponent = 65_537n } = publicKey.asymmetricKeyDetails as AsymmetricKeyDetails
  if (modulusLength < 2_048 || modulusLength > 4_096) throw new Error(`its key has ${modulusLength} bits`)
  if (publicExponent !== 65_537n) throw new Error(`its key has the exponent ${publicExponent}`)
  return algorithm
}

const text = (bytes: unknown) => Buffer.from(bytes as Uint8Array).toString('base64url')
