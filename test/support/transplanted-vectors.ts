import {
  constants,
  createHash,
  createHmac,
  createPrivateKey,
  createPublicKey,
  type JsonWebKey,
  type KeyObject,
  privateEncrypt,
  publicDecrypt,
  sign,
} from 'node:crypto'
import { readFileSync } from 'node:fs'
import { publicJwk } from '@sallyport/identity'
import { makeKeyPair } from './machines.ts'

type Key = JsonWebKey & { kid: string; alg?: string }
interface Vector {
  tcId: number
  comment: string
  jws: string | object
  result: 'valid' | 'invalid'
}
interface Group {
  comment: string
  private: Key
  /** Missing where the key is symmetric. */
  public?: Key
  tests: Vector[]
}
type Parts = [header: string, payload: string, signature: string]

const settings = { issuer: 'https://issuer.test', audience: 'https://api.test' }
const claims = () => {
  const now = Math.floor(Date.now() / 1000)
  const made = {
    iss: settings.issuer,
    aud: settings.audience,
    sub: 'user-1',
    client_id: 'web',
    iat: now,
    exp: now + 600,
    jti: 'token-1',
    sid: 'session-1',
    email: 'someone@example.com',
    role: 'doctor',
    roles: ['doctor'],
    note: '',
  }
  // So long that its last base64url character has bits to spare.
  while (JSON.stringify(made).length % 3 === 0) made.note += '.'
  return made
}
const encode = (value: object) => Buffer.from(JSON.stringify(value)).toString('base64url')

/** Signs as ES256 or RS256 does, whichever the key is for. */
const signature = (input: string, key: KeyObject) =>
  sign('sha256', Buffer.from(input), { key, dsaEncoding: 'ieee-p1363' }).toString('base64url')

const file = 'wycheproof_json_web_signature_test.json'

/** Why the vectors cannot be read, if they cannot. */
export const vectorsMissing =
  process.env.VECTORS_DIR === undefined && `set VECTORS_DIR to the folder of the corpora (${file})`

/** Tokens by one key, and where it is published. */
export interface Transplanted {
  name: string
  keys: object[]
  /** What is changed; it is good if the key is for signatures, by this algorithm. */
  unchanged: string
  isGood: boolean
  /** All of them are to be refused. */
  changed: { what: string; token: string }[]
}

/** What Project Wycheproof does to signed messages, done to access tokens of ours. */
export function* transplantedVectors(): Generator<Transplanted> {
  const { testGroups: groups } = JSON.parse(readFileSync(`${process.env.VECTORS_DIR}/${file}`, 'utf8')) as {
    testGroups: Group[]
  }
  const es256 = groups.find(({ comment }) => comment === 'es256') as Group & { public: Key }
  for (const group of groups) {
    const invalid = group.tests.filter((vector) => !isValid(vector))
    if (invalid.length === 0) continue
    // Where the key is symmetric there, what is done to the message is done to ours.
    const { private: privateKey, public: published } = group.public ? (group as typeof es256) : es256
    const alg = published.kty === 'EC' ? 'ES256' : 'RS256'
    const key = createPrivateKey({ key: privateKey, format: 'jwk' })
    const header = { alg, typ: 'at+jwt', kid: published.kid }
    const input = `${encode(header)}.${encode(claims())}`
    const own = [...input.split('.'), signature(input, key)] as Parts
    const unchanged = own.join('.')
    const isForSignatures = !/encryption/.test(group.comment)
    const vectors = invalid.map((vector) => {
      const token = transplant(vector, group, own, key)
      const isBad = vector.comment === byAnotherAlgorithm || !isForSignatures || token !== unchanged
      if (!isBad) throw new Error(`nothing was changed by ${vector.tcId} ${vector.comment}`)
      return { comment: vector.comment, what: `${vector.tcId} ${vector.comment}`, token }
    })
    // A key for PS256 is offered for RS256, or none of its tokens would be looked at; but then RS256 is right.
    yield {
      name: group.comment,
      keys: [{ ...published, ...(published.alg ? { alg } : {}) }, another],
      unchanged,
      isGood: isForSignatures,
      changed: vectors.filter(({ comment }) => comment !== byAnotherAlgorithm),
    }
    const others = vectors.filter(({ comment }) => comment === byAnotherAlgorithm)
    if (others.length > 0)
      yield {
        name: `${group.comment}, as published`,
        keys: [published, another],
        unchanged,
        isGood: false,
        changed: others,
      }
  }
}

/** The vector of a message by another algorithm than that of its key. */
const byAnotherAlgorithm = 'UsingRS256'

const another = publicJwk(makeKeyPair().privateKey)

