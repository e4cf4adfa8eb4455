import { execFileSync } from 'node:child_process'
import { createHash, generateKeyPairSync, randomBytes, randomUUID } from 'node:crypto'
import { createServer } from 'node:http'
import type { AddressInfo } from 'node:net'
import { type CBORType, decodeCBOR, encodeCBOR } from '@levischuck/tiny-cbor'
import t from 'tap'
import { otherPassword, password } from '../support/accounts.ts'
import { type Bent, flag, type Sent, SoftwarePasskey } from '../support/authenticator.ts'
import { openFactors } from '../support/factors.ts'
import { Client, type ClientResponse } from '../support/system.ts'

type Options = Parameters<SoftwarePasskey['get']>[0]
type Cbor = Map<string | number, CBORType>
/** What is wrong with an answer; of a passkey, where it takes its own to be wrong. */
type Kinds = Record<string, Bent | ((passkey: SoftwarePasskey, options: Options) => Bent)>

const bytesOf = (text: unknown) => Buffer.from(text as string, 'base64url')
const b64 = (bytes: Uint8Array | string) => Buffer.from(bytes).toString('base64url')
const sha256 = (bytes: Uint8Array) => createHash('sha256').update(bytes).digest()
const present = flag.up | flag.uv

const sent = (change: (credential: Sent) => unknown): Bent => ({ sent: change })
/** With other members of its response, after it was signed. */
const respond = (change: (response: Record<string, string>) => object) =>
  sent((credential) => ({
    ...credential,
    response: { ...credential.response, ...change(credential.response as Record<string, string>) },
  }))
const rebytes = (field: string, change: (bytes: Buffer) => Uint8Array) =>
  respond((response) => ({ [field]: b64(change(bytesOf(response[field]))) }))
const flip = (bytes: Buffer, bit: number) => {
  const flipped = Buffer.from(bytes)
  flipped[bit >> 3] = (bytes[bit >> 3] as number) ^ (1 << (bit & 7))
  return flipped
}

const client = (type: string, origin: string, { challenge }: Options, more = '', before = '') =>
  `{${before}"type":"${type}","challenge":"${challenge}","origin":"${origin}","crossOrigin":false${more}}`

/** What is wrong with what browsers say, at whichever ceremony. */
const clientData = (type: string, other: string): Kinds => ({
  ...Object.fromEntries(
    [
      'https://evil.test',
      'https://sub.app.test',
      'https://test',
      'https://app.test:8443',
      'http://app.test',
      'https://app.test/',
      'https://app.test.',
      'https://APP.test',
      'https://app.test@evil.test',
      'null',
      '',
      'android:apk-key-hash:aaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaa',
    ].map((origin) => [`origin '${origin}'`, { origin }]),
  ),
  'no origin': { clientData: { origin: undefined } },
  'an array with the origin': { clientData: { origin: ['https://app.test'] } },
  ...Object.fromEntries(
    [other, 'payment.get', '', type.toUpperCase(), `${type}\0`].map((type) => [`type '${type}'`, { type }]),
  ),
  'no type': { clientData: { type: undefined } },
  'another challenge': { challenge: b64(randomBytes(32)) },
  'an empty challenge': { challenge: '' },
  'no challenge': { clientData: { challenge: undefined } },
  'the challenge with padding': (_, { challenge }) => ({ challenge: `${challenge}=` }),
  'the challenge in standard base64': (_, { challenge }) => ({ challenge: bytesOf(challenge).toString('base64') }),
  'the challenge in hexadecimal': (_, { challenge }) => ({ challenge: bytesOf(challenge).toString('hex') }),
  'the challenge cut short': (_, { challenge }) => ({ challenge: challenge.slice(0, -1) }),
  'in a frame of another site': { clientData: { crossOrigin: true } },
  'crossOrigin that is no boolean': { clientData: { crossOrigin: 'false' } },
  'crossOrigin null': { clientData: { crossOrigin: null } },
  'a topOrigin': { clientData: { topOrigin: 'https://app.test' } },
  'a topOrigin and crossOrigin': { clientData: { crossOrigin: true, topOrigin: 'https://app.test' } },
  'an empty topOrigin': { clientData: { topOrigin: '' } },
  'a token binding of no kind': { clientData: { tokenBinding: 'present' } },
  'a token binding of an unknown status': { clientData: { tokenBinding: { status: 'perhaps' } } },
  ...Object.fromEntries(
    ['no JSON', 'null', '[]', '1', '""', '{}', '{', 'true'].map((text) => [
      `client data that is ${text}`,
      { clientDataText: text },
    ]),
  ),
  'client data with a member twice, the last one wrong': (_, options) => ({
    clientDataText: client(type, 'https://app.test', options, ',"origin":"https://evil.test"'),
  }),
  'client data with a member twice, the first one wrong': (_, options) => ({
    clientDataText: client(type, 'https://app.test', options, '', '"origin":"https://evil.test",'),
  }),
  'client data with a member twice, once escaped': (_, options) => ({
    clientDataText: client(type, 'https://app.test', options, '', '"\\u006frigin":"https://evil.test",'),
  }),
  'client data that begins with a BOM': (_, options) => ({
    clientDataText: `\ufeff${client(type, 'https://app.test', options)}`,
  }),
  'client data with bytes after it': (_, options) => ({
    clientDataText: `${client(type, 'https://app.test', options)}x`,
  }),
  'client data with a NUL after it': (_, options) => ({
    clientDataText: `${client(type, 'https://app.test', options)}\0`,
  }),
  'client data in UTF-16': (_, options) =>
    rebytes('clientDataJSON', () => Buffer.from(client(type, 'https://app.test', options), 'utf16le')),
})

