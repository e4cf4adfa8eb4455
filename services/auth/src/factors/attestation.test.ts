import { generateKeyPairSync, type KeyObject } from 'node:crypto'
import { type CBORType, encodeCBOR } from '@levischuck/tiny-cbor'
import fc from 'fast-check'
import t, { type Test } from 'tap'
import { readAttestation } from './attestation.ts'

type Key = Map<number, CBORType>
const part = (text: string | undefined) => new Uint8Array(Buffer.from(text as string, 'base64url'))
const jwkOf = ({ publicKey }: { publicKey: KeyObject }) => publicKey.export({ format: 'jwk' })
const ec = jwkOf(generateKeyPairSync('ec', { namedCurve: 'P-256' }))
const okp = jwkOf(generateKeyPairSync('ed25519'))
const rsa = jwkOf(generateKeyPairSync('rsa', { modulusLength: 2048 }))
const map = (...parts: [number, CBORType][]): Key => new Map(parts)
const keys = {
  ES256: map([1, 2], [3, -7], [-1, 1], [-2, part(ec.x)], [-3, part(ec.y)]),
  EdDSA: map([1, 1], [3, -8], [-1, 6], [-2, part(okp.x)]),
  RS256: map([1, 3], [3, -257], [-1, part(rsa.n)], [-2, part(rsa.e)]),
}
const { ES256 } = keys

interface Made {
  key?: Key
  id?: Uint8Array
  extensions?: CBORType
  fmt?: CBORType
  attStmt?: CBORType
}

function encode({ key = ES256, id = new Uint8Array(32), extensions, fmt = 'none', attStmt = new Map() }: Made) {
  const head = Buffer.alloc(55)
  head[32] = extensions === undefined ? 0x45 : 0xc5
  head.writeUInt16BE(id.length, 53)
  const more = extensions === undefined ? new Uint8Array() : encodeCBOR(extensions)
  const authData = new Uint8Array(Buffer.concat([head, id, encodeCBOR(key), more]))
  return Buffer.from(encodeCBOR(new Map<string, CBORType>(Object.entries({ fmt, attStmt, authData }))))
}
const read = (made: Made) => readAttestation(encode(made).toString('base64url'))
const refuses = (t: Test, made: Made, message: RegExp) => t.throws(() => read(made), { message }, message.source)
const changed = (key: Key, name: number, value: CBORType) => new Map(key).set(name, value)

t.test('a new passkey by each algorithm is read, without an attestation or with one by itself', async (t) => {
  for (const [algorithm, key] of Object.entries(keys)) {
    const attStmt = new Map<string, CBORType>([
      ['alg', key.get(3) as number],
      ['sig', new Uint8Array(64)],
    ])
    t.doesNotThrow(() => read({ key }), algorithm)
    t.doesNotThrow(() => read({ key, extensions: new Map([['credProtect', 2]]) }), algorithm)
    t.doesNotThrow(() => read({ key, fmt: 'packed', attStmt }), algorithm)
  }
  for (const length of [16, 1_023]) t.doesNotThrow(() => read({ id: new Uint8Array(length) }))
})

t.test('an attestation by somebody else is refused', async (t) => {
  const statement = (...members: [string, CBORType][]) => new Map<string, CBORType>([['alg', -7], ...members])
  for (const fmt of ['tpm', 'apple', 'android-key', 'fido-u2f', '', 7, ['none']])
    refuses(t, { fmt, attStmt: statement() }, /was not asked for/)
  refuses(t, { fmt: 'packed', attStmt: statement(['x5c', []]) }, /was not asked for/)
  refuses(t, { fmt: 'packed', attStmt: statement(['ecdaaKeyId', new Uint8Array()]) }, /was not asked for/)
  refuses(t, { fmt: 'packed', attStmt: statement(['alg', -257]) }, /was not asked for/)
  for (const attStmt of [[], null, 'none', 0]) refuses(t, { attStmt }, /no attestation statement/)
})

t.test('ids have 16 to 1,023 bytes', async (t) => {
  for (const length of [0, 15, 1_024]) refuses(t, { id: new Uint8Array(length) }, /its id has/)
})

t.test('a key is of the kind that it says, and can be used', async (t) => {
  for (const key of Object.values(keys)) {
    for (const [name, value] of [
      [1, 4],
      [3, -35],
      [3, 'ES256'],
    ] as const)
      refuses(t, { key: changed(key, name, value) }, /of another kind/)
    refuses(t, { key: changed(key, -70, 0) }, /written otherwise/)
  }
  refuses(t, { key: changed(ES256, -1, 2) }, /of another kind/)
  refuses(t, { key: changed(keys.EdDSA, -1, 7) }, /of another kind/)
  refuses(t, { key: changed(ES256, -2, new Uint8Array([0, ...part(ec.x)])) }, /written otherwise/)
  refuses(t, { key: changed(ES256, -3, new Uint8Array(32)) }, /./)
  const modulus = (bits: number) => changed(keys.RS256, -1, new Uint8Array(bits / 8).fill(255))
  refuses(t, { key: modulus(1_024) }, /1024 bits/)
  refuses(t, { key: modulus(8_192) }, /8192 bits/)
  refuses(t, { key: changed(keys.RS256, -2, new Uint8Array([3])) }, /exponent 3/)
})

t.test('what was cut, or is anything else, is refused by an error', async (t) => {
  const whole = encode({})
  for (let length = 0; length < whole.length; length++)
    t.throws(() => readAttestation(whole.subarray(0, length).toString('base64url')), `${length} bytes`)
  t.throws(() => readAttestation(Buffer.concat([whole, Buffer.of(0)]).toString('base64url')))
  fc.assert(
    fc.property(fc.uint8Array({ maxLength: 300 }), (bytes) => {
      try {
        readAttestation(Buffer.from(bytes).toString('base64url'))
        return false
      } catch (error) {
        return error instanceof Error
      }
    }),
  )
})
