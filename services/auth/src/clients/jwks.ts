import type { AsymmetricKeyDetails } from 'node:crypto'
import { type PublicKey, publicJwk, toPublicKey } from '@sallyport/identity'
import { LRUCache } from 'lru-cache'

/** A JWK Set as it is kept: public keys that signatures can be verified with, and nothing else of what came. */
export interface Jwks {
  keys: (Record<string, string> & { kid: string; alg: string })[]
}

/** The most keys of one set: one in use, those that follow and those that go. */
const mostKeys = 10

const mostRsaBits = 4_096
const largestExponent = 0xff_ff_ff_ffn

type Jwk = Parameters<typeof toPublicKey>[0] & { kid?: unknown }

/**
 * Reads a JWK Set (RFC 7517) that somebody gives us. Of each key the public members are kept, with its own `kid`, or its
 * thumbprint (RFC 7638) if it has none.
 *
 * @throws Error, with a line for who gave it, if it is none, holds a private key or one that is of no use here, or names
 *   two alike
 */
export function readJwks(value: unknown): Jwks {
  const { keys } = (value ?? {}) as { keys?: unknown }
  if (!Array.isArray(keys) || keys.length === 0) throw new Error('it is no JWK Set with a key')
  if (keys.length > mostKeys) throw new Error(`it holds more than ${mostKeys} keys`)
  const read = keys.map(readJwk)
  if (new Set(read.map(({ kid }) => kid)).size < read.length) throw new Error('two of its keys have the same kid')
  return { keys: read }
}

/**
 * The same for a set that is published for others too: a key that is of no use here is passed over (RFC 7517 section 5), and
 * one that should not have been published is not.
 *
 * @throws Error as `readJwks`, also if none is left
 */
export function readPublishedJwks(value: unknown): Jwks {
  const { keys } = (value ?? {}) as { keys?: unknown }
  if (!Array.isArray(keys)) return readJwks(value)
  return readJwks({ keys: keys.filter((key) => isObject(key) && (isPrivate(key) || toPublicKey(key) !== undefined)) })
}

/** Members of keys that are no public ones (RFC 7518 section 6). */
const secretMembers = ['d', 'p', 'q', 'dp', 'dq', 'qi', 'oth', 'k']

const isObject = (value: unknown): value is Jwk => typeof value === 'object' && value !== null && !Array.isArray(value)

const isPrivate = (jwk: Jwk) => secretMembers.some((member) => member in jwk)

function readJwk(jwk: unknown): Jwks['keys'][number] {
  if (!isObject(jwk)) throw new Error('one of its keys is no JWK')
  if (isPrivate(jwk))
    throw new Error('one of its keys is private: keep it to yourself, make another, and give the public one')
  const key = toPublicKey(jwk)
  if (!key) throw new Error('one of its keys is for no signature: EC P-256, Ed25519, or RSA of at least 2048 bits')
  // Whoever sends an assertion without a kid has every key tried; with such a one that would take a hundred times as long.
  const { modulusLength = 0, publicExponent = 0n } = key.key.asymmetricKeyDetails as AsymmetricKeyDetails
  if (modulusLength > mostRsaBits || publicExponent > largestExponent)
    throw new Error(`one of its keys is an RSA key of more than ${mostRsaBits} bits, or with too large an exponent`)
  const { kid = publicJwk(key.key).kid } = jwk
  if (typeof kid !== 'string' || !/^[\x21-\x7e]{1,128}$/.test(kid))
    throw new Error('the kid of one of its keys is no text in ASCII of at most 128 characters')
  return { ...publicJwk(key.key), kid, alg: key.algorithm }
}

/** By all that they say: to import a key takes as long as to check a signature with it. */
const imported = new LRUCache<string, PublicKey>({ max: 1_000 })

/** The keys of a set by which a message may be signed that names this one, or none. */
export function keysFor({ keys }: Jwks, kid: string | undefined): PublicKey[] {
  return keys.filter((key) => kid === undefined || key.kid === kid).flatMap((jwk) => importKey(jwk) ?? [])
}

function importKey(jwk: Jwks['keys'][number]): PublicKey | undefined {
  const name = JSON.stringify(jwk)
  const key = imported.get(name) ?? toPublicKey(jwk)
  if (key) imported.set(name, key)
  return key
}