/** What is wrong with the flags and the hash, at whichever ceremony. */
const flags: Kinds = {
  'a user who was not verified': { flags: flag.up },
  'a user who was not there': { flags: flag.uv },
  'neither there nor verified': { flags: 0 },
  'backed up, and never can be': { flags: present | flag.bs },
  'extensions without any': { flags: present | flag.ed },
  'of another domain': { rpId: 'evil.test' },
  'of a domain above': { rpId: 'test' },
  'of a domain below': { rpId: 'sub.app.test' },
  'of an origin': { rpId: 'https://app.test' },
  'of no domain': { rpId: '' },
}

const each = (values: Record<string, unknown>, what: string, bend: (value: unknown) => Bent): Kinds =>
  Object.fromEntries(Object.entries(values).map(([name, value]) => [`${what} ${name}`, bend(value)]))

/** What is no text in base64url of a reasonable length. */
const odd = {
  'that is empty': '',
  'that is null': null,
  'that is a number': 7,
  'that is a list': ['AAAA'],
  'that is an object': { 0: 'A' },
  'that is huge': 'A'.repeat(60_000),
  'in standard base64': '+/+/',
  'with padding': 'AAAAAA==',
  'with a line break': 'AAAA\n',
  'that is missing': undefined,
}

/** What is wrong with the JSON around it, for these members of the response. */
const shape = (fields: string[]): Kinds => ({
  ...Object.assign({}, ...fields.map((field) => each(odd, field, (value) => respond(() => ({ [field]: value }))))),
  ...each(odd, 'an id', (id) => sent((credential) => ({ ...credential, id }))),
  ...each(odd, 'a rawId', (rawId) => sent((credential) => ({ ...credential, rawId }))),
  ...each(odd, 'both ids', (id) => sent((credential) => ({ ...credential, id, rawId: id }))),
  'ids that differ': sent((credential) => ({ ...credential, rawId: b64(randomBytes(32)) })),
  'ids with bits too many': sent((credential) => {
    const id = credential.id.slice(0, -1) + String.fromCharCode(credential.id.charCodeAt(42) + 1)
    return { ...credential, id, rawId: id }
  }),
  'ids with a character too many': sent((credential) => ({
    ...credential,
    ...{ id: `${credential.id}A`, rawId: `${credential.id}A` },
  })),
  'ids with padding': sent((credential) => ({
    ...credential,
    ...{ id: `${credential.id}=`, rawId: `${credential.id}=` },
  })),
  'another type of credential': sent((credential) => ({ ...credential, type: 'password' })),
  'no type of credential': sent((credential) => ({ ...credential, type: undefined })),
  'no response': sent(({ response: _, ...rest }) => rest),
  'a response that is null': sent((credential) => ({ ...credential, response: null })),
  'a response that is a list': sent((credential) => ({ ...credential, response: [credential.response] })),
  'one level too deep': sent((credential) => ({ credential })),
  'a response one level too deep': sent((credential) => ({
    ...credential,
    response: { response: credential.response },
  })),
  'a list of one': sent((credential) => [credential]),
  'JSON in a text': sent((credential) => JSON.stringify(credential)),
  'a credential that is null': sent(() => null),
  'an empty object': sent(() => ({})),
})

const der = (...integers: Buffer[]) => {
  const content = Buffer.concat(integers.map((bytes) => Buffer.concat([Buffer.of(2, bytes.length), bytes])))
  return Buffer.concat([Buffer.of(0x30, content.length), content])
}
/** r and s of an ECDSA signature in DER. */
const parts = (signature: Buffer) => {
  const rLength = signature[3] as number
  return [signature.subarray(4, 4 + rLength), signature.subarray(6 + rLength)] as [Buffer, Buffer]
}
const signature = (change: (bytes: Buffer) => Buffer): Bent => ({ signature: change })
const order = Buffer.from('ffffffff00000000ffffffffffffffffbce6faada7179e84f3b9cac2fc632551', 'hex')

