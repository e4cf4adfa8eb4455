import { generateKeyPairSync, sign } from 'node:crypto'
import { encodeCBOR } from '@levischuck/tiny-cbor'
import fc from 'fast-check'
import t from 'tap'
import { readAssertion } from './assertion.ts'

const keyBy = (algorithm: number) => new Uint8Array(encodeCBOR(new Map([[3, algorithm]])))
const read = (signature: Uint8Array, { algorithm = -7, flags = 5 } = {}) => {
  const authenticatorData = Buffer.concat([Buffer.alloc(32), Buffer.of(flags), Buffer.alloc(4)]).toString('base64url')
  readAssertion({ authenticatorData, signature: Buffer.from(signature).toString('base64url') }, keyBy(algorithm))
}
const { privateKey } = generateKeyPairSync('ec', { namedCurve: 'P-256' })
const good = sign('sha256', Buffer.of(1), privateKey)

t.test('every signature by ES256 is read, whatever its numbers begin with', async () => {
  fc.assert(
    fc.property(fc.uint8Array(), (bytes) => read(sign('sha256', bytes, privateKey))),
    { numRuns: 500 },
  )
})

t.test('no other form of a signature is', async (t) => {
  const integer = (...bytes: number[]) => [2, bytes.length, ...bytes]
  const sequence = (...content: number[]) => Uint8Array.of(0x30, content.length, ...content)
  t.doesNotThrow(() => read(sequence(...integer(1), ...integer(0))))
  t.doesNotThrow(() => read(sequence(...integer(0, 0x80), ...integer(0x7f))))
  const forms: Record<string, Uint8Array> = {
    nothing: Uint8Array.of(),
    'no sequence': Uint8Array.of(0x31, ...good.subarray(1)),
    'bytes after it': Uint8Array.of(...good, 0),
    'cut short': good.subarray(0, -1),
    'a long length': Uint8Array.of(0x30, 0x81, ...good.subarray(1)),
    'an indefinite length': Uint8Array.of(0x30, 0x80, ...good.subarray(2), 0, 0),
    'one integer': sequence(...integer(1)),
    'three integers': sequence(...integer(1), ...integer(1), ...integer(1)),
    'no integers': sequence(),
    'an octet string': sequence(4, 1, 1, ...integer(1)),
    'an empty integer': sequence(...integer(), ...integer(1)),
    'a negative integer': sequence(...integer(0x80), ...integer(1)),
    'a zero too many': sequence(...integer(0, 1), ...integer(1)),
    'an integer too long': sequence(...integer(...Array(34).fill(1)), ...integer(1)),
    'a length past the end': sequence(...integer(1), 2, 2, 1),
  }
  for (const [what, bytes] of Object.entries(forms)) t.throws(() => read(bytes), { message: /not in DER/ }, what)
})

t.test('signatures by other algorithms have a form of their own', async (t) => {
  for (const algorithm of [-8, -257]) t.doesNotThrow(() => read(new Uint8Array(64), { algorithm }))
})

t.test('a key is in no assertion', async (t) => {
  t.throws(() => read(good, { flags: 0x45 }), { message: /key in it/ })
  t.doesNotThrow(() => readAssertion({ authenticatorData: '', signature: good.toString('base64url') }, keyBy(-7)))
})