/** Our own token, changed as a vector is beside the valid message of its group. */
function transplant({ jws, comment }: Vector, { tests, private: { kid } }: Group, own: Parts, key: KeyObject): string {
  const [header, payload, signed] = own
  if (typeof jws === 'object')
    return JSON.stringify({ ...jws, payload, signatures: [{ protected: header, signature: signed }] })

  // Two vectors are the valid message itself, without what their names say.
  if (comment === 'invalidBase64Padding') return `${header}=.${payload}.${signed}`
  if (comment === 'invalidBase64PaddingInPayload') return `${header}.${payload}=.${signed}`

  const is = jws.split('.')
  const messages = tests.filter(isValid).map(({ jws }) => (jws as string).split('.'))
  const was = messages.find((message) => message[1] === is[1]) ?? messages[0] ?? is
  const known = new Map([
    ...was.map((part, at): [string, string] => [part, own[at] as string]),
    ['', ''],
    ['foo', 'foo'],
  ])
  if (is.length !== 3 || is.every((part) => known.has(part))) return is.map((part) => known.get(part)).join('.')

  const [head, body, tail] = is as Parts
  const newHead = known.get(head) ?? changedHeader(head, was[0] as string)
  const newBody = known.get(body) ?? changedPayload(body, was[1] as string)
  return `${newHead}.${newBody}.${known.get(tail) ?? changedSignature()}`

  function changedHeader(part: string, before: string): string {
    const said = readHeader(part)
    // Not JSON, or another spelling of the same: the spelling is what counts.
    if (!said || encode(said) === before) return edit(before, part)(header)
    const ours = readHeader(header)
    return encode({ typ: ours?.typ, ...said, ...(said.kid === kid ? { kid: ours?.kid } : {}) })
  }

  function changedPayload(part: string, before: string): string {
    if (/^[\w-]+$/.test(part) && Buffer.from(part, 'base64url').toString('base64url') !== part)
      return spareBits(payload)
    // Messages of other lengths are other messages, not changed ones.
    const isAnother = /^[\w-]*$/.test(part) && part.length !== before.length
    return isAnother ? payload : edit(before, part)(payload)
  }

  function changedSignature(): string {
    const input = `${newHead}.${newBody}`
    if (readHeader(newHead)?.alg?.startsWith('HS')) {
      const secret = createPublicKey(key as never).export({ type: 'spki', format: 'der' })
      return createHmac('sha256', secret).update(input).digest('base64url')
    }
    // The vector was signed after the change, so that nothing but the change is wrong with it.
    const isSigned = newHead !== header || (newBody !== payload && comment !== 'rejectsModifiedPayload')
    if (isSigned) return signature(input, key)
    const isText = comment === 'rejectsModifiedSignature' || readHeader(head)?.alg === 'HS256'
    if (isText) {
      const changed = edit(was[2] as string, tail)(signed)
      // Ours may have had that very letter there.
      return changed === signed ? `-${signed.slice(1)}` : changed
    }
    const change = key.asymmetricKeyType === 'ec' ? changedEcdsa : changedRsa
    return change(Buffer.from(tail, 'base64url')).toString('base64url')
  }

  /** The numbers r and s: where the vector's are those of its valid message, more or less, ours. */
  function changedEcdsa(changed: Buffer): Buffer {
    const original = halves(Buffer.from(was[2] as string, 'base64url'))
    const ours = halves(Buffer.from(signed, 'base64url'))
    const numbers = halves(changed).map((number, at) => {
      const [before, mine] = [original[at] as bigint, ours[at] as bigint]
      // With s, the order less s is right too.
      for (const [theirs, own] of [
        [before, mine],
        [order - before, order - mine],
      ] as const) {
        const more = [0n, order, 2n ** 256n].find((more) => number === theirs + more)
        if (more !== undefined) return own + more
        if (number === theirs * 256n) return own * 256n
      }
      return number
    })
    return Buffer.from(numbers.map((number) => number.toString(16).padStart(changed.length, '0')).join(''), 'hex')
  }

  /** What the vector has signed in place of a hash with its padding, with our hash in place of its own. */
  function changedRsa(changed: Buffer): Buffer {
    const options = { padding: constants.RSA_NO_PADDING }
    const theirs = createHash('sha256').update(`${head}.${body}`).digest()
    const ours = createHash('sha256').update(`${header}.${payload}`).digest()
    const publicKey = createPublicKey(key as never)
    const modulus = Buffer.from(publicKey.export({ format: 'jwk' }).n as string, 'base64url')
    if (changed.length !== modulus.length || modulus.compare(changed) <= 0) return changed
    const message = publicDecrypt({ key: publicKey, ...options }, changed)
    // A part of it, where the hash itself was changed.
    for (let length = theirs.length; length >= 8; length--)
      for (let from = 0; from + length <= theirs.length; from++) {
        const at = message.indexOf(theirs.subarray(from, from + length))
        if (at === -1) continue
        ours.copy(message, at, from, from + length)
        return privateEncrypt({ key, ...options }, message)
      }
    return changed
  }
}

const order = BigInt('0xffffffff00000000ffffffffffffffffbce6faada7179e84f3b9cac2fc632551')

function halves(bytes: Buffer): [bigint, bigint] {
  const middle = bytes.length / 2
  return [bytes.subarray(0, middle), bytes.subarray(middle)].map((half) => BigInt(`0x${half.toString('hex')}`)) as [
    bigint,
    bigint,
  ]
}

/** What was done to one text, as something to do to another: it is what differs between their beginning and end. */
function edit(before: string, after: string): (text: string) => string {
  let start = 0
  while (start < Math.min(before.length, after.length) && before[start] === after[start]) start++
  let end = 0
  while (end < Math.min(before.length, after.length) - start && before.at(-1 - end) === after.at(-1 - end)) end++
  const removed = before.length - start - end
  const added = after.slice(start, after.length - end)
  // At the end if the two have nothing in common after it.
  return (text) => {
    const at = end === 0 ? text.length - removed : start
    return text.slice(0, at) + added + text.slice(at + removed)
  }
}

/** The same bytes in other letters. */
function spareBits(encoded: string): string {
  const alphabet = 'ABCDEFGHIJKLMNOPQRSTUVWXYZabcdefghijklmnopqrstuvwxyz0123456789-_'
  return encoded.slice(0, -1) + alphabet.charAt(alphabet.indexOf(encoded.slice(-1)) + 1)
}

function readHeader(part: string): { alg?: string; kid?: string; typ?: string } | undefined {
  try {
    return JSON.parse(Buffer.from(part, 'base64url').toString())
  } catch {
    return undefined
  }
}

/** Two messages that the corpus takes for valid hold a `?`, which is no base64url (RFC 7515 section 2). */
function isValid({ result, jws }: Vector): boolean {
  return result === 'valid' && !String(jws).includes('?')
}