/** What is wrong with the use of a passkey by ES256. */
const uses: Kinds = {
  ...clientData('webauthn.get', 'webauthn.create'),
  ...flags,
  ...shape(['clientDataJSON', 'authenticatorData', 'signature']),
  'eligible for a backup, and was not': { flags: present | flag.be },
  'backed up, and was not': { flags: present | flag.be | flag.bs },
  'authenticator data cut short': { authenticatorData: (bytes) => bytes.subarray(0, 36) },
  'authenticator data of one byte': { authenticatorData: (bytes) => bytes.subarray(0, 1) },
  'authenticator data with bytes after it': { authenticatorData: (bytes) => Buffer.concat([bytes, Buffer.of(0)]) },
  'an attested key that is announced': { flags: present | flag.at },
  'an attested key': (passkey) => ({
    flags: present | flag.at,
    authenticatorData: (bytes) =>
      Buffer.concat([bytes, Buffer.alloc(16), Buffer.of(0, 32), passkey.id, encodeCBOR(passkey.coseKey())]),
  }),
  'an attested key that is not announced': (passkey) => ({
    authenticatorData: (bytes) => Buffer.concat([bytes, encodeCBOR(passkey.coseKey())]),
  }),
  'an attested id that points past the end': {
    flags: present | flag.at,
    authenticatorData: (bytes) => Buffer.concat([bytes, Buffer.alloc(16), Buffer.of(255, 255)]),
  },
  'extensions that are no CBOR': {
    flags: present | flag.ed,
    authenticatorData: (bytes) => Buffer.concat([bytes, Buffer.of(0xff)]),
  },
  'extensions nested deeply': {
    flags: present | flag.ed,
    authenticatorData: (bytes) => Buffer.concat([bytes, Buffer.alloc(3_000, 0x81)]),
  },
  'a counter changed after signing': rebytes('authenticatorData', (bytes) => flip(bytes, 36 * 8)),
  'flags changed after signing': rebytes('authenticatorData', (bytes) => flip(bytes, 32 * 8 + 3)),
  'a challenge changed after signing': respond(({ clientDataJSON }) => ({
    clientDataJSON: b64(bytesOf(clientDataJSON).toString().replace('}', ',"challenge":"AAAA"}')),
  })),
  'a space after signing': rebytes('clientDataJSON', (bytes) => Buffer.concat([bytes, Buffer.from(' ')])),
  'a signature cut short': signature((bytes) => bytes.subarray(0, -1)),
  'half a signature': signature((bytes) => bytes.subarray(0, 36)),
  'a signature of one byte': signature(() => Buffer.of(0)),
  'a signature of zeros': signature((bytes) => Buffer.alloc(bytes.length)),
  'a signature with bytes after it': signature((bytes) => Buffer.concat([bytes, Buffer.of(0)])),
  'a signature twice': signature((bytes) => Buffer.concat([bytes, bytes])),
  'r and s without DER': signature((bytes) =>
    Buffer.concat(parts(bytes).map((part) => Buffer.concat([Buffer.alloc(32), part]).subarray(-32))),
  ),
  'r and s of zero': signature(() => der(Buffer.of(0), Buffer.of(0))),
  'r of zero': signature((bytes) => der(Buffer.of(0), parts(bytes)[1])),
  's of zero': signature((bytes) => der(parts(bytes)[0], Buffer.of(0))),
  'r and s of the order of the curve': signature(() =>
    der(Buffer.concat([Buffer.of(0), order]), Buffer.concat([Buffer.of(0), order])),
  ),
  'r and s of nothing': signature(() => der(Buffer.alloc(0), Buffer.alloc(0))),
  'r and s swapped': signature((bytes) => der(parts(bytes)[1], parts(bytes)[0])),
  'a negative r': signature((bytes) => der(Buffer.of(0x80), parts(bytes)[1])),
  'an r with zeros before it': signature((bytes) =>
    der(Buffer.concat([Buffer.of(0), parts(bytes)[0]]), parts(bytes)[1]),
  ),
  'three integers': signature((bytes) => der(...parts(bytes), Buffer.of(1))),
  'only r': signature((bytes) => der(parts(bytes)[0])),
  'a length in the long form': signature((bytes) => Buffer.concat([Buffer.of(0x30, 0x81), bytes.subarray(1)])),
  'an indefinite length': signature((bytes) =>
    Buffer.concat([Buffer.of(0x30, 0x80), bytes.subarray(2), Buffer.of(0, 0)]),
  ),
  'a length past the end': signature((bytes) => Buffer.concat([Buffer.of(0x30, 0x7f), bytes.subarray(2)])),
  'a set in place of a sequence': signature((bytes) => Buffer.concat([Buffer.of(0x31), bytes.subarray(1)])),
  ...Object.fromEntries(
    (['ES256', 'EdDSA', 'RS256'] as const).map((algorithm) => [
      `a signature of another key, by ${algorithm}`,
      (): Bent => {
        const stranger = new SoftwarePasskey('https://app.test', { algorithm })
        return respond((response) => ({
          signature: b64(
            stranger.sign(
              Buffer.concat([bytesOf(response.authenticatorData), sha256(bytesOf(response.clientDataJSON))]),
            ),
          ),
        }))
      },
    ]),
  ),
  'the handle of nobody': { userHandle: b64(randomUUID()) },
  'a handle of one byte': { userHandle: 'AA' },
  'a handle with padding': (passkey) => ({ userHandle: `${passkey.userHandle}=` }),
  'a huge handle': { userHandle: 'A'.repeat(60_000) },
  'an empty handle': { userHandle: '' },
  'a handle that is a number': respond(() => ({ userHandle: 7 })),
}

const attest = (change: (object: Map<string, CBORType>) => Map<string, CBORType>): Bent => ({ attestation: change })
const object = (change: (bytes: Buffer) => Buffer): Bent => ({ attestationObject: change })
const key = (change: (key: Map<number, CBORType>) => Map<number, CBORType> | Buffer): Bent => ({ coseKey: change })
const withPart = (name: number, value: CBORType) => key((key) => new Map(key).set(name, value))
const statement = (fmt: string, members: [string, CBORType][]) =>
  attest((object) => new Map(object).set('fmt', fmt).set('attStmt', new Map<string, CBORType>(members)))
const part = (text: string | undefined) => new Uint8Array(bytesOf(text))
const rsaKey = (modulusLength: number, publicExponent = 65_537) => {
  const { n, e } = generateKeyPairSync('rsa', { modulusLength, publicExponent }).publicKey.export({ format: 'jwk' })
  return { n: part(n), e: part(e) }
}
const rsa = (alg: number, n: Uint8Array, e: Uint8Array) => () =>
  new Map<number, CBORType>([
    [1, 3],
    [3, alg],
    [-1, n],
    [-2, e],
  ])
const ec = (namedCurve: string, alg: number, crv: number) => () => {
  const { x, y } = generateKeyPairSync('ec', { namedCurve }).publicKey.export({ format: 'jwk' })
  return new Map<number, CBORType>([
    [1, 2],
    [3, alg],
    [-1, crv],
    [-2, part(x)],
    [-3, part(y)],
  ])
}
const { n, e } = rsaKey(2048)
const withId = (id: Buffer, declared = id.length): Bent => ({
  authenticatorData: (bytes) =>
    Buffer.concat([bytes.subarray(0, 53), Buffer.of(declared >> 8, declared & 255), id, bytes.subarray(55 + 32)]),
  sent: (credential) => ({ ...credential, id: b64(id) || 'A', rawId: b64(id) || 'A' }),
})
/** As an authenticator attests itself, by its new key (WebAuthn section 8.2). */
const selfAttested = (passkey: SoftwarePasskey, more: [string, CBORType][] = [], change = (bytes: Buffer) => bytes) =>
  respond(({ attestationObject, clientDataJSON }) => {
    const made = decodeCBOR(new Uint8Array(bytesOf(attestationObject))) as Cbor
    const data = Buffer.from(made.get('authData') as Uint8Array)
    const sig = change(passkey.sign(Buffer.concat([data, sha256(bytesOf(clientDataJSON))])))
    const members: [string, CBORType][] = [['alg', -7], ['sig', new Uint8Array(sig)], ...more]
    return { attestationObject: b64(encodeCBOR(new Map(made).set('fmt', 'packed').set('attStmt', new Map(members)))) }
  })

/** What is wrong with the making of a passkey. @param certificate that names an address */
const creations = (certificate: Uint8Array): Kinds => ({
  ...clientData('webauthn.create', 'webauthn.get'),
  ...flags,
  ...shape(['clientDataJSON', 'attestationObject']),
  ...each(
    { 'in capitals': ['USB'], 'too many': Array(11).fill('usb'), 'of no list': 'usb' },
    'transports',
    (transports) => respond(() => ({ transports })),
  ),
  'another id than the one attested': sent((credential) => {
    const id = b64(randomBytes(32))
    return { ...credential, id, rawId: id }
  }),
  'an id of no bytes': withId(Buffer.alloc(0)),
  'an id of 15 bytes': withId(randomBytes(15)),
  'an id of 1,024 bytes': withId(randomBytes(1_024)),
  'an id that points past the end': withId(randomBytes(32), 65_535),
  'an id shorter than it is': withId(randomBytes(32), 16),
  'authenticator data without a key': { authenticatorData: (bytes) => bytes.subarray(0, 37) },
  'a key that is not announced': {
    authenticatorData: (bytes) => Buffer.concat([bytes.subarray(0, 32), Buffer.of(present), bytes.subarray(33)]),
  },
  'neither key nor word of it': {
    authenticatorData: (bytes) => Buffer.concat([bytes.subarray(0, 32), Buffer.of(present), bytes.subarray(33, 37)]),
  },
  'authenticator data cut short': { authenticatorData: (bytes) => bytes.subarray(0, 36) },
  'authenticator data cut in the key': { authenticatorData: (bytes) => bytes.subarray(0, -1) },
  'authenticator data with bytes after it': { authenticatorData: (bytes) => Buffer.concat([bytes, Buffer.of(0)]) },
  'extensions that are no CBOR': {
    flags: present | flag.ed,
    authenticatorData: (bytes) => Buffer.concat([bytes, Buffer.of(0xff)]),
  },
  'an attestation object with bytes after it': object((bytes) => Buffer.concat([bytes, Buffer.of(0)])),
  'an attestation object cut short': object((bytes) => bytes.subarray(0, -1)),
  'an attestation object with a member twice': object((bytes) =>
    Buffer.concat([Buffer.of(0xa4), bytes.subarray(1), encodeCBOR('fmt'), encodeCBOR('none')]),
  ),
  'an attestation object of indefinite length': object((bytes) =>
    Buffer.concat([Buffer.of(0xbf), bytes.subarray(1), Buffer.of(0xff)]),
  ),
  'an attestation object with a tag': object((bytes) => Buffer.concat([Buffer.of(0xd9, 0xd9, 0xf7), bytes])),
  'an attestation object that says it is huge': object((bytes) =>
    Buffer.concat([Buffer.of(0xba, 0xff, 0xff, 0xff, 0xff), bytes.subarray(1)]),
  ),
  'an attestation object of more bytes than there are numbers': object(() =>
    Buffer.concat([Buffer.of(0x5b), Buffer.alloc(8, 0xff), Buffer.of(0)]),
  ),
  'an attestation object that is a list': object(() => Buffer.of(0x80)),
  'an attestation object that is a number': object(() => Buffer.of(0)),
  'an attestation object that is null': object(() => Buffer.of(0xf6)),
  'an attestation object that is empty': object(() => Buffer.of(0xa0)),
  'an attestation object nested deeply': object(() => Buffer.alloc(6_000, 0x81)),
  'tags nested deeply': object(() => Buffer.alloc(6_000, 0xc1)),
  'authenticator data that is a text': attest((object) => new Map(object).set('authData', 'a'.repeat(164))),
  'no authenticator data': attest((object) => new Map([...object].filter(([name]) => name !== 'authData'))),
  'no statement': attest((object) => new Map([...object].filter(([name]) => name !== 'attStmt'))),
  'no format': attest((object) => new Map([...object].filter(([name]) => name !== 'fmt'))),
  'a statement that is a list': attest((object) => new Map(object).set('attStmt', [])),
  'format none, and a statement': statement('none', [['sig', new Uint8Array(64)]]),
  'format none in capitals': statement('NONE', []),
  'format 7': attest((object) => new Map(object).set('fmt', 7)),
  'packed, attested by a certificate': (passkey) => selfAttested(passkey, [['x5c', [certificate]]]),
  'packed, by ECDAA': (passkey) => selfAttested(passkey, [['ecdaaKeyId', new Uint8Array(32)]]),
  'packed, and the statement is empty': statement('packed', []),
  'packed, with a wrong signature': (passkey) => selfAttested(passkey, [], (bytes) => flip(bytes, 200)),
  'packed, with no signature': (passkey) => selfAttested(passkey, [], () => Buffer.alloc(0)),
  'packed, by another algorithm': (passkey) => selfAttested(passkey, [['alg', -257]]),
  ...Object.fromEntries(
    ['tpm', 'android-key', 'android-safetynet', 'apple', 'fido-u2f', 'compound', 'made-up', ''].map((format) => [
      `format '${format}'`,
      statement(format, [
        ['alg', -7],
        ['ver', '2.0'],
        ['sig', new Uint8Array(70)],
        ['x5c', [certificate]],
        ['response', new Uint8Array(8)],
        ['certInfo', new Uint8Array(8)],
        ['pubArea', new Uint8Array(8)],
      ]),
    ]),
  ),
  'a key by ES384': key(ec('P-384', -35, 2)),
  'a key by ES512': key(ec('P-521', -36, 3)),
  'a key by ES256K': key(ec('secp256k1', -47, 8)),
  'a key by RS1': key(rsa(-65_535, n, e)),
  'a key by PS256': key(rsa(-37, n, e)),
  'a key by RS512': key(rsa(-259, n, e)),
  'a key by HMAC': key(
    () =>
      new Map<number, CBORType>([
        [1, 4],
        [3, 5],
        [-1, new Uint8Array(32)],
      ]),
  ),
  'a key by no algorithm': key((key) => new Map([...key].filter(([name]) => name !== 3))),
  'a key by algorithm 0': withPart(3, 0),
  'a key by an algorithm in words': withPart(3, 'ES256'),
  'a key whose type is in words': withPart(1, 'EC2'),
  'an EC key of type RSA': withPart(1, 3),
  'an EC key by RS256': withPart(3, -257),
  'an EC key by EdDSA': withPart(3, -8),
  'an RSA key by ES256': key(rsa(-7, n, e)),
  'a P-384 key that says P-256': key(ec('P-384', -7, 1)),
  'a P-256 key that says P-384': withPart(-1, 2),
  'a P-256 key that says no curve': withPart(-1, 0),
  'a point that is not on the curve': withPart(-3, new Uint8Array(32).fill(7)),
  'the point at infinity': key((key) => new Map(key).set(-2, new Uint8Array(32)).set(-3, new Uint8Array(32))),
  'x of 33 bytes': key((key) => new Map(key).set(-2, new Uint8Array([0, ...(key.get(-2) as Uint8Array)]))),
  'x of no bytes': withPart(-2, new Uint8Array()),
  'x that is a text': withPart(-2, 'a'.repeat(32)),
  'no x': key((key) => new Map([...key].filter(([name]) => name !== -2))),
  'no y': key((key) => new Map([...key].filter(([name]) => name !== -3))),
  'y that is a sign': withPart(-3, true),
  'an Ed25519 key of 31 bytes': key(
    () =>
      new Map<number, CBORType>([
        [1, 1],
        [3, -8],
        [-1, 6],
        [-2, new Uint8Array(31)],
      ]),
  ),
  'an Ed448 key': key(
    () =>
      new Map<number, CBORType>([
        [1, 1],
        [3, -8],
        [-1, 7],
        [-2, new Uint8Array(57)],
      ]),
  ),
  'an RSA key of 1,024 bits': key(() => rsa(-257, ...(Object.values(rsaKey(1_024)) as [Uint8Array, Uint8Array]))()),
  'an RSA key of 8,192 bits': key(rsa(-257, new Uint8Array(1_024).fill(0xff), e)),
  'an RSA key with the exponent 1': key(rsa(-257, n, new Uint8Array([1]))),
  'an RSA key with an even exponent': key(rsa(-257, n, new Uint8Array([1, 0, 0]))),
  'an RSA key without an exponent': key(
    () =>
      new Map<number, CBORType>([
        [1, 3],
        [3, -257],
        [-1, n],
      ]),
  ),
  'an RSA key of zero': key(rsa(-257, new Uint8Array(256), e)),
  'a key with a member twice': key((key) =>
    Buffer.concat([Buffer.of(0xa6), encodeCBOR(key).subarray(1), Buffer.of(3, 0x26)]),
  ),
  'a key of indefinite length': key((key) =>
    Buffer.concat([Buffer.of(0xbf), encodeCBOR(key).subarray(1), Buffer.of(0xff)]),
  ),
  'a key that is a list': key(() => Buffer.of(0x80)),
  'a key with a tag': key((key) => Buffer.concat([Buffer.of(0xc1), encodeCBOR(key)])),
  'a key with its private part beside it': withPart(-4, new Uint8Array(32)),
})

const refusals = ['PASSKEY_INVALID', 'PASSKEY_UNKNOWN', 'REQUEST_INVALID', 'BODY_TOO_LARGE']

/** A certificate for a key of its own, which names an address where it is said to be listed if it was revoked. */
function certificateThatNames(address: string): Uint8Array {
  const args = [
    'req',
    '-x509',
    '-newkey',
    'ec',
    '-pkeyopt',
    'ec_paramgen_curve:P-256',
    '-nodes',
    '-keyout',
    '/dev/null',
  ]
  const subject = '/C=US/O=Example/OU=Authenticator Attestation/CN=Example'
  const extensions = ['basicConstraints=critical,CA:FALSE', `crlDistributionPoints=URI:${address}/crl`]
  extensions.push(`authorityInfoAccess=OCSP;URI:${address}/ocsp,caIssuers;URI:${address}/ca`)
  args.push('-subj', subject, '-outform', 'DER', ...extensions.flatMap((extension) => ['-addext', extension]))
  return new Uint8Array(execFileSync('openssl', args, { stdio: ['ignore', 'pipe', 'ignore'] }))
}

t.setTimeout(240_000)

t.test('of bent answers of passkeys none is accepted, and none is too much', async (t) => {
  const system = await openFactors(t)
  const { gateway, sql, call, post, register, ask, enrolPasskey, eventsOf } = system
  type Tap = typeof t

  interface Begun {
    options: Options
    /** Of what was begun, as the body names it. */
    challenge: { challengeId: string } | { challenge: string }
    answer: (credential: unknown, challenge?: object) => Promise<ClientResponse>
  }

  /** Everywhere that somebody's passkey is taken. */
  async function openDoors(email: string) {
    const client = await register(email)
    const { passkey } = await enrolPasskey(client)
    const browser = new Client(gateway)
    const { ticket } = await ask('password/forgot', email)
    const reset = { ticket, password: otherPassword }
    const door = (options: [path: string, body: object], path: string, by = browser, more: object = {}) => {
      return async (): Promise<Begun> => {
        const { body } = await post(...options, by)
        const own = body.challengeId ? { challengeId: body.challengeId } : { challenge: body.challenge }
        const answer = (credential: unknown, challenge: object = own) =>
          post(path, { ...more, ...challenge, credential }, by)
        return { options: body.options, challenge: own, answer }
      }
    }
    return {
      ...{ client, passkey },
      doors: {
        'sign-in': door(['login/passkey/options', {}], 'login/passkey'),
        'second step': door(['login', { email, password }], 'login/second-factor'),
        'step-up': door(['step-up/options', {}], 'step-up', client),
        reset: door(['password/reset', reset], 'password/reset', browser, reset),
      },
    }
  }
  type Person = Awaited<ReturnType<typeof openDoors>>
  type Door = keyof Person['doors']
  const anna = await openDoors('anna@example.com')
  const berta = await openDoors('berta@example.com')
  const names = Object.keys(anna.doors) as Door[]
  /** One that is accepted at a reset ends the sessions, and the ticket. */
  const lasting = names.filter((name) => name !== 'reset')

  function refused(t: Tap, { status, body }: ClientResponse, what: string, codes = refusals) {
    t.ok([400, 403, 413].includes(status) && codes.includes(body?.code), `${what}: ${status} ${body?.code}`)
  }
  async function good(t: Tap, name: Door, { passkey, doors }: Person) {
    const { options, answer } = await doors[name]()
    const { status, body } = await answer(passkey.get(options))
    t.equal(status, 200, `a good answer ${body.code ?? ''}`)
  }

  const crl = createServer((request, response) => response.end(asked.push(request.url as string)))
  const asked: string[] = []
  await new Promise<void>((resolve) => crl.listen(0, '127.0.0.1', resolve))
  t.teardown(() => crl.close())
  const made = creations(certificateThatNames(`http://127.0.0.1:${(crl.address() as AddressInfo).port}`))

  await t.test('there are many kinds', async (t) => {
    for (const kinds of [uses, made]) t.ok(Object.keys(kinds).length >= 150, `${Object.keys(kinds).length}`)
  })

  const bend = (kind: Kinds[string], passkey: SoftwarePasskey, options: Options) =>
    typeof kind === 'function' ? kind(passkey, options) : kind

  // Each kind at the sign-in and at one more door: what checks it there is the same, and takes a password each time.
  for (const [at, name] of names.entries())
    await t.test(`where a passkey is used: ${name}`, async (t) => {
      const { doors, passkey } = anna
      for (const [index, [what, kind]] of Object.entries(uses).entries()) {
        if (name !== 'sign-in' && index % 3 !== at - 1) continue
        if (name === 'sign-in' && index % 15 === 0) await good(t, name, anna)
        const { options, answer } = await doors[name]()
        refused(t, await answer(passkey.get(options, bend(kind, passkey, options))), what)
      }
      if (name !== 'reset') await good(t, name, anna)
    })

  await t.test('where a passkey is made', async (t) => {
    const client = await register('maker@example.com')
    const begin = async () => (await post('factors/passkeys/options', {}, client)).body
    const add = async (bent?: Kinds[string], kind = {}) => {
      const passkey = new SoftwarePasskey('https://app.test', kind)
      const { challengeId, options } = await begin()
      const credential = passkey.create(options, bent && bend(bent, passkey, options))
      return post('factors/passkeys', { challengeId, credential }, client)
    }
    const accepted = async (what: string, bent?: Kinds[string], kind = {}) => {
      t.equal((await add(bent, kind)).status, 201, what)
      await sql('DELETE FROM auth.passkeys WHERE user_id = $1', [client.id])
    }
    for (const [index, [what, kind]] of Object.entries(made).entries()) {
      refused(t, await add(kind), what)
      if (index % 15 === 0) await accepted('a good one')
    }
    for (const algorithm of ['ES256', 'EdDSA', 'RS256']) await accepted(algorithm, undefined, { algorithm })
    await accepted('one that attests itself', (passkey) => selfAttested(passkey))
    await accepted('an id of 16 bytes', withId(randomBytes(16)))
    const long = randomBytes(1_023)
    t.equal((await add(withId(long))).status, 201, 'an id of 1,023 bytes')
    t.match((await call('PATCH', `factors/passkeys/${b64(long)}`, { name: 'Long' }, client)).body, { name: 'Long' })
    t.equal((await call('DELETE', `factors/passkeys/${b64(long)}`, undefined, client)).status, 200)
    await accepted('with extensions', {
      flags: present | flag.ed,
      authenticatorData: (bytes) => Buffer.concat([bytes, encodeCBOR(new Map([['credProtect', 2]]))]),
    })
    t.strictSame(asked, [], 'nobody was asked about certificates')
  })

  await t.test('any bit is changed after signing', async (t) => {
    const { doors, passkey } = anna
    for (const field of ['signature', 'authenticatorData', 'clientDataJSON']) {
      const { length } = bytesOf(passkey.get((await doors['sign-in']()).options).response[field])
      for (let byte = 0; byte < length; byte++) {
        const { options, answer } = await doors['sign-in']()
        const bent = rebytes(field, (bytes) => flip(bytes, Math.min(byte, bytes.length - 1) * 8 + (byte % 8)))
        refused(t, await answer(passkey.get(options, bent)), `byte ${byte} of ${field}`)
      }
    }
    await good(t, 'sign-in', anna)
  })

  await t.test('a challenge is of one person, for one purpose, once, and not for long', async (t) => {
    const ended = ['CHALLENGE_INVALID']
    for (const name of names) {
      const { doors, passkey } = anna
      const first = await doors[name]()
      const second = await doors[name]()
      refused(t, await second.answer(passkey.get(first.options)), `${name}: it signed another`)
      refused(t, await second.answer(passkey.get(second.options)), `${name}: after a wrong answer`, ended)

      await sql("UPDATE auth.challenges SET expires_at = now() - interval '1 second'")
      refused(t, await first.answer(passkey.get(first.options)), `${name}: expired`, ended)

      for (const other of names.filter((other) => other !== name)) {
        const [here, there] = [await doors[name](), await doors[other]()]
        const [value] = Object.values(there.challenge)
        const [member] = Object.keys(here.challenge)
        const answer = await here.answer(passkey.get(there.options), { [member as string]: value })
        refused(t, answer, `${name}: begun for ${other}`, ['CHALLENGE_INVALID', 'REQUEST_INVALID'])
      }

      const hers = await berta.doors[name]()
      const answers = [hers.answer(passkey.get(hers.options))]
      const mine = await doors[name]()
      if (name === 'step-up' || name === 'reset')
        answers.push(mine.answer(berta.passkey.get(hers.options), hers.challenge))
      for (const answer of await Promise.all(answers))
        if (name === 'sign-in') t.equal(answer.status, 200, 'whose it is, it says itself')
        else refused(t, answer, `${name}: another person’s`, [...ended, 'PASSKEY_INVALID'])

      const open = await doors[name]()
      const [member] = Object.keys(open.challenge) as [string]
      for (const value of [
        randomUUID(),
        `urn:uuid:${randomUUID()}`,
        '',
        'a.b.c',
        null,
        undefined,
        7,
        {},
        '\0',
        'A'.repeat(2_000),
      ]) {
        const answer = await open.answer(passkey.get(open.options), { [member]: value })
        // A reset that names no challenge asks for one.
        if (name === 'reset' && value === undefined) t.equal(answer.status, 401)
        else refused(t, answer, `${name}: never begun ${value}`, [...ended, 'REQUEST_INVALID'])
      }
    }
    for (const name of lasting) {
      const { options, answer } = await anna.doors[name]()
      const credential = anna.passkey.get(options)
      const answers = await Promise.all(Array.from({ length: 20 }, () => answer(credential)))
      t.equal(answers.filter(({ status }) => status === 200).length, 1, `${name}: once, however many come at once`)
      for (const answer of answers.filter(({ status }) => status !== 200)) refused(t, answer, name, ended)
      refused(t, await answer(credential), `${name}: used`, ended)
    }
  })

  await t.test('of another session', async (t) => {
    const { client, passkey } = anna
    const other = new Client(gateway)
    const begun = await anna.doors['sign-in']()
    await post('login/passkey', { ...begun.challenge, credential: passkey.get(begun.options) }, other)
    const stepUp = await anna.doors['step-up']()
    const credential = passkey.get(stepUp.options)
    refused(t, await post('step-up', { ...stepUp.challenge, credential }, other), 'step-up', ['CHALLENGE_INVALID'])
    t.equal((await stepUp.answer(credential)).status, 200)
    const { challengeId, options } = (await post('factors/passkeys/options', {}, client)).body
    const made = { challengeId, credential: new SoftwarePasskey('https://app.test').create(options) }
    refused(t, await post('factors/passkeys', made, other), 'a new passkey', ['CHALLENGE_INVALID'])
    const results = await Promise.all([made, made].map((made) => post('factors/passkeys', made, client)))
    t.strictSame(results.map(({ status }) => status).sort(), [201, 400])
  })

  await t.test('the passkey is of somebody else, or of nobody', async (t) => {
    const stranger = new SoftwarePasskey('https://app.test')
    stranger.userHandle = anna.passkey.userHandle
    for (const name of names) {
      const begin = anna.doors[name]
      for (const userHandle of [anna.passkey.userHandle as string, berta.passkey.userHandle as string, null]) {
        const { options, answer } = await begin()
        const isHers = name === 'sign-in' && userHandle === berta.passkey.userHandle
        if (isHers) t.equal((await answer(berta.passkey.get(options, { userHandle }))).status, 200, 'she signs in')
        else refused(t, await answer(berta.passkey.get(options, { userHandle })), `${name}: hers, of ${userHandle}`)
        const again = await begin()
        const under = sent((credential) => ({
          ...credential,
          id: anna.passkey.credentialId,
          rawId: anna.passkey.credentialId,
        }))
        refused(
          t,
          await again.answer(berta.passkey.get(again.options, { userHandle, ...under })),
          `${name}: under my id`,
        )
      }
      const { options, answer } = await begin()
      refused(t, await answer(stranger.get(options)), `${name}: nobody’s`, ['PASSKEY_UNKNOWN'])
    }
    for (const userHandle of [undefined, null]) {
      const { options, answer } = await anna.doors['sign-in']()
      refused(
        t,
        await answer(
          anna.passkey.get(
            options,
            respond(() => ({ userHandle })),
          ),
        ),
        'it does not say whose',
      )
    }
  })

  await t.test('a counter that went back is recorded, and lets in; one that was changed does not', async (t) => {
    const client = await register('counter@example.com')
    const { passkey } = await enrolPasskey(client)
    passkey.counter = 40
    t.equal((await system.loginWithPasskey(passkey)).status, 200)
    const regressions = async () =>
      (await eventsOf(client.id)).filter((event) => event === 'passkey_counter_regressed').length
    const begun = await anna.doors['sign-in']()
    const changed = rebytes('authenticatorData', (bytes) => flip(bytes, 36 * 8 + 6))
    refused(t, await begun.answer(passkey.get(begun.options, changed)), 'changed after signing')
    t.equal(await regressions(), 0)
    for (const [index, counter] of [7, 7, 0].entries()) {
      const { options, answer } = await anna.doors['sign-in']()
      t.equal((await answer(passkey.get(options, { counter }))).status, 200)
      t.equal(await regressions(), index + 1, `the counter is ${counter}`)
    }
  })

  await t.test('good answers are accepted to the end, where a password is reset too', async (t) => {
    for (const name of names) await good(t, name, anna)
    t.equal((await system.beginLogin('anna@example.com', new Client(gateway), otherPassword)).methods[0], 'passkey')
  })
})
